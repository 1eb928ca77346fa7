package work

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// now is CLOCK_MONOTONIC in nanoseconds.
func now() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// sleep waits in the kernel, so that Go's scheduler, whose threads may all be
// spinning, need not wake us.
func sleep(d time.Duration) {
	ts := unix.NsecToTimespec(d.Nanoseconds())
	for unix.Nanosleep(&ts, &ts) == unix.EINTR {
	}
}

// A stat is the first line of /proc/stat, in ticks.
type stat struct{ all, steal int64 }

func readStat() stat {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return stat{}
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var s stat
	for i, f := range strings.Fields(line) {
		n, err := strconv.ParseInt(f, 10, 64)
		if i == 0 || i > 8 || err != nil { // guest time is in user time already
			continue
		}
		s.all += n
		if i == 8 {
			s.steal = n
		}
	}
	return s
}

// stolen is the part of the time between two readings that was stolen.
func (s stat) stolen(after stat) *float64 {
	all := after.all - s.all
	if all <= 0 {
		return nil
	}
	part := float64(after.steal-s.steal) / float64(all)
	return &part
}

// Processors is how many this process may run on, sched_getaffinity(2). The
// runtime's own number is from before hutch took processors away from it.
func Processors() int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return 1
	}
	return set.Count()
}
