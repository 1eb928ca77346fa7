package work

import (
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// sink keeps what is computed from being left out.
var sink atomic.Uint64

// batch is how many steps are made between two looks at the clock: some
// milliseconds, of which a system call to a slow kernel is a small part.
const batch = 4_000_000

func integer(o *Options) (float64, error) {
	x := uint64(88172645463325252)
	ns, err := perStep(o, batch, func() error {
		for range batch {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
		return nil
	})
	sink.Store(x)
	return ns, err
}

func float(o *Options) (float64, error) {
	x := 0.3
	ns, err := perStep(o, batch, func() error {
		for range batch {
			x = 3.99 * x * (1 - x)
		}
		return nil
	})
	sink.Store(uint64(x * 1e9))
	return ns, err
}

func copyMemory(o *Options) (float64, error) {
	const size = 32 << 20
	mem, err := unix.Mmap(-1, 0, 2*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return 0, err
	}
	defer unix.Munmap(mem)
	ns, err := perStep(o, size, func() error {
		copy(mem[size:], mem[:size])
		return nil
	})
	return 1 / ns, err
}

func pageFault(o *Options) (float64, error) {
	const pages, page = 1024, 4096
	var spent time.Duration
	var touched int
	for began := time.Now(); time.Since(began) < o.For || touched == 0; {
		mem, err := unix.Mmap(-1, 0, pages*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return 0, err
		}
		// One page at a time, also where huge ones are given.
		if err := unix.Madvise(mem, unix.MADV_NOHUGEPAGE); err != nil && !errors.Is(err, unix.EINVAL) {
			return 0, err
		}
		start := time.Now()
		for i := 0; i < len(mem); i += page {
			mem[i] = 1
		}
		spent += time.Since(start)
		touched += pages
		if err := unix.Munmap(mem); err != nil {
			return 0, err
		}
	}
	return float64(spent.Nanoseconds()) / float64(touched), nil
}

func mapUnmap(o *Options) (float64, error) {
	return perStep(o, 10, func() error {
		for range 10 {
			mem, err := unix.Mmap(-1, 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				return err
			}
			if err := unix.Munmap(mem); err != nil {
				return err
			}
		}
		return nil
	})
}
