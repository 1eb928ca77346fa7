package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// afterwards is for what hutch has still to do when the box is gone and nobody
// is left to pass a signal to: the signals that end a program end the context.
// They go on reaching the handler of listen, for package os/signal could lose
// one that comes while it takes over. It is called once.
func afterwards() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	interrupted := errors.New("interrupted; nothing of it is left")
	r, w, err := os.Pipe()
	if err != nil {
		return ctx, func() { cancel(nil) } // as without it
	}
	// Never closed: the handler may be about to write.
	told, err := unix.FcntlInt(w.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	w.Close()
	if err != nil {
		r.Close()
		return ctx, func() { cancel(nil) }
	}
	atomic.StoreInt32(&toBox.told, int32(told))
	atomic.StoreInt32(&toBox.pidfd, -1) // whose number is free for others by now
	ends := []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP}
	if slices.Contains(ends, syscall.Signal(atomic.LoadInt32(&toBox.late))) {
		cancel(interrupted)
	}
	go func() {
		for b := make([]byte, 1); ; {
			if n, err := r.Read(b); n == 0 || err != nil {
				return
			}
			if slices.Contains(ends, syscall.Signal(b[0])) {
				cancel(interrupted)
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// interruptedOr is err, or that ctx has ended, which is then why.
func interruptedOr(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// A ctxFile is a file that cannot be read from once ctx has ended.
type ctxFile struct {
	ctx context.Context
	*os.File
}

func (f ctxFile) Read(b []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	return f.File.Read(b)
}
