package native

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// PID is the host's id of the box's first process.
func (b *box) PID() int { return b.pid }

// Pidfd is a descriptor of that process, pidfd_open(2), which Wait closes.
func (b *box) Pidfd() int { return int(b.pidfd) }

// Signal passes sig to the application, by way of the reaper.
func (b *box) Signal(sig os.Signal) error {
	s, ok := sig.(syscall.Signal)
	if !ok {
		return &runner.Error{Stage: runner.StageRun, Step: "signal " + sig.String() + " is not one of this system"}
	}
	if s == unix.SIGKILL {
		return b.Kill()
	}
	return b.send(s)
}

func (b *box) send(s syscall.Signal) error {
	b.ending.Lock()
	defer b.ending.Unlock()
	if b.pidfd < 0 {
		return os.ErrProcessDone
	}
	return unix.PidfdSendSignal(int(b.pidfd), s, nil, 0)
}

// Kill ends the whole box: with its first process the kernel ends them all.
func (b *box) Kill() error { return b.send(unix.SIGKILL) }

// Wait returns when no process of the box is left.
func (b *box) Wait() (runner.Result, error) {
	began := time.Now()
	swept := b.sweep()
	b.settle()
	var ws unix.WaitStatus
	var usage unix.Rusage
	for {
		_, err := unix.Wait4(b.pid, &ws, 0, &usage)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			b.cleanup()
			return runner.Result{}, &runner.Error{Stage: runner.StageRun, Step: "wait for the box", Err: err}
		}
	}
	ended := time.Now()
	b.account()
	// They wrote before they ended, so this does not wait.
	full := b.scratchIsFull()
	full = b.keepIsFull() || full
	b.keepTree()
	if told := b.told(); told != nil {
		ws = unix.WaitStatus(binary.NativeEndian.Uint32(told))
	} else if b.spec.Init && ws.Signal() == unix.SIGSYS {
		b.cleanup()
		swept()
		return runner.Result{}, killedAround()
	}
	r := b.result(ws, &usage)
	r.Timing.RunSeconds = ended.Sub(began).Seconds()
	r.Usage.WallSeconds = runner.Seconds(ended.Sub(began))
	b.measure(&r)
	b.blame(&r, full)
	b.watch.tell(&r)
	b.tellProcesses(&r)
	b.cleanup()
	swept()
	r.Timing.CleanupSeconds = time.Since(ended).Seconds()
	return r, nil
}

// told is the application's wait status in the reaper's words, nil when it said
// none.
func (b *box) told() []byte {
	if b.terminal != nil {
		return b.terminal.last
	}
	if b.last != nil {
		return b.last
	}
	var word [4]byte
	if readAll(b.status, word[:]) {
		return word[:]
	}
	return nil
}

// readAll fills buf, or says that the writer left before.
func readAll(fd int, buf []byte) bool {
	for len(buf) > 0 {
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return false
		}
		buf = buf[n:]
	}
	return true
}

// result says what became of the application.
func (b *box) result(ws unix.WaitStatus, usage *unix.Rusage) runner.Result {
	r := runner.Result{Version: runner.ResultVersion, Engine: "native"}
	switch {
	case ws.Exited():
		r.SetExit(ws.ExitStatus())
	case ws.Signal() == unix.SIGSYS:
		r.SetSignal(int(unix.SIGSYS), "SIGSYS")
		r.Cause = runner.SeccompKilled
		r.Message = "the seccomp filter killed the application for a system call that it refuses"
	default:
		r.SetSignal(int(ws.Signal()), unix.SignalName(ws.Signal()))
	}
	user, system := time.Duration(usage.Utime.Nano()), time.Duration(usage.Stime.Nano())
	switches := usage.Nvcsw + usage.Nivcsw
	// No peak of memory: what rusage says begins with hutch's own, which the
	// box shared until it executed something.
	r.Usage = runner.Usage{
		UserSeconds: runner.Seconds(user), SystemSeconds: runner.Seconds(system),
		ContextSwitches: &switches,
	}
	r.Enforced = b.enforced()
	return r
}

