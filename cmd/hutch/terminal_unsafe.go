//go:build cgo

package main

/*
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

// guard starts a process that waits for hutch's end. Where that is not
// announced by a byte, as after SIGKILL, it puts the terminal back. It has
// nothing of hutch but the terminal and the pipe, and gets no signal of the
// terminal's: it is in a group of its own, from where SIGTTOU must not stop it.
// Of the C library it uses only what may be used between fork and exec in a
// program of many threads (signal-safety(7)).
static int guard(int terminal, int pipe, const void *found)
{
	sigset_t all, old;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	int pid = fork();
	if (pid == 0) {
		char byte;
		ssize_t n;
		setpgid(0, 0);
		prctl(PR_SET_NAME, "hutch-terminal", 0, 0, 0);
		if (terminal != 3)
			dup2(terminal, 3);
		if (pipe == 3 || dup2(pipe, 4) < 0)
			_exit(1);
		close_range(0, 2, 0);
		close_range(5, ~0U, 0);
		while ((n = read(4, &byte, 1)) < 0 && errno == EINTR)
			;
		if (n == 0)
			ioctl(3, TCSETS, found); // not waiting for output that nobody may read
		_exit(0);
	}
	int saved = errno;
	sigprocmask(SIG_SETMASK, &old, NULL);
	errno = saved;
	return pid;
}
*/
import "C"

import (
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
	pid, err := C.guard(C.int(fd), C.int(high), unsafe.Pointer(found))
	if pid < 0 {
		unix.Close(p[1])
		return nil, err
	}
	return &guard{int(pid), p[1]}, nil
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
