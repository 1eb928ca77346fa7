package native

import (
	"errors"

	"hutch/runner"
	"hutch/runner/cgroup"
)

// cgroupLimits is the part of the limits that control groups hold.
func cgroupLimits(l runner.Limits) cgroup.Limits {
	c := cgroup.Limits{
		Memory: l.MemoryBytes, Swap: -1, CPUs: l.CPUs, CPUWeight: l.CPUWeight,
		CPUSet: l.CPUSet, Processes: l.Processes,
	}
	if l.SwapBytes != nil {
		c.Swap = *l.SwapBytes
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
	if l.Empty() {
		return nil
	}
	group, err := cgroup.New("", l, cgroup.Options{})
	if err == nil {
		b.group = group
		return nil
	}
	e := &runner.Error{Stage: runner.StageStart, Step: "limit the box", Err: err}
	var why *cgroup.Error
	if errors.As(err, &why) {
		e.Hint = why.Remedy
	}
	return e
}
