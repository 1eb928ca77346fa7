package host

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An op is one raw system call of a probe's child, with its name for errors.
type op struct {
	name string
	nr   uintptr
	args [6]uintptr
}

// A child is a forked process for a probe: it waits for one byte, runs ops in
// order, reports the first that fails, and then waits to be killed. It runs on
// a copy of this process's memory, in which only the calling thread exists, so
// between the clone and the end it makes raw system calls and nothing else: no
// allocation, no locks, no stack growth.
type child struct {
	pid           int
	start, report int // this side's ends of the pipes
}

// program is all that the child touches, allocated before it exists.
type program struct {
	args             cloneArgs
	ops              []op
	startR, startW   int
	reportR, reportW int
	buf              [1]byte
	result           [2]uint64 // index of the failed op (or len(ops)), errno
}

// cloneArgs is struct clone_args of clone3(2), version 0.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls uint64
}

// newChild clones with the given CLONE_NEW* flags; the kernel's refusal is the
// error, bare.
func newChild(flags uintptr, ops []op) (*child, error) {
	p := &program{ops: ops, args: cloneArgs{flags: uint64(flags), exitSignal: uint64(unix.SIGCHLD)}}
	var start, report [2]int
	if err := unix.Pipe2(start[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	if err := unix.Pipe2(report[:], unix.O_CLOEXEC); err != nil {
		closeAll(start[:])
		return nil, err
	}
	p.startR, p.startW, p.reportR, p.reportW = start[0], start[1], report[0], report[1]
	pid, err := p.spawn()
	closeAll([]int{p.startR, p.reportW})
	if err != nil {
		closeAll([]int{p.startW, p.reportR})
		return nil, err
	}
	return &child{pid: pid, start: p.startW, report: p.reportR}, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// spawn blocks all signals around the clone, so that no handler of the Go
// runtime can run in the child.
func (p *program) spawn() (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// A fork of another goroutine meanwhile must not inherit the pipes' ends
	// for long: they are close-on-exec, and ForkLock keeps it out altogether.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, &old); err != nil {
		return 0, err
	}
	pid, errno := p.clone()
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil); err != nil {
		return 0, err
	}
	if errno != 0 {
		return 0, errno
	}
	return int(pid), nil
}

//go:noinline
//go:norace
func (p *program) clone() (uintptr, syscall.Errno) {
	pid, _, errno := syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&p.args)), unsafe.Sizeof(p.args), 0)
	if errno == unix.ENOSYS {
		// A container's filter hides clone3, whose flags it cannot read.
		pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, uintptr(p.args.flags|p.args.exitSignal), 0, 0, 0, 0, 0)
	}
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	// The child, to the end of this function.
	syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0)
	// Without this the read below would wait for its own end of the pipe.
	syscall.RawSyscall(unix.SYS_CLOSE, uintptr(p.startW), 0, 0)
	n, _, _ := syscall.RawSyscall(unix.SYS_READ, uintptr(p.startR), uintptr(unsafe.Pointer(&p.buf)), 1)
	if n == 1 {
		p.result[0] = uint64(len(p.ops))
		for i := range p.ops {
			o := &p.ops[i]
			if _, _, errno := syscall.RawSyscall6(o.nr, o.args[0], o.args[1], o.args[2], o.args[3], o.args[4], o.args[5]); errno != 0 {
				p.result[0], p.result[1] = uint64(i), uint64(errno)
				break
			}
		}
		syscall.RawSyscall(unix.SYS_WRITE, uintptr(p.reportW), uintptr(unsafe.Pointer(&p.result)), unsafe.Sizeof(p.result))
	}
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

// mapSelf makes the caller root of the child's user namespace.
func (c *child) mapSelf() error {
	dir := "/proc/" + strconv.Itoa(c.pid) + "/"
	for _, f := range [...]struct{ file, text string }{
		{"uid_map", "0 " + strconv.Itoa(os.Geteuid()) + " 1\n"},
		{"setgroups", "deny"}, // else an ordinary user may not write gid_map
		{"gid_map", "0 " + strconv.Itoa(os.Getegid()) + " 1\n"},
	} {
		if err := os.WriteFile(dir+f.file, []byte(f.text), 0); err != nil {
			return err
		}
	}
	return nil
}

// run lets the child go and returns the index of the op that failed.
func (c *child) run() (failed int, err error) {
	if _, err := unix.Write(c.start, []byte{1}); err != nil {
		return 0, err
	}
	var result [2]uint64
	n, err := unix.Read(c.report, unsafe.Slice((*byte)(unsafe.Pointer(&result)), unsafe.Sizeof(result)))
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, errors.New("the probe's process was killed")
	}
	if result[1] != 0 {
		return int(result[0]), syscall.Errno(result[1])
	}
	return int(result[0]), nil
}

// end kills and reaps the child.
func (c *child) end() {
	closeAll([]int{c.start, c.report})
	_ = unix.Kill(c.pid, unix.SIGKILL)
	for {
		if _, err := unix.Wait4(c.pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// cstring keeps a string for a raw call; what it returns must stay reachable
// until the call is made (keep does that for ops).
func cstring(s string) *byte {
	p, err := unix.BytePtrFromString(s)
	if err != nil {
		panic("a probe's string has a zero byte: " + strconv.Quote(s))
	}
	return p
}

// opList collects ops together with the strings they point to.
type opList struct {
	ops  []op
	keep []*byte
}

func (l *opList) str(s string) uintptr {
	p := cstring(s)
	l.keep = append(l.keep, p)
	return uintptr(unsafe.Pointer(p)) // the heap does not move; keep holds it
}

func (l *opList) mount(name, source, target, fstype string, flags uintptr, data string) {
	l.ops = append(l.ops, op{name, unix.SYS_MOUNT, [6]uintptr{l.str(source), l.str(target), l.str(fstype), flags, l.str(data)}})
}

func (l *opList) mkdir(path string) {
	const cwd = ^uintptr(99) // AT_FDCWD, -100
	l.ops = append(l.ops, op{"make " + path, unix.SYS_MKDIRAT, [6]uintptr{cwd, l.str(path), 0o755}})
}
