package runner

import (
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The real-time signals that programs may use: the C library keeps the first
// two for itself, signal(7).
const (
	firstRealTime = 34
	lastRealTime  = 64
)

// ParseSignal reads "SIGTERM", "TERM", "15", "SIGRTMIN+3" or "RTMAX-1".
func ParseSignal(s string) (syscall.Signal, bool) {
	if n, err := strconv.Atoi(s); err == nil {
		return syscall.Signal(n), n > 0 && n <= lastRealTime
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n := unix.SignalNum(name); n != 0 {
		return n, true
	}
	base, offset := firstRealTime, ""
	if rest, ok := strings.CutPrefix(name, "SIGRTMIN"); ok {
		offset = rest
	} else if rest, ok := strings.CutPrefix(name, "SIGRTMAX"); ok {
		base, offset = lastRealTime, rest
	} else {
		return 0, false
	}
	n, err := strconv.Atoi("0" + strings.TrimLeft(offset, "+-"))
	if strings.HasPrefix(offset, "-") {
		n = -n
	}
	n += base
	return syscall.Signal(n), err == nil && n >= firstRealTime && n <= lastRealTime
}
