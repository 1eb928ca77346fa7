package cgroup

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// namePrefix begins the name of every group of ours.
const namePrefix = "hutch-"

var nameCounter atomic.Uint64

// A nameParts says whose a group is: hutch-PIDNS-PID-STARTTIME-N. The start
// time tells a pid from the same pid used again; the number of the PID
// namespace keeps Sweep from judging pids that mean something else there.
type nameParts struct {
	pidns uint64
	pid   int
	start uint64 // clock ticks since boot
	n     uint64
}

func (p nameParts) String() string {
	return fmt.Sprintf("%s%d-%d-%d-%d", namePrefix, p.pidns, p.pid, p.start, p.n)
}

// ownName is a name that this process has not used yet.
func ownName() (string, error) {
	pid := os.Getpid()
	start, err := startTime(pid)
	if err != nil {
		return "", &Error{Op: "name the group", Err: err, Remedy: "mount proc on /proc"}
	}
	return nameParts{pidns: pidNamespace(), pid: pid, start: start, n: nameCounter.Add(1)}.String(), nil
}

// parseName undoes String; the suffix of a systemd scope is allowed.
func parseName(name string) (nameParts, bool) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(name, ".scope"), namePrefix)
	f := strings.Split(rest, "-")
	if !ok || len(f) != 4 {
		return nameParts{}, false
	}
	var n [4]uint64
	for i := range f {
		var err error
		if n[i], err = strconv.ParseUint(f[i], 10, 64); err != nil {
			return nameParts{}, false
		}
	}
	if n[1] == 0 || n[1] > 1<<22 { // PID_MAX_LIMIT
		return nameParts{}, false
	}
	return nameParts{n[0], int(n[1]), n[2], n[3]}, true
}

// pidNamespace is the inode of this process's PID namespace, 0 if unknown.
func pidNamespace() uint64 {
	link, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(link, "pid:["), "]"), 10, 64)
	return n
}

// startTime is field 22 of /proc/PID/stat.
func startTime(pid int) (uint64, error) {
	text, err := readFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	return parseStartTime(text)
}

// parseStartTime skips the command name, which may hold anything, by its last
// closing parenthesis.
func parseStartTime(stat string) (uint64, error) {
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const field = 22 - 3 // the state, field 3, comes right after the name
	if len(f) <= field {
		return 0, fmt.Errorf("process status %q is cut short: check that /proc is procfs", stat)
	}
	return strconv.ParseUint(f[field], 10, 64)
}

// ownerLives reports whether the process that made the group still runs.
// Zombies count as dead: nobody is left to clean up.
func (p nameParts) ownerLives() bool {
	text, err := readFile("/proc/" + strconv.Itoa(p.pid) + "/stat")
	if err != nil {
		return false
	}
	start, err := parseStartTime(text)
	if err != nil || start != p.start {
		return err != nil
	}
	state := strings.TrimSpace(text[strings.LastIndexByte(text, ')')+1:])
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}
