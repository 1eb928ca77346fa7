package main

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

// slimAfter is long enough that a short run never pays for slim.
const slimAfter = 100 * time.Millisecond

// slimLater gives memory back when a run turns out to be a long one: what a
// start has touched of the binary is most of what hutch holds while it waits.
func slimLater() { time.AfterFunc(slimAfter, slim) }

// slim drops the binary's clean pages from this process, madvise(2)
// MADV_DONTNEED. The kernel brings back what is used again.
func slim() {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	for line := range bytes.Lines(maps) {
		f := bytes.Fields(line)
		// start-end perms offset device inode path; what may be written may
		// have been, and would be lost.
		if len(f) < 6 || string(f[5]) != exe || len(f[1]) < 2 || f[1][1] == 'w' {
			continue
		}
		from, to, _ := bytes.Cut(f[0], []byte("-"))
		start, err1 := strconv.ParseUint(string(from), 16, 64)
		end, err2 := strconv.ParseUint(string(to), 16, 64)
		if err1 == nil && err2 == nil && start < end {
			drop(uintptr(start), uintptr(end-start))
		}
	}
}

// drop is madvise on an address that is no Go pointer.
func drop(start, size uintptr) {
	syscall.Syscall(syscall.SYS_MADVISE, start, size, syscall.MADV_DONTNEED)
}
