package native

import (
	"syscall"
	"unsafe"
)

// An op is one system call as data. Between clone and execve the box runs a
// loop over ops and nothing else: no allocation, no lock, no growing stack,
// no Go runtime.
type op struct {
	nr   uintptr
	args [6]uintptr
	// store takes the result; nil drops it. Only what is asked for is stored.
	store *int32
	// start makes this op a clone of the program it points to.
	start *program
	// An errno in allow is no failure; the next skip ops are then left out.
	allow [3]uint16
	skip  uint16
	// step is the index of the plan's step, for the error.
	step uint16
	// Bit i of refs says that args[i] is the index of a slot, whose value an
	// earlier call stored.
	refs uint8
	// wantZero makes any other result a failure (ESRCH).
	wantZero bool
}

// A program is what one process runs, and where it says how it went.
type program struct {
	ops    []op
	clone  cloneArgs // handed to clone3(2) to start it
	shared *shared   // of all programs of a box
	word   *int32    // set before it is started, cleared by the kernel at its end
}

// shared is the memory through which the processes of a box that is being
// made speak to each other and to hutch. All of them share one address space
// until they execute something.
type shared struct {
	slots []int32
	// ready is a futex, futex(2): hutch sets it when its steps are done.
	ready int32
	// copied is another: set when all is there that is to be copied in.
	copied int32
	// running is encoder.running where the first process is no newborn.
	running int32
	// application is a futex too: set when the application's process is about
	// to be made, cleared by the kernel when that has executed or ended.
	application int32
	// The process that fails says where and why, once, before it exits.
	failed, step, errno int32
}

// cloneArgs is struct clone_args, clone(2).
type cloneArgs struct {
	flags, pidfd, childTID, _, exitSignal uint64
	stack, stackSize, _, _, _, cgroup     uint64
}

// do makes the one call and returns its errno.
//
//go:nosplit
//go:norace
func (o *op) do(s *shared) syscall.Errno {
	a := o.args
	for i := range a {
		if o.refs&(1<<i) != 0 {
			a[i] = uintptr(s.slots[a[i]])
		}
	}
	r, _, errno := syscall.RawSyscall6(o.nr, a[0], a[1], a[2], a[3], a[4], a[5])
	if errno == 0 && o.wantZero && r != 0 {
		errno = syscall.ESRCH
	}
	if errno == 0 && o.store != nil {
		*o.store = int32(r)
	}
	return errno
}

// allows says whether errno is no failure of this op.
//
//go:nosplit
//go:norace
func (o *op) allows(errno syscall.Errno) bool {
	for _, a := range o.allow {
		if a != 0 && uintptr(a) == uintptr(errno) {
			return true
		}
	}
	return false
}

// run is all that happens in the box between clone and execve. It does not
// return: the last op is an execve, and a failure ends the process.
//
// A child's own program (op.start) is run by the same loop, in the child, at
// the same time.
//
//lint:ignore U1000 clone3 calls it, in clone_*.s
//go:nosplit
//go:norace
func run(p *program) {
	for i := 0; i < len(p.ops); i++ {
		o := &p.ops[i]
		var errno syscall.Errno
		if o.start != nil {
			if o.start.word != nil {
				*o.start.word = 1
			}
			_, errno = clone3(&o.start.clone, unsafe.Sizeof(o.start.clone), o.start)
		} else {
			errno = o.do(p.shared)
		}
		if errno == 0 {
			continue
		}
		if o.allows(errno) {
			i += int(o.skip)
			continue
		}
		if p.shared.failed == 0 {
			p.shared.step, p.shared.errno = int32(o.step), int32(errno)
			p.shared.failed = 1
		}
		break
	}
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, exitHutch, 0, 0)
	}
}

//lint:ignore U1000 run uses it
const exitHutch = 125

// clone3 starts p in a child that shares this memory, on a stack of its own.
// In the child it does not return.
//
//go:noescape
func clone3(args *cloneArgs, size uintptr, p *program) (pid uintptr, errno syscall.Errno)

// entryAddress is where a newborn enters: a function of C's calling convention
// that runs the program it is given.
func entryAddress() uintptr

// spawn starts p with every signal blocked, so that no handler of Go's ever
// runs in the box. The box unblocks them before it executes the application.
//
//go:nosplit
//go:norace
func spawn(p *program) (pid uintptr, errno syscall.Errno) {
	all, old := ^uint64(0), uint64(0)
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, sigSetmask, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	pid, errno = clone3(&p.clone, unsafe.Sizeof(p.clone), p)
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, sigSetmask, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	return pid, errno
}

const sigSetmask = 2

// address is where v lies. It is only taken of memory that an arena or a box
// keeps alive and that does not move.
func address[T any](v *T) uintptr { return uintptr(unsafe.Pointer(v)) }

// holds says whether an address is that of a slot.
func (s *shared) holds(v uintptr) bool {
	first := address(unsafe.SliceData(s.slots))
	return v >= first && v < first+uintptr(4*len(s.slots))
}

// futexWait sleeps while *word is value, or until a signal or the timeout (nil
// for none); futexWake wakes who sleeps on it.
func futexWait(word *int32, value int32, timeout *syscall.Timespec) {
	syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 0, uintptr(value), uintptr(unsafe.Pointer(timeout)), 0, 0)
}

func futexWake(word *int32) {
	syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 1, 1, 0, 0, 0)
}
