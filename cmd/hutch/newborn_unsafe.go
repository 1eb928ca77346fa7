package main

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"hutch/runner/native"
	"hutch/runner/plan"
)

// What every box begins with needs no decision: so the first process of the
// box is born before the runtime, and makes its namespaces while that starts.
// Then it waits to be told what to do. Measured with the network namespace,
// which is the dearest: a start takes 0.71 to 0.78 of the time.
//
// Where it cannot be born, or fails, or does not fit what is asked for, it is
// thrown away and the engine makes another, with all its words for errors.
var newborn struct {
	pid int // 0: there is none
	// pidfd is the newborn's, self is hutch's.
	pidfd, self int32
	// running is cleared by the kernel when the newborn has executed something
	// or ended; ready is a futex that says that entry and program are there.
	running, ready int32
	// failed is set when one of its first steps did not work.
	failed         int32
	entry, program uintptr
	stack          [16384]byte
}

const (
	newbornClone   = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID
	newbornUnshare = unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET
)

// bear clones, clone(2); the child runs beBorn. It answers the errno negated.
func bear(flags, stack uintptr, pidfd, childTID *int32) (pid int)

// become calls entry with program, in C's calling convention.
func become(entry, program uintptr)

// notWanted are the flags of runs that a newborn would not fit.
var notWanted = [...]string{"--net", "-net", "--dry-run", "--help", "-h", "--engine"}

// wanted says whether the command line that the kernel left on the stack is of
// a run that will likely want what beBorn does. A wrong guess costs time,
// nothing else.
//
//go:nosplit
//go:norace
func wanted(stack *uintptr) bool {
	argv := arguments(stack)
	if len(argv) < 4 || !isRun(stack) {
		return false
	}
	for _, arg := range argv[2:] {
		if *arg != '-' {
			return true
		}
		for i := range notWanted {
			if hasPrefix(arg, notWanted[i]) {
				return false
			}
		}
	}
	return true
}

//go:nosplit
//go:norace
func arguments(stack *uintptr) []*byte {
	return unsafe.Slice((**byte)(unsafe.Add(unsafe.Pointer(stack), unsafe.Sizeof(*stack))), *stack)
}

// isRun says whether the command line is one of hutch run. The others have the
// time to begin as every program does.
//
//go:nosplit
//go:norace
func isRun(stack *uintptr) bool {
	argv := arguments(stack)
	return len(argv) > 1 && hasPrefix(argv[1], "run\x00")
}

// hasPrefix says whether the string at p, which ends in a zero, begins with prefix.
//
//go:nosplit
//go:norace
func hasPrefix(p *byte, prefix string) bool {
	for i := range len(prefix) {
		if *(*byte)(unsafe.Add(unsafe.Pointer(p), i)) != prefix[i] {
			return false
		}
	}
	return true
}

//go:nosplit
//go:norace
func birth() {
	self, _, errno := syscall.RawSyscall6(unix.SYS_PIDFD_OPEN, rawPid(), 0, 0, 0, 0, 0)
	if errno != 0 {
		return
	}
	// The lowest free number: one of the standard streams is closed. Go opens
	// /dev/null in its place, and the application must get that, not this.
	if self <= 2 {
		syscall.RawSyscall6(unix.SYS_CLOSE, self, 0, 0, 0, 0, 0)
		return
	}
	newborn.self = int32(self)
	// Go's handlers, which are there soon, must never run in the newborn.
	all, old := ^uint64(0), uint64(0)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	// Ignored, as the caller may have it, SIGCHLD would never tell the reaper of
	// an end; and the runtime, which takes that back, is not there yet.
	var usual sigaction
	syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), uintptr(unsafe.Pointer(&usual)), 0, 8, 0, 0)
	newborn.running = 1
	const flags = newbornClone | unix.CLONE_VM | unix.CLONE_FILES | unix.CLONE_PIDFD | unix.CLONE_CHILD_CLEARTID | uintptr(unix.SIGCHLD)
	top := (uintptr(unsafe.Pointer(&newborn.stack)) + unsafe.Sizeof(newborn.stack)) &^ 15
	newborn.pid = bear(flags, top, &newborn.pidfd, &newborn.running)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	if newborn.pid < 0 {
		if newborn.pid == -int(unix.EAGAIN) {
			fail(noProcess) // nor would the runtime find one for its threads
		}
		newborn.pid = 0
		syscall.RawSyscall6(unix.SYS_CLOSE, self, 0, 0, 0, 0, 0)
	}
}

