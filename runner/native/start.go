// Package native is the engine of namespaces: a plan, encoded as a list of
// system calls, run by a child between clone and execve.
package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/cgroup"
	"hutch/runner/host"
	"hutch/runner/plan"
)

// An Engine starts boxes on this kernel.
type Engine struct {
	newborn *Newborn
	// sameIDs: the ids of a box are those of this machine.
	sameIDs bool
	lock    int                         // see Hold
	fill    func(*os.File, Owner) error // see Fill
	scope   func(ctx context.Context, unit string, pid int) error
	// uncounted: see Uncounted.
	uncounted bool
	thread    func() // see OnThread
}

// New is the native engine.
func New() *Engine { return &Engine{} }

// NewInGuest is the engine for a guest whose whole machine is one box. Its ids
// are the box's: the guest's disks hold the ids of the inside, and file
// servers cannot map them, mount_setattr(2).
func NewInGuest() *Engine { return &Engine{sameIDs: true} }

// ids chooses how the box's ids are mapped.
func (e *Engine) ids(s *runner.Spec) (ids, error) {
	m, err := mapIDs(s)
	if e.sameIDs && err == nil {
		m.same, m.uid, m.gid = true, sameRange(m.uid), sameRange(m.gid)
	}
	return m, err
}

func sameRange(m []plan.IDMap) []plan.IDMap {
	return []plan.IDMap{{Inside: 0, Outside: 0, Count: m[0].Count}}
}

// Uncounted says that nobody will ask what boxes used: no control group is made
// for that alone. Result.Usage then has what is known without.
func (e *Engine) Uncounted() { e.uncounted = true }

// OnThread has prepare called on the thread that clones a box, just before: the
// box inherits from that, not from the process, where it may run and how late
// its timers may be, sched_setaffinity(2), PR_SET_TIMERSLACK(2const).
func (e *Engine) OnThread(prepare func()) { e.thread = prepare }

// AskSystemd gives the engine what asks systemd for a scope, cgroup.Options. It
// is asked where control groups are not delegated yet.
func (e *Engine) AskSystemd(scope func(ctx context.Context, unit string, pid int) error) {
	e.scope = scope
}

// Name is "native".
func (*Engine) Name() string { return "native" }

// Probe says whether user namespaces can be made here; all else follows.
func (*Engine) Probe(f host.Facts) runner.Support {
	return runner.Support{OK: f.UserNamespaces.Have, Reason: f.UserNamespaces.Reason, Remedy: f.UserNamespaces.Remedy}
}

// Plan says how s would be started here, without starting it.
func (e *Engine) Plan(s *runner.Spec) (*plan.Plan, error) {
	ids, err := e.ids(s)
	if err != nil {
		return nil, err
	}
	facts, err := gather(s, ids)
	if err != nil {
		return nil, err
	}
	return plan.Build(s, facts)
}

// Start starts s. The box is born with all its limits; when Start returns,
// the application has executed, or an *runner.Error says which step failed.
//
// The box dies with the thread that called Start, prctl(2) PR_SET_PDEATHSIG:
// a goroutine that is locked to its thread must outlive the box.
func (e *Engine) Start(ctx context.Context, s *runner.Spec, stdio runner.Stdio) (runner.Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, &runner.Error{Stage: runner.StageStart, Step: "start", Err: err}
	}
	ids, err := e.ids(s)
	if err != nil {
		return nil, err
	}
	facts, err := gather(s, ids)
	if err != nil {
		return nil, err
	}
	p, err := plan.Build(s, facts)
	if err != nil {
		return nil, err
	}
	for {
		b := &box{
			spec: s, plan: p, ids: ids, facts: &facts, user: [2]uint32{facts.UID, facts.GID},
			pidfd: -1, status: -1, upper: -1, image: -1, lock: e.lock, copies: -1, tree: -1, kept: -1, fill: e.fill, groups: e.groups(s),
		}
		err := b.start(e, stdio)
		if err == nil {
			return b, nil
		}
		b.cleanup()
		if !b.stillborn() {
			return nil, err
		}
	}
}

