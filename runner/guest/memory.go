package guest

import "golang.org/x/sys/unix"

// Memory is what a guest is given, in bytes and whole mebibytes, where n is
// wanted: no more than the host has, since a guest notes something about each
// page of its memory, used or not. The limit of the run is held inside.
func Memory(n int64) int64 {
	n = (n + 1<<20 - 1) &^ (1<<20 - 1)
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) == nil {
		n = min(n, int64(s.Totalram)*int64(s.Unit)&^(1<<20-1))
	}
	return n
}
