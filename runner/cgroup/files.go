package cgroup

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The core files; those of a controller stand at the head of its own file.
const (
	procsFile       = "cgroup.procs"
	tasksFile       = "tasks"                  // v1
	controllersFile = "cgroup.controllers"     // v2
	subtreeFile     = "cgroup.subtree_control" // v2
	killFile        = "cgroup.kill"            // v2, since Linux 5.14
	eventsFile      = "cgroup.events"          // v2
)

// writeAt writes a control file in one call: the kernel parses each write by
// itself. Raw descriptors, because an os.File would register with the poller
// (two more calls) and these files never block.
func writeAt(dirfd int, name, value string) error {
	fd, err := unix.Openat(dirfd, name, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(value))
	return err
}

// readAt reads a control file; those read here are at most a few KiB long,
// except the process list of a large group, so it reads on to the end.
func readAt(dirfd int, name string) (string, error) {
	fd, err := unix.Openat(dirfd, name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var out []byte
	var buf [4096]byte
	for {
		n, err := unix.Read(fd, buf[:])
		if err != nil {
			return "", err
		}
		if n == 0 {
			return strings.TrimSuffix(string(out), "\n"), nil
		}
		out = append(out, buf[:n]...)
	}
}

func readFile(path string) (string, error) { return readAt(unix.AT_FDCWD, path) }

// number reads a control file that holds one number; nil where it is absent
// or holds something else ("max").
func number(dirfd int, name string) *int64 {
	text, err := readAt(dirfd, name)
	if err != nil {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

// keyed finds "key value" in a flat keyed file's text (memory.events,
// cpu.stat, memory.oom_control).
func keyed(text, key string) (int64, bool) {
	for line := range strings.SplitSeq(text, "\n") {
		if k, v, ok := strings.Cut(line, " "); ok && k == key {
			n, err := strconv.ParseInt(v, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

func writable(path string) bool {
	return unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS) == nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
