package cgroup

import (
	"fmt"
	"strconv"
	"strings"
)

// Limits says how much a group may have. The zero value limits nothing.
type Limits struct {
	// Memory is the most bytes of memory, page cache included. 0: no limit.
	Memory int64
	// Swap is the most bytes of swap on top of Memory. -1: not limited.
	// It means something only where Memory is set, or when above 0: there the
	// zero value is a real 0, because memory that may flow into swap without
	// bound is not limited.
	Swap int64
	// SwapPreferred lets a kernel that does not account swap do without that
	// limit; Group.Missing then names it.
	SwapPreferred bool
	// CPUs is the most processor time for a second of wall time: 1.5 is one
	// processor and a half. 0: no limit. The kernel's least is 0.01.
	CPUs float64
	// CPUWeight is the share under contention in the words of cgroup v2, 1 to
	// 10000, where everybody has 100. 0: untouched. On v1 it is put into
	// cpu.shares in proportion (100 is 1024).
	CPUWeight int64
	// CPUSet is the processors that may be used: "0-2,4". "": all.
	CPUSet string
	// Processes is the most processes and threads at one time. 0: no limit.
	Processes int64
	// IO limits block devices.
	IO []IOLimit
}

// An IOLimit limits the traffic to one block device, or to each of them.
type IOLimit struct {
	// Device is "/dev/sda" or "8:0"; "" is every disk of this machine.
	Device string
	// Bytes and operations a second; 0: no limit.
	ReadBytes, WriteBytes, ReadOps, WriteOps int64
}

// Empty reports whether nothing is limited, so that no group is needed.
func (l Limits) Empty() bool {
	return l.Memory == 0 && l.Swap <= 0 && l.CPUs == 0 && l.CPUWeight == 0 &&
		l.CPUSet == "" && l.Processes == 0 && len(l.IO) == 0
}

// Names lists what is limited, in the words of the command line and of the
// result: memory, swap, cpus, cpu-weight, cpuset, pids, io.
func (l Limits) Names() []string {
	var names []string
	for _, n := range [...]struct {
		name string
		on   bool
	}{
		{"memory", l.Memory > 0},
		{"swap", l.limitsSwap()},
		{"cpus", l.CPUs > 0},
		{"cpu-weight", l.CPUWeight > 0},
		{"cpuset", l.CPUSet != ""},
		{"pids", l.Processes > 0},
		{"io", len(l.IO) > 0},
	} {
		if n.on {
			names = append(names, n.name)
		}
	}
	return names
}

func (l Limits) limitsSwap() bool { return l.Swap > 0 || l.Swap == 0 && l.Memory > 0 }

// LeastMemory is the least Limits.Memory that Validate accepts, in bytes: a
// group takes memory a page at a time for each processor and the kernel counts
// page tables and stacks, so that with less not even a static program starts.
const LeastMemory = 512 << 10

// Validate reports the first value that no kernel would accept, and says
// which values are good.
func (l Limits) Validate() error {
	switch {
	case l.Memory < 0:
		return fmt.Errorf("memory limit %d is negative: use bytes above %d, or 0 for none", l.Memory, LeastMemory)
	case l.Memory > 0 && l.Memory < LeastMemory:
		return fmt.Errorf("memory limit of %d bytes is below what any program needs to start: the least is %d", l.Memory, LeastMemory)
	case l.Swap < -1:
		return fmt.Errorf("swap limit %d is negative: use bytes, 0 for no swap, -1 for no limit", l.Swap)
	case l.Memory > 0 && l.Swap > maxBytes-l.Memory:
		return fmt.Errorf("memory and swap limits %d and %d together exceed %d bytes: lower them", l.Memory, l.Swap, maxBytes)
	case l.CPUs != 0 && !(l.CPUs >= 0.01 && l.CPUs <= 1e6): // also catches NaN
		return fmt.Errorf("cpu limit %v is out of range: use 0.01 to 1000000 processors, or 0 for none", l.CPUs)
	case l.CPUWeight < 0 || l.CPUWeight > 10000:
		return fmt.Errorf("cpu weight %d is out of range: use 1 to 10000 (everybody has 100), or 0 for none", l.CPUWeight)
	case l.Processes < 0 || l.Processes > 1<<22:
		return fmt.Errorf("process limit %d is out of range: use 1 to %d, or 0 for none", l.Processes, 1<<22)
	}
	if l.CPUSet != "" {
		if _, err := parseList(l.CPUSet); err != nil {
			return fmt.Errorf("cpuset %q: %w", l.CPUSet, err)
		}
	}
	for _, io := range l.IO {
		if err := io.validate(); err != nil {
			return err
		}
	}
	return nil
}

const maxBytes = int64(1) << 62

func (l IOLimit) validate() error {
	for _, v := range [...]int64{l.ReadBytes, l.WriteBytes, l.ReadOps, l.WriteOps} {
		if v < 0 {
			return fmt.Errorf("i/o limit %d for device %q is negative: use a rate a second, or 0 for none", v, l.Device)
		}
	}
	if l.ReadBytes|l.WriteBytes|l.ReadOps|l.WriteOps == 0 {
		return fmt.Errorf("i/o limit for device %q limits nothing: give a rate of bytes or operations", l.Device)
	}
	return nil
}

// parseList reads the kernel's list format, "0-2,4" (cpuset(7), "List
// format"), and returns ranges in the order given. It accepts what the kernel
// accepts, without strides.
func parseList(s string) ([][2]int, error) {
	var out [][2]int
	for part := range strings.SplitSeq(s, ",") {
		first, last, ranged := strings.Cut(part, "-")
		lo, err := listNumber(first)
		if err != nil {
			return nil, err
		}
		hi := lo
		if ranged {
			if hi, err = listNumber(last); err != nil {
				return nil, err
			}
		}
		if hi < lo {
			return nil, fmt.Errorf("range %q runs backwards: write %d-%d", part, hi, lo)
		}
		out = append(out, [2]int{lo, hi})
	}
	return out, nil
}

func listNumber(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is not a processor number: write a list such as 0-2,4", s)
	}
	return int(n), nil
}
