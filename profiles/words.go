package profiles

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"hutch/seccomp"
)

// capabilityNames is every capability, at the index of its number,
// capabilities(7). To add one: append its name when the kernel numbers it.
var capabilityNames = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER",
	"CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST",
	"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
	"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
	"CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
	"CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD",
	"CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP",
	"CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
}

// CapabilityNumber is the number of the capability called name.
func CapabilityNumber(name string) (int, bool) {
	i := slices.Index(capabilityNames[:], name)
	return i, i >= 0
}

// ParseCapability reads "chown", "CHOWN" or "cap_chown" as CAP_CHOWN, and "all"
// as every capability.
func ParseCapability(word string) ([]string, error) {
	name := strings.ToUpper(word)
	if name == "ALL" {
		return slices.Clone(capabilityNames[:]), nil
	}
	if !strings.HasPrefix(name, "CAP_") {
		name = "CAP_" + name
	}
	if _, ok := CapabilityNumber(name); ok {
		return []string{name}, nil
	}
	var short []string
	for _, c := range capabilityNames {
		short = append(short, strings.ToLower(strings.TrimPrefix(c, "CAP_")))
	}
	if near := seccomp.Nearest(strings.ToLower(strings.TrimPrefix(name, "CAP_")), short); near != "" {
		return nil, fmt.Errorf("capability %q: did you mean %q?", word, near)
	}
	return nil, fmt.Errorf("capability %q is not one that Linux has", word)
}

// A Bind is a path of the host in the box.
type Bind struct {
	Source, Target string
	Writable       bool
}

// ParseBind reads SRC:DST[:ro|rw]. Without a mode the bind is read-only.
func ParseBind(arg string) (Bind, error) {
	parts := strings.Split(arg, ":")
	bad := func(why string) (Bind, error) { return Bind{}, fmt.Errorf("bind %q: %s", arg, why) }
	if len(parts) < 2 || len(parts) > 3 {
		return bad("expected SRC:DST[:ro|rw]")
	}
	b := Bind{Source: parts[0], Target: parts[1]}
	if len(parts) == 3 {
		switch parts[2] {
		case "ro":
		case "rw":
			b.Writable = true
		default:
			return bad(fmt.Sprintf("the mode is %q, expected ro or rw", parts[2]))
		}
	}
	if b.Source == "" {
		return bad("the source is empty")
	}
	return b, nil
}

// ParseTmpfs reads DST[:SIZE]; a size of 0 is none that was named.
func ParseTmpfs(arg string) (target string, bytes Size, err error) {
	target, text, sized := strings.Cut(arg, ":")
	if !sized {
		return target, 0, nil
	}
	bytes, err = ParseSize(text)
	if err == nil && bytes <= 0 {
		err = fmt.Errorf("size %q: expected more than nothing", text)
	}
	return target, bytes, err
}

// ParseRate reads [DEVICE:]N a second, N in bytes or of operations. A device is
// a path or MAJOR:MINOR, and "" every disk.
func ParseRate(arg string, inBytes bool) (device string, n int64, err error) {
	value := arg
	if i := strings.LastIndexByte(arg, ':'); i >= 0 { // 8:0:10M has two
		device, value = arg[:i], arg[i+1:]
	}
	if inBytes {
		size, err := ParseSize(value)
		if err == nil && size <= 0 {
			err = fmt.Errorf("size %q: expected more than nothing", value)
		}
		return device, int64(size), err
	}
	n, err = strconv.ParseInt(value, 10, 64)
	if err != nil || n <= 0 {
		return device, 0, fmt.Errorf("%q: expected a number above 0", value)
	}
	return device, n, nil
}

// checkWords looks at the lists whose words have a form of their own.
func (p *Profile) checkWords() *fieldError {
	target := func(name string, err error) error {
		if err == nil && !path.IsAbs(name) {
			return fmt.Errorf("target %q: must begin with /", name)
		}
		return err
	}
	capability := func(word string) error { _, err := ParseCapability(word); return err }
	rate := func(inBytes bool) func(string) error {
		return func(word string) error { _, _, err := ParseRate(word, inBytes); return err }
	}
	c, f, l := &p.Capabilities, &p.Filesystem, &p.Limits
	for _, list := range []struct {
		key   string
		words []string
		check func(string) error
	}{
		{"capabilities.keep", c.Keep, capability},
		{"capabilities.add", c.Add, capability},
		{"capabilities.drop", c.Drop, capability},
		{"filesystem.bind", f.Bind, func(word string) error { b, err := ParseBind(word); return target(b.Target, err) }},
		{"filesystem.tmpfs", f.Tmpfs, func(word string) error { name, _, err := ParseTmpfs(word); return target(name, err) }},
		{"limits.io_read", l.IORead, rate(true)},
		{"limits.io_write", l.IOWrite, rate(true)},
		{"limits.io_read_ops", l.IOReadOps, rate(false)},
		{"limits.io_write_ops", l.IOWriteOps, rate(false)},
	} {
		for i, word := range list.words {
			if err := list.check(word); err != nil {
				return &fieldError{fmt.Sprintf("%s[%d]", list.key, i), err}
			}
		}
	}
	return nil
}

// checkProcessors looks at limits that the kernel has bounds for.
func (p *Profile) checkProcessors() *fieldError {
	l := &p.Limits
	if l.CPUWeight > 10_000 {
		return &fieldError{"limits.cpu_weight", fmt.Errorf("%d: expected 1 to 10000", l.CPUWeight)}
	}
	if l.Memory > 0 && l.Memory < LeastMemory {
		return &fieldError{"limits.memory", fmt.Errorf("%d bytes are less than any program needs to start: the least is %d", l.Memory, LeastMemory)}
	}
	if l.CPUSet != "" && !processorList(l.CPUSet) {
		return &fieldError{"limits.cpuset", fmt.Errorf("%q: expected a list of processors, such as \"0-2,4\"", l.CPUSet)}
	}
	return nil
}

// LeastMemory is the least limits.memory, in bytes: package cgroup's.
const LeastMemory = 512 << 10

// processorList says whether s is a list as cpuset(7) has it.
func processorList(s string) bool {
	for part := range strings.SplitSeq(s, ",") {
		first, last, ranged := strings.Cut(part, "-")
		low, err := strconv.ParseUint(first, 10, 16)
		high := low
		if err == nil && ranged {
			high, err = strconv.ParseUint(last, 10, 16)
		}
		if err != nil || high < low {
			return false
		}
	}
	return true
}
