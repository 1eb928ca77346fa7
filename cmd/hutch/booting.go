package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// A booting guest runs nothing of the application's that could have a word about
// a signal: the first one that ends programs ends the start. What else comes
// waits for the application.
type booting struct {
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	box     *runner.Sandbox // the application runs
	ended   syscall.Signal  // or this came before it did
	waiting []syscall.Signal
}

// boot has the handler of listen tell a booting, whose context a signal ends.
func boot() (context.Context, *booting) {
	b := &booting{}
	ctx, cancel := context.WithCancelCause(context.Background())
	b.cancel = cancel
	r, w, err := os.Pipe()
	if err != nil {
		return ctx, b // forward tries again
	}
	// Never closed: the handler may be about to write.
	told, err := unix.FcntlInt(w.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	w.Close()
	if err != nil {
		r.Close()
		return ctx, b
	}
	atomic.StoreInt32(&toBox.told, int32(told))
	sendPending()
	go func() {
		for n := make([]byte, 1); ; {
			if got, err := r.Read(n); got == 0 || err != nil {
				return
			}
			b.take(syscall.Signal(n[0]))
		}
	}()
	return ctx, b
}

// endSignals are those that people end programs with.
var endSignals = [...]syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP}

func (b *booting) take(sig syscall.Signal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.box != nil:
		_ = b.box.Signal(sig)
	case !slices.Contains(endSignals[:], sig):
		if sig != unix.SIGWINCH {
			b.waiting = append(b.waiting, sig)
		}
	case b.ended != 0: // even the end of the start hangs; the guest dies with hutch
		sayLastWords(int32(sig))
		dieOf(int32(sig))
	default:
		b.ended = sig
		b.cancel(errors.New("interrupted before the application started"))
	}
}

// interrupted is the signal that has ended the start, or 0.
func (b *booting) interrupted() syscall.Signal {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
}

// started has what comes from here on, and what has waited, passed on; unless
// the start was to end, which is then the caller's to do.
func (b *booting) started(box *runner.Sandbox) syscall.Signal {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended != 0 {
		return b.ended
	}
	b.box = box
	for _, sig := range b.waiting {
		_ = box.Signal(sig)
	}
	return 0
}
