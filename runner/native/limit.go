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

// groups is what the control groups of s are to do besides limiting.
func (e *Engine) groups(s *runner.Spec) cgroup.Options {
	return cgroup.Options{CPUTime: !e.uncounted || s.Limits.CPUTime > 0, Scope: e.scope}
}

// Limitable is the error that a box with the limits of s would end with for want
// of control groups: one is made, and removed. It is for who is about to do what
// takes longer.
func (e *Engine) Limitable(s *runner.Spec) error {
	l := cgroupLimits(s.Limits)
	if l.Empty() {
		return nil
	}
	group, err := cgroup.New("", l, e.groups(s))
	if err != nil {
		return limitError(err)
	}
	return group.Remove()
}

// limit finds the place of the control group. On cgroup v2 it makes it, with all
// its limits, before the box is born, which is to be born in it.
func (b *box) limit() error {
	l := cgroupLimits(b.spec.Limits)
	if l.Empty() && b.spec.Limits.CPUTime == 0 {
		return nil
	}
	place, err := cgroup.Find(l, b.groups)
	if err != nil {
		return b.unheld(err)
	}
	if b.place = place; place.V2() {
		return b.makeGroup()
	}
	return nil
}

// On cgroup v1 the application enters its groups by itself. Whoever writes
// another's number into cgroup.procs waits until no process of the machine is
// about to fork or end, for which the kernel needs an RCU grace period, 10 to
// 20 ms, unless somebody has just had one. A process that writes 0 into tasks
// moves nothing but itself, its one thread, and waits for nobody (cgroup1_tasks_write
// and cgroup_procs_write_start in the kernel).

// entered is how many groups those are.
func (b *box) entered() int {
	if b.place == nil {
		return 0
	}
	return b.place.Entered()
}

// join makes those groups, while the box makes its mounts, and sends their files
// to the application, which waits for them.
func (b *box) join() error {
	if b.place != nil && b.group == nil {
		if err := b.makeGroup(); err != nil {
			return err
		}
	}
	if b.entered() == 0 {
		return nil
	}
	fail := func(err error) error {
		return &runner.Error{Stage: runner.StageStart, Step: "hand over the control groups", Err: err, Hint: hintErrno(err)}
	}
	tasks, err := b.group.Tasks()
	if err != nil {
		return fail(err)
	}
	defer func() {
		for _, fd := range tasks {
			unix.Close(fd)
		}
	}()
	for {
		err = unix.Sendmsg(b.status, []byte{0}, unix.UnixRights(tasks...), nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil && b.enc.shared.failed == 0 {
		return fail(err)
	}
	return nil
}

// joinGroups takes what join sends, and enters each group. The message's one
// control message is four words of header, cmsg(3), and the descriptors: it is
// read into the slots, which are then those of the descriptors.
func (e *encoder) joinGroups() {
	if e.files.groups == 0 {
		return
	}
	const header = 4
	first := e.newSlot("groups").v
	for range header + e.files.groups - 1 {
		e.newSlot("control group")
	}
	for i := range e.files.groups {
		e.shared.slots[int(first)+header+i] = -1
	}
	iov := e.mem.words(uint64(e.mem.bytes([]byte{0})), 1)
	control := address(&e.shared.slots[first])
	msg := e.mem.words(0, 0, uint64(at(iov)), 1, uint64(control), uint64(4*(header+e.files.groups)), 0)
	e.call(unix.SYS_RECVMSG, val(e.files.status), val(at(msg)), val(unix.MSG_CMSG_CLOEXEC))
	zero := e.str("0")
	for i := range e.files.groups {
		e.call(unix.SYS_WRITE, arg{v: first + header + uintptr(i), ref: true}, zero, val(1))
	}
}

// alone says that the application is in its groups without the reaper. They
// are empty then, and can go, while the reaper ends: that takes the box's mounts
// away, and longer than anything else of an end.
func (b *box) alone() bool { return b.group != nil && b.entered() > 0 && !b.place.V2() }

// settle waits until the application has ended, and does what can be done while
// the reaper ends: it hears what both have said, and where nobody else of the box
// is left, takes what the group has counted, and removes it. Measured: a run
// takes 0.97 of the time.
func (b *box) settle() {
	if b.settled = b.spec.Init && b.terminal == nil; !b.settled {
		return
	}
	scratch := receive(b.status)
	b.last = b.told()
	b.full = b.isFull(scratch)
	if b.last != nil && b.alone() && b.group.Empty() {
		b.account()
		b.group.RemoveEmpty() // what that leaves is cleanup's
	}
}

// An account is what a group says in the end.
type account struct {
	usage  cgroup.Usage
	oom    bool // a process was killed at the group's own limit
	counts bool // processor time
}

// account asks the group, once.
func (b *box) account() {
	if b.group == nil || b.accounted != nil {
		return
	}
	a := &account{}
	a.usage, _ = b.group.Usage() // nil is unknown
	a.oom, _ = b.group.OOMKilled()
	_, a.counts = b.group.CPUTime()
	b.accounted = a
}

func (b *box) makeGroup() error {
	group, err := b.place.New("")
	if err != nil {
		return b.unheld(err)
	}
	b.group = group
	return nil
}

// unheld is an error, but for where processor time alone was to be limited: it
// is then each process's own, and enforced says so.
func (b *box) unheld(err error) error {
	if cgroupLimits(b.spec.Limits).Empty() {
		b.place = nil
		return nil
	}
	return limitError(err)
}

// limitError says what cannot be limited.
func limitError(err error) error {
	e := &runner.Error{
		Stage: runner.StageStart, Step: "limit the box", Err: err,
		Hint: "hutch doctor says which limits can be had here",
	}
	var why *cgroup.Error
	if errors.As(err, &why) {
		e.Hint = why.Remedy
		said := *why
		said.Remedy = "" // once is enough
		e.Err = &said
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
	if b.spec.Limits.CPUTime > 0 && (b.accounted == nil || !b.accounted.counts) {
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
