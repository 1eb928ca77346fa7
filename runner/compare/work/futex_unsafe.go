package work

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const (
	futexWait = 0
	futexWake = 1
)

func futex(word *uint32, op int, value uint32) {
	syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), uintptr(op), uintptr(value), 0, 0, 0)
}

// futexRoundTrip hands a turn to another thread and waits for it to come back.
func futexRoundTrip(o *Options) (float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var turn uint32
	give := func(to uint32) {
		atomic.StoreUint32(&turn, to)
		futex(&turn, futexWake, 1)
	}
	await := func(mine uint32) uint32 {
		for {
			v := atomic.LoadUint32(&turn)
			if v == mine || v == 2 {
				return v
			}
			futex(&turn, futexWait, v)
		}
	}
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		for await(1) == 1 {
			give(0)
		}
		close(done)
	}()
	us, err := micro(o, 10, func() error {
		for range 10 {
			give(1)
			await(0)
		}
		return nil
	})
	give(2)
	<-done
	return us, err
}
