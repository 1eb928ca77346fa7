//go:build cgo

package main

/*
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

// Package os/signal hands each signal that it is asked for to a thread of its
// own and back: for seven of them a tenth of a whole start. All that is to be
// done is to send the signal on, which a handler may do (signal-safety(7)).

// The box's first process, or -1 before it is there.
static volatile sig_atomic_t box = -1;
// Where the number of a signal is written for a box that is no process here.
static volatile sig_atomic_t told = -1;
static volatile sig_atomic_t pending;

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
func listen() {
	list := [...]C.int{
		C.int(syscall.SIGINT), C.int(syscall.SIGTERM), C.int(syscall.SIGQUIT), C.int(syscall.SIGHUP),
		C.int(syscall.SIGUSR1), C.int(syscall.SIGUSR2), C.int(syscall.SIGWINCH),
	}
	C.listen_to(&list[0], C.int(len(list)))
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
