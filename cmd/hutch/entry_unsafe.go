package main

import (
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What may be settled before Go's runtime is there is worth settling: it takes
// as long to start as a box does. So bin/hutch begins in hutch_entry, in
// entry_*.s, which calls beforeRuntime and then the runtime's own entry. A
// program that was linked otherwise, a test for one, lacks nothing but speed.
//
// There is no g, no heap and no stack that grows: functions that run here, in
// the newborn or in a signal's handler are nosplit, make raw system calls, and
// write no pointer into anything.

// early says that beforeRuntime has run.
var early bool

// cpus is the mask of the processors that hutch was given.
var cpus struct {
	mask, narrow [1024]byte
	// back is what gives them back: every processor there is, where mask is what
	// the control group leaves of these. The kernel remembers a mask that was
	// asked for, sched_setaffinity(2): one of fewer would keep the application
	// from those that the group is given later.
	back  [1024]byte
	size  uintptr // bytes of it that the kernel uses; 0: nothing was taken away
	slack uintptr // of timers, in nanoseconds, before; 0: it is as it was
}

// ignored are the signals that hutch was started to ignore and the runtime
// would catch. It leaves SIGHUP and SIGINT so.
var ignored uint32

// caught are those that hutch sends on.
var caught = [...]int32{int32(unix.SIGTERM), int32(unix.SIGQUIT), int32(unix.SIGUSR1), int32(unix.SIGUSR2)}

//lint:ignore U1000 hutch_entry calls it
//go:nosplit
//go:norace
func beforeRuntime(stack *uintptr) {
	early = true
	if lent(stack) {
		fail(notLent)
	}
	demandRoom()
	noteIgnored()
	size, _, errno := syscall.RawSyscall6(unix.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(cpus.mask), uintptr(unsafe.Pointer(&cpus.mask)), 0, 0, 0)
	if errno != 0 {
		size = 0
	}
	if wanted(stack) {
		birth()
	}
	if size != 0 && isRun(stack) {
		narrow(size)
	}
	spare()
}

// notLent is said of a hutch that would do for its caller what only its owner
// may: it binds, reads and writes what it is told to.
const notLent = "hutch: this file is set-user-ID or set-group-ID, or has capabilities, and would lend them to everyone\n" +
	"hint: chmod u-s,g-s and setcap -r it; ordinary users need no privilege, and who does not trust them with hutch's has sudo\n"

// lent says whether the file of hutch has given it rights that its caller has
// not. AT_SECURE, getauxval(3), alone does not: a security module says that too.
//
//go:nosplit
//go:norace
func lent(stack *uintptr) bool {
	word := func(i uintptr) uintptr {
		return *(*uintptr)(unsafe.Add(unsafe.Pointer(stack), i*unsafe.Sizeof(i)))
	}
	at := 1 + *stack + 1 // behind the count and the arguments
	for word(at) != 0 {
		at++ // the environment
	}
	var uid, euid, gid, egid, secure uintptr
	for at++; word(at) != 0; at += 2 {
		switch value := word(at + 1); word(at) {
		case 11:
			uid = value
		case 12:
			euid = value
		case 13:
			gid = value
		case 14:
			egid = value
		case 23:
			secure = value
		}
	}
	if secure == 0 {
		return false
	}
	if uid != euid || gid != egid {
		return true
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	_, _, errno := syscall.RawSyscall6(unix.SYS_CAPGET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets)), 0, 0, 0, 0)
	return uid != 0 && (errno != 0 || sets[0].Permitted|sets[1].Permitted != 0)
}

// leastRoom is what Go needs to start, of limits that end it with a stack trace
// or a segmentation fault. To add one: the resource, the least that does, with
// what was measured, and what is said below that.
var leastRoom = [...]struct {
	resource uintptr
	least    uint64
	said     string
}{
	// It reserves addresses, of which it uses few: 0.85 to 1.25 and from 1.4 GB do.
	{
		unix.RLIMIT_AS, 1400 << 20,
		"hutch: the limit of virtual memory (ulimit -v) is too low: Go reserves 1.4 GB of addresses, and uses little of them\n" +
			"hint: ulimit -v unlimited; --memory limits what the box uses\n",
	},
	// From 74 MB a directory runs; a tar takes more.
	{
		unix.RLIMIT_DATA, 128 << 20,
		"hutch: the limit of data (ulimit -d) is too low: Go maps 74 MB to start, and uses little of them\n" +
			"hint: ulimit -d unlimited, or 131072 and more; --memory limits what the box uses\n",
	},
	// The first thread's is used up to 64 KB below where it starts.
	{
		unix.RLIMIT_STACK, 128 << 10,
		"hutch: the limit of the stack (ulimit -s) is too low: Go uses 64 KB of it beside the arguments and the environment\n" +
			"hint: ulimit -s 8192\n",
	},
}

