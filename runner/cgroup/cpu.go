package cgroup

import (
	"math"
	"time"
)

// v2: cpu.max, cpu.weight, cpu.stat.
// v1: cpu.cfs_quota_us (the period stays at its default of 100 ms), cpu.shares;
// the time used is in the cpuacct controller.

// cpuPeriod is the kernel's default period, in microseconds. A longer one
// lets a box stall for longer, a shorter one costs more timer work; the least
// quota, 1 ms, is 0.01 processors of it.
const cpuPeriod = 100_000

func cpuWanted(l *Limits) bool { return l.CPUs > 0 || l.CPUWeight > 0 }

func (l *Limits) cpuQuota() string { return itoa(int64(math.Round(l.CPUs * cpuPeriod))) }

const (
	noBandwidth     = "the kernel has no CPU quota (CONFIG_CFS_BANDWIDTH)"
	useWeight       = "use a kernel that has it, or ask for a weight only"
	cpuAboveHasLess = "the group above has less"
)

func cpuV2(l *Limits) ([]setting, error) {
	var s []setting
	if l.CPUs > 0 {
		s = append(s, setting{
			file: "cpu.max", value: l.cpuQuota() + " " + itoa(cpuPeriod),
			lacks: noBandwidth, remedy: useWeight, invalid: cpuAboveHasLess,
		})
	}
	if l.CPUWeight > 0 {
		s = append(s, setting{file: "cpu.weight", value: itoa(l.CPUWeight)})
	}
	return s, nil
}

func cpuV1(l *Limits) ([]setting, error) {
	var s []setting
	if l.CPUs > 0 {
		s = append(s, setting{
			file: "cpu.cfs_quota_us", value: l.cpuQuota(),
			lacks: noBandwidth, remedy: useWeight, invalid: cpuAboveHasLess,
		})
	}
	if l.CPUWeight > 0 {
		s = append(s, setting{file: "cpu.shares", value: itoa(sharesOf(l.CPUWeight))})
	}
	return s, nil
}

// sharesOf turns a v2 weight (1 to 10000, default 100) into v1 shares
// (2 to 262144, default 1024) so that the proportions stay.
func sharesOf(weight int64) int64 { return max(2, weight*1024/100) }

// cpuUsage reads v2's cpu.stat, which every group has, in microseconds.
func cpuUsage(d *dir, u *Usage) {
	if !d.v2 {
		return
	}
	text, err := readAt(d.fd, "cpu.stat")
	if err != nil {
		return
	}
	u.User = seconds(text, "user_usec")
	u.System = seconds(text, "system_usec")
}

func seconds(text, key string) *float64 {
	n, ok := keyed(text, key)
	if !ok {
		return nil
	}
	s := float64(n) / 1e6
	return &s
}

// cpuacctUsage reads v1's counters, in nanoseconds. Only their sum is counted:
// user and system time are sampled at each tick, and tell no more than how to
// part it. Without a sample all was the user's, as the kernel has it for a
// process (cputime_adjust).
func cpuacctUsage(d *dir, u *Usage) {
	if d.v2 {
		return
	}
	all, user, system := number(d.fd, "cpuacct.usage"), number(d.fd, "cpuacct.usage_user"), number(d.fd, "cpuacct.usage_sys")
	if all == nil || user == nil || system == nil {
		return
	}
	sum := float64(*all) / 1e9
	part := 0.0
	if ticks := *user + *system; ticks > 0 {
		part = sum * float64(*system) / float64(ticks)
	}
	rest := max(0, sum-part) // a part that is all may be rounded up
	u.User, u.System = &rest, &part
}

// CPUTime is the processor time of all that ever ran in the group, also of what
// nobody waited for. known is false where nothing counts it, Options.CPUTime,
// and when the group is removed.
func (g *Group) CPUTime() (used time.Duration, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return 0, false
	}
	for i := range g.dirs {
		d := &g.dirs[i]
		if !d.v2 && d.ctl.has(cpuacct) {
			if n := number(d.fd, "cpuacct.usage"); n != nil {
				return time.Duration(*n), true
			}
		}
		if d.v2 {
			if text, err := readAt(d.fd, "cpu.stat"); err == nil {
				n, ok := keyed(text, "usage_usec")
				return time.Duration(n) * time.Microsecond, ok
			}
		}
	}
	return 0, false
}