// A box is a started plan.
type box struct {
	spec *runner.Spec
	plan *plan.Plan
	ids  ids
	user [2]uint32 // uid and gid inside
	enc  *encoder
	// facts is what the plan was built on.
	facts *plan.Facts
	// newborn became the box's first process, nil where that is to be cloned.
	newborn *Newborn

	pid int
	// ending is held while pidfd is used and when it is closed: who stops the
	// run must not signal what has taken its number.
	ending sync.Mutex
	pidfd  int32
	status int      // hutch's end of the socket on which the box and its reaper speak
	lock   int      // see Hold
	watch  *watcher // of refused calls, nil without one
	image  int      // the mounted file system that keeps the writes, -1 without one
	upper  int      // what was written to memory, -1 when nobody wants it
	// place is where group goes, nil without limits that need one.
	place *cgroup.Place
	group *cgroup.Group
	// settled: full and last are what the box and its reaper have said.
	// accounted is what the group said last.
	settled   bool
	full      bool
	last      []byte
	accounted *account
	// oomKills says that a process of the box was killed for want of memory, by
	// whatever limit.
	oomKills bool
	// terminal is hutch's side of the box's own terminal, nil without one.
	terminal *terminal
	// copies is hutch's end of the socket on which the box sends tree, both -1
	// when nothing is copied.
	copies, tree int
	kept         int // what becomes Tree
	fill         func(*os.File, Owner) error
	groups       cgroup.Options
	// Descriptors are kept as numbers: an *os.File would set up Go's poller,
	// which a start has no use for.
	opened []int // closed when the box has started
}

// starting is held while a box shares this process's memory.
var starting sync.Mutex

// start is the whole of hutch's side of a start, in order.
func (b *box) start(e *Engine, stdio runner.Stdio) error {
	b.ownPipes(stdio)
	f := files{stdio: [3]int{int(stdio.In.Fd()), int(stdio.Out.Fd()), int(stdio.Err.Fd())}}
	if err := b.limit(); err != nil {
		return err
	}
	f.groups = b.entered()
	if e.born(b); b.newborn != nil {
		b.pid, b.pidfd, f.self = b.newborn.PID, int32(b.newborn.Pidfd), b.newborn.Hutch
	}
	fail := func(err error) error {
		if b.newborn != nil {
			b.Kill()
			b.reapFirst()
		}
		return err
	}
	if err := b.open(&f); err != nil {
		return fail(err)
	}
	if err := b.listen(&f); err != nil {
		return fail(err)
	}
	enc, err := encode(b.plan, f, b.newborn, false)
	if err != nil {
		return fail(err)
	}
	b.enc = enc
	defer enc.mem.free()
	defer runtime.KeepAlive(stdio)
	return b.launch(e)
}

// launch lets the box be born and waits until it runs. An application on its
// way to execve shares our memory; that must not be open to others. The flag
// belongs to the whole process, so one box starts at a time: none may open
// what another has closed.
func (b *box) launch(e *Engine) error {
	starting.Lock()
	defer starting.Unlock()
	dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err := b.clone(e); err != nil {
		return err
	}
	defer func() {
		if dumpable == 1 {
			unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
		}
	}()
	err := b.admit()
	if err == nil {
		err = b.join()
	}
	if err != nil {
		ws := b.abort()
		if s := b.enc.shared; s.failed != 0 { // the box failed first, and hutch for that
			return b.explain(int(s.step), syscall.Errno(s.errno))
		}
		if ws.Signal() == unix.SIGSYS { // or it was killed first
			return killedAround()
		}
		return err
	}
	if err := b.copyIn(); err != nil {
		b.abort()
		return err
	}
	return b.started()
}

// open makes the descriptors that the box is born with.
func (b *box) open(f *files) error {
	fail := func(step string, err error) error {
		return &runner.Error{Stage: runner.StageStart, Step: step, Err: err, Hint: hintErrno(err)}
	}
	var err error
	if b.newborn == nil {
		if f.self, err = unix.PidfdOpen(os.Getpid(), 0); err != nil {
			return fail("open a pidfd of hutch", err)
		}
	}
	b.keep(f.self)
	if err := b.openKeep(f); err != nil {
		return err
	}
	if err := b.openLayers(f); err != nil {
		return err
	}
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fail("make the status socket", err)
	}
	b.status = p[0]
	f.status = b.keep(p[1])
	if err := b.openCopies(f); err != nil {
		return fail("make the socket for copies", err)
	}
	if !b.spec.Init {
		return nil
	}
	if f.reaper, err = reaperFile(); err != nil {
		return fail("make the reaper's file", err)
	}
	b.keep(f.reaper)
	return nil
}

// keep closes fd when the box has started.
func (b *box) keep(fd int) int {
	b.opened = append(b.opened, fd)
	return fd
}

