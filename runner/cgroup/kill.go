package cgroup

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// killPatience bounds Kill: SIGKILL cannot be refused, but a process in an
// uninterruptible call dies only when that returns.
const killPatience = 5 * time.Second

// Kill ends every process of the group, and of groups below, with SIGKILL,
// and waits until the group is empty. It is safe against fork bombs on v2
// (cgroup.kill), and on v1 where the group has the pids or the freezer
// controller.
func (g *Group) Kill() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	return killAll(g.dirs)
}

func killAll(dirs []dir) error {
	frozen := stopForks(dirs)
	defer thaw(frozen)
	deadline := time.Now().Add(killPatience)
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		left := 0
		for i := range dirs {
			left += killOnce(&dirs[i])
		}
		if left == 0 {
			return nil
		}
		// A frozen process has the signal pending and dies when it is thawed.
		thaw(frozen)
		if time.Now().After(deadline) {
			return &Error{
				Op: "kill the processes in " + dirs[0].path, Err: os.ErrDeadlineExceeded,
				Reason: strconv.Itoa(left) + " are stuck in the kernel", Remedy: "see /proc/PID/stack of the pids in " + dirs[0].path + "/" + procsFile,
			}
		}
		time.Sleep(pause)
	}
}

// stopForks makes sure that what is listed next is all there is, as far as
// the v1 controllers at hand allow. It returns the frozen directories.
func stopForks(dirs []dir) (frozen []*dir) {
	for i := range dirs {
		d := &dirs[i]
		switch {
		case d.v2:
		case d.ctl.has(freezer):
			if writeAt(d.fd, "freezer.state", "FROZEN") == nil {
				frozen = append(frozen, d)
			}
		case d.ctl.has(pids):
			_ = writeAt(d.fd, "pids.max", "0")
		}
	}
	return frozen
}

func thaw(frozen []*dir) {
	for _, d := range frozen {
		_ = writeAt(d.fd, "freezer.state", "THAWED")
	}
}

// killOnce signals what is in d and below, and returns how many it saw.
func killOnce(d *dir) int {
	if d.v2 {
		if writeAt(d.fd, killFile, "1") == nil {
			return populated(d)
		}
	}
	seen := killListed(d)
	for _, name := range subgroups(d.path) {
		path := d.path + "/" + name
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		seen += killOnce(&dir{path: path, fd: fd, v2: d.v2})
		unix.Close(fd)
	}
	return seen
}

func populated(d *dir) int {
	text, err := readAt(d.fd, eventsFile)
	if n, ok := keyed(text, "populated"); err != nil || !ok || n == 0 {
		return 0
	}
	return 1
}

// killListed signals the processes of one v1 group. A pid may be given to a
// stranger between reading the list and the signal: so a handle is taken
// first, then the list is read again, and only a pid that is still in it is
// signalled, through the handle.
func killListed(d *dir) int {
	before := processes(d)
	if len(before) == 0 {
		return 0
	}
	handles := make([]int, len(before))
	for i, pid := range before {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			fd = -1
		}
		handles[i] = fd
	}
	still := make(map[int]bool, len(before))
	for _, pid := range processes(d) {
		still[pid] = true
	}
	for i, pid := range before {
		switch {
		case handles[i] < 0:
			continue
		case still[pid] && pid != os.Getpid():
			_ = unix.PidfdSendSignal(handles[i], unix.SIGKILL, nil, 0)
		}
		unix.Close(handles[i])
	}
	return len(before)
}

// processes lists the pids of one group. Processes of PID namespaces that
// cannot be seen from here are listed as 0, and left out.
func processes(d *dir) []int {
	text, err := readAt(d.fd, procsFile)
	if err != nil {
		return nil
	}
	var list []int
	for line := range strings.FieldsSeq(text) {
		if pid, err := strconv.Atoi(line); err == nil && pid > 0 {
			list = append(list, pid)
		}
	}
	return list
}

// subgroups lists the groups directly below one.
func subgroups(path string) []string {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// removePatience bounds removeTree: whoever was killed has to get a processor
// once more before it is gone, which takes its time on a busy machine.
const removePatience = 2 * time.Second

// removeTree removes a group and those below it, deepest first. A group that
// is gone already is fine.
func removeTree(path string) error {
	deadline := time.Now().Add(removePatience)
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		err := unix.Rmdir(path)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) || time.Now().After(deadline) {
			return &Error{
				Op: "remove " + path, Err: err, Reason: busyReason(err),
				Remedy: "end what cgroup.procs in it lists; hutch gc removes it later",
			}
		}
		for _, name := range subgroups(path) {
			_ = unix.Rmdir(path + "/" + name)
			if exists(path + "/" + name) {
				_ = removeTree(path + "/" + name)
			}
		}
		time.Sleep(pause)
	}
}

func busyReason(err error) string {
	if errors.Is(err, unix.EBUSY) {
		return "processes are still in it"
	}
	return ""
}
