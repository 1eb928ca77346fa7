package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A guard puts the terminal back where hutch cannot.
type guard struct{ pid, pipe int }

func newGuard(fd int, found *unix.Termios) (*guard, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	// Above what the guard makes room for.
	high, err := unix.FcntlInt(uintptr(p[0]), unix.F_DUPFD_CLOEXEC, 10)
	unix.Close(p[0])
	if err != nil {
		unix.Close(p[1])
		return nil, err
	}
	defer unix.Close(high)
	pid, errno := forkGuard(uintptr(fd), uintptr(high), found)
	if errno != 0 {
		unix.Close(p[1])
		return nil, errno
	}
	return &guard{int(pid), p[1]}, nil
}

// guardName is what ps(1) shows.
var guardName = [...]byte{'h', 'u', 't', 'c', 'h', '-', 't', 'e', 'r', 'm', 'i', 'n', 'a', 'l', 0}

// forkGuard starts a process that waits for hutch's end. Where that is not
// announced by a byte, as after SIGKILL, it puts the terminal back. It has
// nothing of hutch but the terminal and the pipe, and gets no signal of the
// terminal's: it is in a group of its own, from where SIGTTOU must not stop it.
// It is a fork of one thread of many, so it makes raw system calls and nothing
// else.
//
//go:nosplit
//go:norace
func forkGuard(terminal, pipe uintptr, found *unix.Termios) (uintptr, syscall.Errno) {
	all, old := ^uint64(0), uint64(0)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		watch(terminal, pipe, found)
	}
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
	return pid, errno
}

// watch is what the guard does. It does not return.
//
//go:nosplit
//go:norace
func watch(terminal, pipe uintptr, found *unix.Termios) {
	const ttyAt, pipeAt = 3, 4
	var b byte
	syscall.RawSyscall6(unix.SYS_SETPGID, 0, 0, 0, 0, 0, 0)
	syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NAME, uintptr(unsafe.Pointer(&guardName)), 0, 0, 0, 0)
	if terminal != ttyAt {
		syscall.RawSyscall6(unix.SYS_DUP3, terminal, ttyAt, 0, 0, 0, 0)
	}
	if _, _, errno := syscall.RawSyscall6(unix.SYS_DUP3, pipe, pipeAt, 0, 0, 0, 0); errno != 0 {
		syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 1, 0, 0, 0, 0, 0)
	}
	syscall.RawSyscall6(unix.SYS_CLOSE_RANGE, 0, ttyAt-1, 0, 0, 0, 0)
	syscall.RawSyscall6(unix.SYS_CLOSE_RANGE, pipeAt+1, ^uintptr(0)>>32, 0, 0, 0, 0)
	n, errno := uintptr(0), unix.EINTR
	for errno == unix.EINTR {
		n, _, errno = syscall.RawSyscall6(unix.SYS_READ, pipeAt, uintptr(unsafe.Pointer(&b)), 1, 0, 0, 0)
	}
	if errno == 0 && n == 0 {
		// At once: TCSETS does not wait for output that nobody may read.
		syscall.RawSyscall6(unix.SYS_IOCTL, ttyAt, unix.TCSETS, uintptr(unsafe.Pointer(found)), 0, 0, 0)
	}
	syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
}

// dismiss ends a guard that is not needed any more.
func (g *guard) dismiss() {
	if g == nil {
		return
	}
	unix.Write(g.pipe, []byte{0})
	unix.Close(g.pipe)
	for {
		if _, err := unix.Wait4(g.pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}