// demandRoom ends hutch where the runtime would, in words.
//
//go:nosplit
//go:norace
func demandRoom() {
	var room syscall.Rlimit
	for i := range leastRoom {
		_, _, errno := syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, leastRoom[i].resource, 0, uintptr(unsafe.Pointer(&room)), 0, 0)
		if errno == 0 && room.Cur < leastRoom[i].least {
			fail(leastRoom[i].said)
		}
	}
	_, _, errno := syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NPROC, 0, uintptr(unsafe.Pointer(&room)), 0, 0)
	if errno == 0 && room.Cur < fewProcesses && !roomForThreads() {
		fail(noProcess)
	}
}

// noProcess is said where the runtime would not find the threads it needs.
const noProcess = "hutch: there are too many processes for the limit of this user's (ulimit -u), or of the control group around hutch (pids.max): hutch needs 7 and more\n" +
	"hint: end some, or raise that limit; --pids limits those of the box\n"

// fewProcesses is a limit from which on hutch finds out too late that it is
// used up, rather than taking 0.3 ms to look.
const fewProcesses = 256

// roomForThreads says whether as many processes as hutch has threads and box may
// come into being: each has a child and waits for it, up to the last.
//
//go:nosplit
//go:norace
func roomForThreads() bool {
	const wanted, all = 7, 0x40000000 // __WALL, wait(2)
	for depth := 0; depth < wanted; depth++ {
		// No signal at its end: a caller that ignores SIGCHLD would take it away.
		child, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, unix.CLONE_VFORK, 0, 0, 0, 0, 0)
		if errno == 0 && child == 0 {
			continue
		}
		var status uint32
		if errno == 0 {
			_, _, errno = syscall.RawSyscall6(unix.SYS_WAIT4, child, uintptr(unsafe.Pointer(&status)), all, 0, 0, 0)
		}
		enough := errno == 0 && status == 0
		if depth == 0 {
			return enough
		}
		end := uintptr(0)
		if !enough {
			end = 1
		}
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, end, 0, 0, 0, 0, 0)
	}
	syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
	return true
}

//go:nosplit
//go:norace
func fail(said string) {
	syscall.RawSyscall6(unix.SYS_WRITE, 2, uintptr(unsafe.Pointer(unsafe.StringData(said))), uintptr(len(said)), 0, 0, 0)
	syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 125, 0, 0, 0, 0, 0)
}

// noteIgnored is for ignoreAgain.
//
//go:nosplit
//go:norace
func noteIgnored() {
	for i := range caught {
		var is sigaction
		const ignore = 1
		_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(caught[i]), 0, uintptr(unsafe.Pointer(&is)), 8, 0, 0)
		if errno == 0 && is.handler == ignore {
			ignored |= 1 << caught[i]
		}
	}
}

// ignoreAgain has hutch go on ignoring what it was started to ignore, as by
// trap ” TERM in a shell: it is then for nobody.
func ignoreAgain() {
	for _, sig := range caught {
		if ignored&(1<<sig) != 0 {
			signal.Ignore(syscall.Signal(sig))
		}
	}
}

// noFile is the limit of open files that hutch was given.
var noFile struct {
	limit  syscall.Rlimit
	spared bool
}

// closedStreams says which of the standard streams hutch was started without.
var closedStreams [3]bool

// spare keeps the runtime from what it does at each start for those who will
// want it: looking through /proc/self/mountinfo for the processor limit of the
// control group, which one scheduler has no use for, and whose files it cannot
// open while no descriptor is to be had; and recording its first allocation for
// a memory profile. Measured: a run takes 0.94 to 0.96 of the time.
//
//go:nosplit
//go:norace
func spare() {
	runtime.MemProfileRate = 0
	for fd := range closedStreams {
		_, _, errno := syscall.RawSyscall6(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFD, 0, 0, 0, 0)
		closedStreams[fd] = errno != 0
	}
	if closedStreams[0] || closedStreams[1] || closedStreams[2] {
		return // the runtime opens /dev/null there
	}
	if _, _, errno := syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, 0, uintptr(unsafe.Pointer(&noFile.limit)), 0, 0); errno != 0 {
		return
	}
	none := syscall.Rlimit{Cur: 0, Max: noFile.limit.Max}
	_, _, errno := syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&none)), 0, 0, 0)
	noFile.spared = errno == 0
}

