package native

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/cgroup"
)

// cgroupLimits is the part of the limits that control groups hold.
func cgroupLimits(l runner.Limits) cgroup.Limits {
	c := cgroup.Limits{
		Memory: l.MemoryBytes, Swap: -1, CPUs: l.CPUs, CPUWeight: l.CPUWeight,
		CPUSet: l.CPUSet, Processes: l.Processes,
	}
	switch {
	case l.SwapBytes != nil:
		c.Swap = *l.SwapBytes
	case l.MemoryBytes > 0:
		// Memory that may flow into swap without bound is not limited.
		c.Swap, c.SwapPreferred = 0, true
	}
	for _, io := range l.IO {
		c.IO = append(c.IO, cgroup.IOLimit{
			Device: io.Device, ReadBytes: io.ReadBytes, WriteBytes: io.WriteBytes,
			ReadOps: io.ReadOps, WriteOps: io.WriteOps,
		})
	}
	return c
}

// limit makes the control group, with all its limits, before the box is born.
func (b *box) limit() error {
	l := cgroupLimits(b.spec.Limits)
	if l.Empty() && b.spec.Limits.CPUTime == 0 {
		return nil
	}
	group, err := cgroup.New("", l, cgroup.Options{CPUTime: true})
	if err == nil {
		b.group = group
		return nil
	}
	if l.Empty() {
		return nil // CPU time is then each process's own, and enforced says so
	}
	e := &runner.Error{
		Stage: runner.StageStart, Step: "limit the box", Err: err,
		Hint: "hutch doctor says which limits can be had here",
	}
	var why *cgroup.Error
	if errors.As(err, &why) {
		e.Hint = why.Remedy
	}
	return e
}

// CPUTime is what all processes of the box have used, runner.CPUClock.
func (b *box) CPUTime() (used time.Duration, known bool) {
	if b.group == nil {
		return 0, false
	}
	return b.group.CPUTime()
}

// unlimited names what was asked for or implied and is not held in full.
func (b *box) unlimited() []string {
	var names []string
	if b.group != nil {
		names = b.group.Missing()
	}
	if _, known := b.CPUTime(); b.spec.Limits.CPUTime > 0 && !known {
		// RLIMIT_CPU bounds each process by itself.
		names = append(names, "cpu-time of all processes together")
	}
	return names
}

// sweepPatience is how long a run that is over waits for what it removes of
// others that were killed.
const sweepPatience = 200 * time.Millisecond

// sweep removes the control groups that killed runs left beside this one's,
// while the application runs. What it returns waits for that, for a while.
func (b *box) sweep() (wait func()) {
	if b.group == nil {
		return func() {}
	}
	left := b.group.Leftovers()
	if len(left) == 0 {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		cgroup.RemoveLeftovers(left) // what resists is for hutch gc to name
	}()
	return func() {
		select {
		case <-done:
		case <-time.After(sweepPatience):
		}
	}
}

// hintEnter is advice for a box that its own group does not take.
func hintEnter(err error) string {
	if errors.Is(err, unix.EINVAL) {
		return "a group of cgroup v1's cpu controller takes no real-time process: start hutch without chrt"
	}
	return "hutch doctor says which limits can be had here"
}
