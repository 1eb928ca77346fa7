//go:build !cgo

package main

import (
	"os"
	"os/signal"
	"syscall"

	"hutch/runner"
)

var heard = make(chan os.Signal, 16)

// listen keeps the signals that an application may be sent by signalling
// hutch, from before the box is there.
func listen(bool) {
	signal.Notify(heard, passed(
		syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH,
	)...)
}

// leaveWords needs a handler that runs beside a start that hangs.
func leaveWords(fd int, temp, name, head, tail string) {}

// forward passes them on to box until hutch exits, also those that came
// before it was there.
func forward(box *runner.Sandbox) {
	go func() {
		for sig := range heard {
			box.Signal(sig)
		}
	}()
}