// reaperFile is the reaper in a file of its own in memory. It can be executed
// but not read, so that the kernel lets nobody in the box trace the reaper.
func reaperFile() (int, error) {
	fd, err := unix.MemfdCreate("hutch-init", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("hutch-init", unix.MFD_CLOEXEC) // before Linux 6.3
	}
	if err != nil {
		return -1, err
	}
	if _, err = unix.Write(fd, []byte(reaperProgram)); err == nil {
		err = unix.Fchmod(fd, 0o111)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// clone gives birth to the box's first process, unless it is there.
func (b *box) clone(e *Engine) error {
	if b.newborn != nil {
		return nil
	}
	c := &b.enc.box.clone
	c.pidfd = uint64(address(&b.pidfd))
	if b.group != nil {
		if fd, ok := b.group.FD(); ok {
			c.flags |= unix.CLONE_INTO_CGROUP
			c.cgroup = uint64(fd)
		}
	}
	runtime.LockOSThread()
	if e.thread != nil {
		e.thread()
	}
	pid, errno := spawn(&b.enc.box)
	runtime.UnlockOSThread()
	if errno == 0 {
		b.pid = int(pid)
		return nil
	}
	reason, remedy := host.ExplainUserNamespace(errno)
	err := error(errno)
	if reason != "" {
		err = fmt.Errorf("%w: %s", errno, reason)
	}
	return &runner.Error{Stage: runner.StageStart, Step: "create the box's namespaces", Err: err, Hint: remedy}
}

// admit does hutch's steps and lets the box go on, up to where it waits for its
// limits.
func (b *box) admit() error {
	if err := b.ids.write(b.pid); err != nil {
		return err
	}
	if len(b.enc.userns) > 0 {
		ns, err := unix.Open("/proc/"+strconv.Itoa(b.pid)+"/ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return &runner.Error{Stage: runner.StageStart, Step: "open the box's user namespace", Err: err, Hint: "hutch needs /proc"}
		}
		defer unix.Close(ns)
		b.enc.mapTo(ns)
	}
	for i := range b.enc.hutch.ops {
		o := &b.enc.hutch.ops[i]
		if errno := o.do(b.enc.shared); errno != 0 && !o.allows(errno) {
			return b.explain(int(o.step), errno)
		}
	}
	b.enc.shared.ready = 1
	if b.newborn != nil {
		b.newborn.Go(entryAddress(), address(&b.enc.box))
	} else {
		futexWake(&b.enc.shared.ready)
	}
	return nil
}

// started waits until both the reaper and the application have executed, or
// one of them has failed.
func (b *box) started() error {
	b.awaitFirst()
	b.awaitApplication()
	b.closeTrees()
	s := b.enc.shared
	if s.failed == 0 && !b.stillborn() {
		b.closeOpened()
		if b.spec.Terminal == nil {
			return nil
		}
		err := b.openTerminal()
		if err != nil {
			b.Kill()
			b.reapFirst()
		}
		return err
	}
	b.Kill()
	b.reapFirst()
	return b.explain(int(s.step), syscall.Errno(s.errno))
}

// closeTrees closes what hutch's own steps opened.
func (b *box) closeTrees() {
	for i := range b.enc.hutch.ops {
		if p := b.enc.hutch.ops[i].store; p != nil && *p > 0 {
			unix.Close(int(*p))
		}
	}
}

func (b *box) closeOpened() {
	for _, f := range b.opened {
		unix.Close(f)
	}
	b.opened = nil
}

// abort ends a box that hutch could not admit.
func (b *box) abort() unix.WaitStatus {
	unix.PidfdSendSignal(int(b.pidfd), unix.SIGKILL, nil, 0)
	b.awaitFirst()
	b.closeTrees()
	return b.reapFirst()
}

// reapFirst waits for the first process of a box that never ran.
func (b *box) reapFirst() (ws unix.WaitStatus) {
	for {
		_, err := unix.Wait4(b.pid, &ws, 0, nil)
		if err != unix.EINTR {
			return ws
		}
	}
}

// killedAround is why a first process ended that was killed by a filter, which
// is none of ours.
func killedAround() error {
	return &runner.Error{
		Stage: runner.StageStart, Step: "run the box's first process", Err: errors.New("SIGSYS killed it"),
		Hint: "a seccomp filter around hutch kills for a system call that hutch needs: start it outside of that",
	}
}

// cleanup gives back all that a box held.
func (b *box) cleanup() {
	b.closeOpened()
	for _, fd := range []*int{&b.status, &b.image, &b.copies, &b.tree} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
	if b.terminal != nil && !b.terminal.taken {
		b.terminal.master.Close()
	}
	b.ending.Lock()
	if b.pidfd >= 0 {
		unix.Close(int(b.pidfd))
		b.pidfd = -1
	}
	b.ending.Unlock()
	// With the box's first process all others of its namespace are gone.
	if b.group != nil && !b.group.RemoveEmpty() {
		b.group.Kill()
		b.group.Remove()
	}
}
