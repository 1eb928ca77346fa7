package runner

import (
	"math"
	"sync"
	"sync/atomic"
	"testing"
)

// However many write at once, exactly the limit passes, and that more was
// written is known if and only if it was.
func TestOutputCap(t *testing.T) {
	for _, tt := range []struct {
		limit   int64
		writers int
		each    int // writes
		size    int
	}{
		{1, 1, 1, 1},
		{1, 1, 1, 2},
		{1, 8, 100, 1},
		{100, 1, 10, 10},
		{100, 1, 10, 11},
		{12345, 8, 1000, 7},
		{1 << 40, 8, 100, 65536},
		{math.MaxInt64, 2, 100, 65536},
		{5, 1, 3, 0},
	} {
		c := NewOutputCap(tt.limit)
		var passed atomic.Int64
		var wait sync.WaitGroup
		for range tt.writers {
			wait.Go(func() {
				for range tt.each {
					passed.Add(int64(c.Take(tt.size)))
				}
			})
		}
		wait.Wait()
		all := int64(tt.writers) * int64(tt.each) * int64(tt.size)
		if got := passed.Load(); got != min(all, tt.limit) {
			t.Errorf("%+v: %d bytes passed of %d", tt, got, all)
		}
		if c.Exceeded() != (all > tt.limit) {
			t.Errorf("%+v: exceeded is %v", tt, c.Exceeded())
		}
	}
}

// A run that a limit ended never passes for a good one.
func TestExitStatusAtALimit(t *testing.T) {
	for _, c := range []Cause{OutputLimit, CPUTime, Timeout} {
		var r Result
		r.SetExit(0)
		if r.Cause = c; r.ExitStatus() == 0 {
			t.Errorf("%s exits with 0", c)
		}
	}
}
