package cgroup

import (
	"strconv"
	"strings"
)

// Stalled says for how long, in seconds, some process of the group could have
// run and waited: for a processor, for memory to be made free, for a disk
// (pressure stall information, Documentation/accounting/psi.rst). v2 alone
// counts that for a group, from Linux 5.2 on; nil: unknown.
type Stalled struct{ CPU, Memory, IO *float64 }

func stalledUsage(d *dir, u *Usage) {
	for _, f := range [...]struct {
		file string
		to   **float64
	}{{"cpu.pressure", &u.Stalled.CPU}, {"memory.pressure", &u.Stalled.Memory}, {"io.pressure", &u.Stalled.IO}} {
		// Also where the kernel has them and was booted without (psi=0): EOPNOTSUPP.
		if text, err := readAt(d.fd, f.file); err == nil {
			*f.to = stalled(text)
		}
	}
}

// stalled reads the line "some avg10=0.00 avg60=0.00 avg300=0.00 total=123", in
// microseconds.
func stalled(text string) *float64 {
	for line := range strings.SplitSeq(text, "\n") {
		rest, some := strings.CutPrefix(line, "some ")
		_, total, found := strings.Cut(rest, "total=")
		if !some || !found {
			continue
		}
		if n, err := strconv.ParseUint(total, 10, 63); err == nil {
			s := float64(n) / 1e6
			return &s
		}
	}
	return nil
}