// narrow leaves this thread the processor it runs on. The runtime makes as many
// schedulers as it finds processors, and a thread for each that it can find
// something to do for: on the way to an execve, threads that wake each other,
// do nothing and sleep again. One processor makes one scheduler. Its monitor,
// which would wake every 20 microseconds of a start to look after them, inherits
// a timer slack that lets it sleep. Measured on 4 cores: 34 context switches
// instead of 132, and a start takes 0.83 to 0.87 of the time.
//
// The newborn gets the others: fork(2) leaves a child where its parent runs,
// and one would wait for the other. Measured: 0.91 of the time.
//
//go:nosplit
//go:norace
func narrow(size uintptr) {
	var cpu uint32
	if _, _, errno := syscall.RawSyscall6(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0, 0, 0, 0); errno != 0 {
		return
	}
	others := false
	for i := range cpus.mask {
		bits := cpus.mask[i]
		if uint32(i) == cpu/8 {
			cpus.narrow[i] = 1 << (cpu % 8)
			bits &^= cpus.narrow[i]
		}
		others = others || bits != 0
	}
	if !others {
		return
	}
	if newborn.pid > 0 {
		for i := range cpus.mask {
			cpus.narrow[i] ^= cpus.mask[i]
		}
		setaffinity(newborn.pid, size, &cpus.narrow[0])
		for i := range cpus.mask {
			cpus.narrow[i] ^= cpus.mask[i]
		}
	}
	setaffinity(0, size, &cpus.narrow[0])
	slack, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK, 0, 0, 0, 0, 0)
	if errno == 0 && slack != 0 { // a realtime thread has none
		syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, 5_000_000, 0, 0, 0, 0)
		cpus.slack = slack
	}
	cpus.size = size
}

//go:nosplit
//go:norace
func setaffinity(tid int, size uintptr, mask *byte) {
	syscall.RawSyscall6(unix.SYS_SCHED_SETAFFINITY, uintptr(tid), size, uintptr(unsafe.Pointer(mask)), 0, 0, 0)
}

// Files and processors are given back before anything of ours runs: the
// application inherits both, from the main thread or the newborn.
func init() {
	if noFile.spared {
		// Package syscall has raised it, and would give programs that are started
		// what it was before, were it not told that this is wanted.
		_ = syscall.Setrlimit(unix.RLIMIT_NOFILE, &noFile.limit)
	}
	if ignored != 0 {
		ignoreAgain()
	}
	if cpus.size == 0 {
		return
	}
	usualSlack()
	chooseBack()
	if newborn.pid > 0 {
		setaffinity(newborn.pid, cpus.size, &cpus.back[0])
	}
}

// chooseBack gives this thread every processor, or those that hutch was given
// where that are fewer, as with taskset(1), and chooses for the others.
func chooseBack() {
	for i := range cpus.size {
		cpus.back[i] = 0xff
	}
	setaffinity(0, cpus.size, &cpus.back[0])
	var got [1024]byte
	_, _, errno := syscall.RawSyscall6(unix.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(got), uintptr(unsafe.Pointer(&got)), 0, 0, 0)
	if errno != 0 || got != cpus.mask {
		cpus.back = cpus.mask
		setaffinity(0, cpus.size, &cpus.back[0])
	}
}

// ordinaryThread gives this thread back what narrow took, unless it is the
// first, which has it. The runtime's others stay as they are: who forks from one
// would pass it on.
func ordinaryThread() {
	if cpus.size != 0 && unix.Gettid() != os.Getpid() {
		wholeThread()
	}
}

func wholeThread() {
	usualSlack()
	setaffinity(0, cpus.size, &cpus.back[0])
}

func usualSlack() {
	if cpus.slack != 0 {
		syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, cpus.slack, 0, 0, 0, 0)
	}
}

// onOrdinaryThread calls start, which starts a program, on a thread that has
// nothing unusual to pass on.
func onOrdinaryThread(start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ordinaryThread()
	return start()
}

// manyThreads undoes the rest, for work that uses every processor.
func manyThreads() {
	if cpus.size == 0 {
		return
	}
	ordinaryThread()
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, t := range tasks {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			setaffinity(tid, cpus.size, &cpus.back[0])
		}
	}
	runtime.GOMAXPROCS(0)
	var n int
	for _, b := range cpus.mask {
		for ; b != 0; b &= b - 1 {
			n++
		}
	}
	runtime.GOMAXPROCS(n)
}
