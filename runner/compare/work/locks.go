package work

import (
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// lockKinds contend for one lock on more threads than there are processors.
// Whoever is stopped while it holds the lock stops the others: that is what
// they measure, by what the others do meanwhile.
func lockKinds() []Kind {
	return []Kind{
		{Name: "lock-spin", Unit: "ns", run: func(o *Options) (float64, error) { return contend(o, nil) }},
		{Name: "lock-yield", Unit: "ns", run: func(o *Options) (float64, error) { return contend(o, yield) }},
		{Name: "lock-futex", Unit: "ns", run: contendFutex},
	}
}

// LockKinds are the workloads of Overcommit.
func LockKinds() []Kind { return lockKinds() }

func yield() { unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// section is what is done with the lock held: some hundred nanoseconds.
func section(x *uint64) {
	for range 200 {
		*x = *x*6364136223846793005 + 1442695040888963407
	}
}

// contend measures a critical section under a spin lock, wait being what is
// done between two tries.
func contend(o *Options, wait func()) (float64, error) {
	var lock uint32
	return contended(o, func() {
		for i := 0; !atomic.CompareAndSwapUint32(&lock, 0, 1); i++ {
			if wait != nil && i%100 == 99 {
				wait()
			}
		}
	}, func() { atomic.StoreUint32(&lock, 0) })
}

func contendFutex(o *Options) (float64, error) {
	var lock uint32 // 0 free, 1 held, 2 held and waited for
	return contended(o, func() {
		if atomic.CompareAndSwapUint32(&lock, 0, 1) {
			return
		}
		for atomic.SwapUint32(&lock, 2) != 0 {
			futex(&lock, futexWait, 2)
		}
	}, func() {
		if atomic.SwapUint32(&lock, 0) == 2 {
			futex(&lock, futexWake, 1)
		}
	})
}

// contended runs o.Threads threads, and returns the nanoseconds of the wall
// for each section that any of them did.
func contended(o *Options, lock, unlock func()) (float64, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(o.Threads + 1))
	var stop atomic.Bool
	var sections atomic.Int64
	done := make(chan struct{})
	var shared uint64
	for range o.Threads {
		go func() {
			runtime.LockOSThread()
			defer func() { done <- struct{}{} }()
			for !stop.Load() {
				lock()
				section(&shared)
				unlock()
				sections.Add(1)
			}
		}()
	}
	began := now()
	sleep(o.For)
	n, spent := sections.Load(), now()-began
	stop.Store(true)
	for range o.Threads {
		<-done
	}
	sink.Store(shared)
	if n == 0 {
		n = 1 // not even one: at least as long as we waited
	}
	return float64(spent) / float64(n), nil
}
