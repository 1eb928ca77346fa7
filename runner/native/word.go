package native

import (
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// awaitFirst waits until the first process has executed something or ended.
func (b *box) awaitFirst() {
	running := b.enc.running
	for {
		v := atomic.LoadInt32(running)
		if v == 0 {
			break
		}
		futexWait(running, v, nil)
	}
	// The kernel wakes one, and the application waits for the same.
	futexWake(running)
}

// awaitApplication waits until the application's process has executed or
// ended. The kernel says so, unless the first process was killed on its way
// to making it; that is looked at now and then.
func (b *box) awaitApplication() {
	timeout := syscall.NsecToTimespec(int64(50 * time.Millisecond))
	for atomic.LoadInt32(&b.enc.shared.application) != 0 {
		futexWait(&b.enc.shared.application, 1, &timeout)
		poll := []unix.PollFd{{Fd: b.pidfd, Events: unix.POLLIN}}
		if n, _ := unix.Poll(poll, 0); n > 0 {
			return
		}
	}
}
