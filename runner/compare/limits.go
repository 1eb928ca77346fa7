package compare

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// Limits are what every side is given; zero is no limit.
type Limits struct {
	MemoryBytes int64   `json:"memory_bytes"`
	CPUs        float64 `json:"cpus"`
	Processes   int64   `json:"processes"`
}

// A Fence holds limits around a program that has none of its own.
type Fence interface {
	// Start starts cmd inside; all that it starts stays there.
	Start(cmd *exec.Cmd) error
	// Close ends what is still inside.
	Close() error
}

// String is for people, empty where nothing is limited.
func (l Limits) String() string {
	var parts []string
	if l.MemoryBytes > 0 {
		parts = append(parts, "memory "+size(float64(l.MemoryBytes)))
	}
	if l.CPUs > 0 {
		parts = append(parts, fmt.Sprintf("%g processors", l.CPUs))
	}
	if l.Processes > 0 {
		parts = append(parts, fmt.Sprintf("%d processes", l.Processes))
	}
	return strings.Join(parts, ", ")
}

// flags are the limits in the words of hutch run, and of podman but for one.
func (l Limits) flags(processes string) (argv []string) {
	if l.MemoryBytes > 0 {
		argv = append(argv, "--memory", strconv.FormatInt(l.MemoryBytes, 10))
	}
	if l.CPUs > 0 {
		argv = append(argv, "--cpus", strconv.FormatFloat(l.CPUs, 'g', -1, 64))
	}
	if l.Processes > 0 {
		argv = append(argv, processes, strconv.FormatInt(l.Processes, 10))
	}
	return argv
}

// resources are the limits in the words of the OCI runtime specification.
func (l Limits) resources() object {
	r := object{}
	if l.MemoryBytes > 0 {
		r["memory"] = object{"limit": l.MemoryBytes}
	}
	if l.CPUs > 0 {
		const period = 100_000 // microseconds, the kernel's default
		r["cpu"] = object{"quota": int64(l.CPUs * period), "period": period}
	}
	if l.Processes > 0 {
		r["pids"] = object{"limit": l.Processes}
	}
	return r
}

// fence says how a program of s is started within the limits, and what is to be
// done after it.
func (c *Comparison) fence(s *side) (start func(*exec.Cmd) error, release func(), err error) {
	if !s.fenced || c.Limits == (Limits{}) {
		return (*exec.Cmd).Start, func() {}, nil
	}
	f, err := c.Fence(c.Limits)
	if err != nil {
		return nil, nil, err
	}
	return f.Start, func() { f.Close() }, nil
}