func (b *box) enforced() runner.Enforced {
	e := runner.Enforced{
		LandlockABI:   b.plan.LandlockABI,
		UserNamespace: true,
		Missing:       append(b.unlimited(), b.plan.Missing...),
		Limits:        b.spec.Limits.Names(),
	}
	if b.spec.Seccomp.Digest != "" {
		e.Seccomp = strings.TrimSuffix(b.spec.Seccomp.Name, "@") + "@" + b.spec.Seccomp.Digest
	}
	if b.group != nil {
		e.Cgroup = b.group.Version()
	}
	if e.Missing == nil {
		e.Missing = []string{}
	}
	return e
}

// measure takes from the control group what rusage cannot see: processes that
// nobody waited for.
func (b *box) measure(r *runner.Result) {
	if b.accounted == nil {
		return
	}
	u := b.accounted.usage
	b.oomKills = u.OOMKills != nil && *u.OOMKills > 0
	for _, f := range []struct{ from, to **int64 }{
		{&u.MemoryPeak, &r.Usage.MemoryPeakBytes},
		{&u.ReadBytes, &r.Usage.ReadBytes},
		{&u.WrittenBytes, &r.Usage.WrittenBytes},
		{&u.ProcessesPeak, &r.Usage.ProcessesPeak},
	} {
		if *f.from != nil {
			*f.to = *f.from
		}
	}
	r.Usage.Stalled = runner.Stalled(u.Stalled)
	if u.User != nil && u.System != nil {
		r.Usage.UserSeconds, r.Usage.SystemSeconds = u.User, u.System
	}
}

// tellProcesses adds to the refusals of a run that is explained those of new
// processes, which the control group has counted.
func (b *box) tellProcesses(r *runner.Result) {
	most := b.spec.Limits.Processes
	if b.watch == nil || most == 0 || b.accounted == nil || b.accounted.usage.ProcessesRefused == nil || *b.accounted.usage.ProcessesRefused == 0 {
		return
	}
	r.Denied = append(r.Denied, runner.Denial{
		What: refusedLimit, Name: "pids", Count: *b.accounted.usage.ProcessesRefused, FirstSeconds: *r.Usage.WallSeconds,
		Errno: "EAGAIN", Hint: fmt.Sprintf("limits.pids = %d  # it was %d", 2*most, most),
	})
}

// blame finds the limit that made the application fail, where it did: one that
// a kernel holds and that only shows in how the application took it. What ended
// well met no limit that mattered.
func (b *box) blame(r *runner.Result, full bool) {
	failed := r.Cause == runner.Signaled || r.Cause == runner.Exited && *r.ExitCode != 0
	if !failed {
		return
	}
	l := b.spec.Limits
	switch {
	case b.accounted != nil && b.accounted.oom:
		r.Cause = runner.OutOfMemory
		r.Message = fmt.Sprintf("the box used up its memory limit of %d bytes, and the kernel killed a process of it", l.MemoryBytes)
	case l.CPUTime > 0 && overCPUTime(r, l.CPUTime):
		r.Cause = runner.CPUTime
		r.Message = fmt.Sprintf("the application was stopped when it had used its processor time of %v", l.CPUTime)
	case full:
		r.Cause = runner.DiskLimit
		r.Message = fmt.Sprintf("the application failed, and what it may write (%d bytes, %d files) was used up", b.spec.Root.Disk, b.spec.Root.Inodes)
		if b.spec.Root.Keep != "" {
			r.Message = "the application failed, and the place where its writes are kept, or the scratch space, was full"
		}
	case b.oomKills:
		r.Message = "the machine, or a group around hutch, ran out of memory, and the kernel killed a process of the box; its own limit was not reached"
	}
}

// overCPUTime says whether RLIMIT_CPU ended the application: by SIGXCPU, which
// nobody else sends, or by SIGKILL a second later, getrlimit(2).
func overCPUTime(r *runner.Result, limit time.Duration) bool {
	if r.Signal != "SIGKILL" || r.Usage.UserSeconds == nil || r.Usage.SystemSeconds == nil {
		return r.Signal == "SIGXCPU"
	}
	return *r.Usage.UserSeconds+*r.Usage.SystemSeconds >= limit.Seconds()
}