//go:nosplit
//go:norace
func rawPid() uintptr {
	pid, _, _ := syscall.RawSyscall6(unix.SYS_GETPID, 0, 0, 0, 0, 0, 0)
	return pid
}

// beBorn does the first steps of every plan, package plan, in their order. They
// are listed for the engine by newbornSteps.
//
//lint:ignore U1000 bear calls it, in entry_*.s
//go:nosplit
//go:norace
func beBorn() {
	if !firstSteps() {
		newborn.failed = 1
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 125, 0, 0, 0, 0, 0)
	}
	for atomic.LoadInt32(&newborn.ready) == 0 {
		syscall.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&newborn.ready)), 0 /* FUTEX_WAIT */, 0, 0, 0, 0)
	}
	become(newborn.entry, newborn.program)
}

//go:nosplit
//go:norace
func firstSteps() bool {
	hutch := unix.PollFd{Fd: newborn.self, Events: unix.POLLIN}
	var none unix.Timespec
	root := [...]byte{'/', 0}
	if _, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0); errno != 0 {
		return false
	}
	// Hutch may have died before that was set.
	if n, _, errno := syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&hutch)), 1, uintptr(unsafe.Pointer(&none)), 0, 0, 0); errno != 0 || n != 0 {
		return false
	}
	if _, _, errno := syscall.RawSyscall6(unix.SYS_SETSID, 0, 0, 0, 0, 0, 0); errno != 0 {
		return false
	}
	if _, _, errno := syscall.RawSyscall6(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0, 0); errno != 0 && errno != unix.ENOSYS {
		return false
	}
	if _, _, errno := syscall.RawSyscall6(unix.SYS_UNSHARE, newbornUnshare, 0, 0, 0, 0, 0); errno != 0 {
		return false
	}
	if _, _, errno := syscall.RawSyscall6(unix.SYS_MOUNT, 0, uintptr(unsafe.Pointer(&root)), 0, unix.MS_REC|unix.MS_PRIVATE, 0, 0); errno != 0 {
		return false
	}
	return loopbackUp()
}

// loopbackUp sets lo's flags, netdevice(7): ahead of its turn, for it needs no
// ids. The table of descriptors is hutch's too.
//
//go:nosplit
//go:norace
func loopbackUp() bool {
	var request struct { // struct ifreq
		name  [16]byte
		flags uint16
		_     [22]byte
	}
	request.name[0], request.name[1] = 'l', 'o'
	request.flags = unix.IFF_UP | unix.IFF_RUNNING
	socket, _, errno := syscall.RawSyscall6(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0, 0, 0, 0)
	if errno != 0 {
		return false
	}
	_, _, errno = syscall.RawSyscall6(unix.SYS_IOCTL, socket, unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request)), 0, 0, 0)
	syscall.RawSyscall6(unix.SYS_CLOSE, socket, 0, 0, 0, 0, 0)
	return errno == 0
}

// adoptable gives the process that was born before the runtime to the engine;
// nil if there is none.
var adoptable = theNewborn()

func theNewborn() *native.Newborn {
	if newborn.pid == 0 {
		return nil
	}
	return &native.Newborn{
		PID: newborn.pid, Pidfd: int(newborn.pidfd), Hutch: int(newborn.self),
		Clone: newbornClone, Steps: newbornSteps(), Ahead: plan.LoopbackUp,
		Running: &newborn.running, Failed: &newborn.failed,
		Go: func(entry, program uintptr) {
			newborn.entry, newborn.program = entry, program
			atomic.StoreInt32(&newborn.ready, 1)
			syscall.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&newborn.ready)), 1 /* FUTEX_WAKE */, 1, 0, 0, 0)
		},
	}
}

// newbornSteps is what beBorn does.
func newbornSteps() []plan.Step {
	return []plan.Step{
		{Kind: plan.DieWithParent},
		{Kind: plan.CheckParent},
		{Kind: plan.NewSession},
		{Kind: plan.NewKeyring},
		{Kind: plan.Unshare, Bits: newbornUnshare},
		{Kind: plan.PrivateMounts},
	}
}
