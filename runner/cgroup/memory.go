package cgroup

import (
	"golang.org/x/sys/unix"
)

// v2: memory.max, memory.swap.max, memory.oom.group, memory.peak (5.19),
// memory.events, memory.events.local (5.2).
// v1: memory.limit_in_bytes, memory.memsw.limit_in_bytes (memory and swap
// together), memory.max_usage_in_bytes, memory.failcnt, memory.oom_control.

func memoryWanted(l *Limits) bool { return l.Memory > 0 || l.Swap > 0 }

const (
	noSwapAccounting = "the kernel does not account swap"
	bootSwap         = "boot with swapaccount=1, or leave the limit of swap out"
)

func memoryV2(l *Limits) ([]setting, error) {
	// One process of a box that is killed for memory leaves a wreck: the group
	// dies as a whole.
	s := []setting{{file: "memory.oom.group", value: "1", optional: true}}
	if l.Memory > 0 {
		s = append(s, setting{file: "memory.max", value: itoa(l.Memory)})
	}
	if l.limitsSwap() {
		s = append(s, setting{
			file: "memory.swap.max", value: itoa(l.Swap),
			lacks: noSwapAccounting, remedy: bootSwap, optional: l.Swap == 0 && !hostSwaps(), preferred: l.preferredSwap(),
		})
	}
	return s, nil
}

func memoryV1(l *Limits) ([]setting, error) {
	if l.Memory == 0 {
		return nil, &Error{
			Controller: "memory", Op: "limit swap",
			Reason: "cgroup v1 counts swap only together with memory", Remedy: "give a memory limit too",
		}
	}
	// The order matters: memsw may not be below the memory limit.
	s := []setting{{file: "memory.limit_in_bytes", value: itoa(l.Memory)}}
	if l.limitsSwap() {
		s = append(s, setting{
			file: "memory.memsw.limit_in_bytes", value: itoa(l.Memory + l.Swap),
			lacks: noSwapAccounting, remedy: bootSwap, optional: l.Swap == 0 && !hostSwaps(), preferred: l.preferredSwap(),
		})
	}
	// A group inherits a switched-off OOM killer from the one above; a box at
	// its limit would then sleep for ever instead of ending.
	return append(s, setting{file: "memory.oom_control", value: "0", optional: true}), nil
}

func (l *Limits) preferredSwap() string {
	if l.SwapPreferred {
		return "swap"
	}
	return ""
}

// hostSwaps reports whether this machine has swap in use: where it has none,
// a kernel that cannot limit swap lets nobody exceed a limit of 0.
func hostSwaps() bool {
	var info unix.Sysinfo_t
	return unix.Sysinfo(&info) != nil || info.Totalswap > 0
}

func memoryUsage(d *dir, u *Usage) {
	if d.v2 {
		u.MemoryPeak = number(d.fd, "memory.peak")
		if text, err := readAt(d.fd, "memory.events"); err == nil {
			if n, ok := keyed(text, "oom_kill"); ok {
				u.OOMKills = &n
			}
		}
		return
	}
	u.MemoryPeak = number(d.fd, "memory.max_usage_in_bytes")
	if text, err := readAt(d.fd, "memory.oom_control"); err == nil {
		if n, ok := keyed(text, "oom_kill"); ok { // since 4.13
			u.OOMKills = &n
		}
	}
}
