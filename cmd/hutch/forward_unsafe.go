//go:build cgo

package main

/*
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

// Package os/signal hands each signal that it is asked for to a thread of its
// own and back: for seven of them a tenth of a whole start. All that is to be
// done is to send the signal on, which a handler may do (signal-safety(7)).

// The box's first process, or -1 before it is there.
static volatile sig_atomic_t box = -1;
// Where the number of a signal is written for a box that is no process here.
static volatile sig_atomic_t told = -1;
static volatile sig_atomic_t pending;

// What is left to say when hutch ends by a signal in the middle of a start: a
// result, around the name of the signal, to fd, or to the file temp and from
// there to name. Nothing else of hutch may run then (signal-safety(7)).
static struct {
	const char *head, *tail, *temp, *name;
	int fd;
} words = {.fd = -1};

static void say_words(int sig)
{
	static const struct { int sig; const char *name; } names[] = {
		{SIGINT, "\"SIGINT\""}, {SIGTERM, "\"SIGTERM\""}, {SIGQUIT, "\"SIGQUIT\""},
		{SIGHUP, "\"SIGHUP\""}, {SIGUSR1, "\"SIGUSR1\""}, {SIGUSR2, "\"SIGUSR2\""},
	};
	const char *name = "\"\"";
	int fd = words.fd;
	if (words.head == NULL)
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].sig == sig)
			name = names[i].name;
	if (words.temp != NULL)
		fd = open(words.temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	struct iovec text[] = {
		{(void *)words.head, strlen(words.head)}, {(void *)name, strlen(name)}, {(void *)words.tail, strlen(words.tail)},
	};
	ssize_t size = text[0].iov_len + text[1].iov_len + text[2].iov_len;
	int whole = writev(fd, text, 3) == size;
	if (words.temp != NULL) {
		close(fd);
		if (!whole || rename(words.temp, words.name) != 0)
			unlink(words.temp);
	}
}

static void leave_words(int fd, const char *temp, const char *name, const char *head, const char *tail)
{
	words.fd = fd;
	words.temp = temp;
	words.name = name;
	words.tail = tail;
	words.head = head;
}

static void pass(int sig)
{
	if (box >= 0) {
		syscall(SYS_pidfd_send_signal, (int)box, sig, NULL, 0);
	} else if (told >= 0) {
		unsigned char byte = sig;
		int saved = errno;
		if (write(told, &byte, 1) < 0)
			errno = saved;
	} else if (pending && sig != SIGWINCH) {
		// Asked twice while the box is still being made: a start that hangs, on
		// a dead file server say, can be ended. The box dies with hutch.
		say_words(sig);
		signal(sig, SIG_DFL);
		raise(sig);
	} else if (sig != SIGWINCH) {
		pending = sig;
	}
}

// listen takes over the signals of list. What was ignored stays so: nohup(1)
// ignores SIGHUP for us. The stack and the restart are what the Go runtime
// asks of every handler (package os/signal, "Go programs that use cgo").
static void listen_to(const int *list, int n)
{
	for (int i = 0; i < n; i++) {
		struct sigaction now = {.sa_handler = pass, .sa_flags = SA_ONSTACK | SA_RESTART}, old;
		sigemptyset(&now.sa_mask);
		if (sigaction(list[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(list[i], &now, NULL);
	}
}

static void pass_to(int pidfd)
{
	box = pidfd;
	if (pending)
		pass(pending);
}

static void tell(int fd)
{
	told = fd;
	if (pending)
		pass(pending);
}
*/
import "C"

import (
	"os"
	"syscall"

	"hutch/runner"
)

// listen keeps the signals that an application may be sent by signalling
// hutch, from before the box is there.
func listen(terminal bool) {
	list := [...]C.int{
		C.int(syscall.SIGINT), C.int(syscall.SIGTERM), C.int(syscall.SIGQUIT), C.int(syscall.SIGHUP),
		C.int(syscall.SIGUSR1), C.int(syscall.SIGUSR2), C.int(syscall.SIGWINCH),
	}
	n := len(list)
	if terminal {
		n-- // the last is then for the terminal of the box
	}
	C.listen_to(&list[0], C.int(n))
}

// leaveWords hands over the result to be written when a second signal ends a
// start, in two parts around the name of the signal. C keeps the strings.
func leaveWords(fd int, temp, name, head, tail string) {
	text := func(s string) *C.char {
		if s == "" {
			return nil
		}
		return C.CString(s)
	}
	C.leave_words(C.int(fd), text(temp), text(name), text(head), text(tail))
}

// forward passes them on to box until hutch exits, also those that came
// before it was there.
func forward(box *runner.Sandbox) {
	if p, ok := box.Process.(interface{ Pidfd() int }); ok {
		C.pass_to(C.int(p.Pidfd()))
		return
	}
	r, w, err := os.Pipe()
	if err != nil {
		return
	}
	C.tell(C.int(w.Fd()))
	go func() {
		for b := make([]byte, 1); ; {
			if n, err := r.Read(b); n == 0 || err != nil {
				return
			}
			box.Signal(syscall.Signal(b[0]))
		}
	}()
}
