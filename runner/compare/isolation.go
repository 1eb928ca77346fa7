package compare

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"hutch/runner/compare/work"
	"hutch/seccomp"
)

// Inside is what the application sees.
type Inside = work.Inside

// Isolation counts what lies between the application and the host. Nil is
// what could not be found out.
type Isolation struct {
	// SameKernel says that the application's kernel is the host's, by its boot
	// id: what is a bug of the kernel's to the one is to the other.
	SameKernel *bool `json:"same_kernel"`
	// SystemCalls is how many calls of the host's kernel the process can make
	// that would have to be taken over first: the application itself, or the
	// process that runs its guest. Counted from the filters in the kernel.
	SystemCalls *int `json:"host_system_calls"`
	// AllSystemCalls is how many there are.
	AllSystemCalls int `json:"all_system_calls"`
	// Boundary is the name of that process.
	Boundary string `json:"boundary"`
	// Namespaces is how many of its eight are not the host's.
	Namespaces *int `json:"namespaces"`
	// Capabilities is how many its bounding set holds, in its user namespace;
	// HostCapabilities how many of them hold in the host's.
	Capabilities     *int  `json:"capabilities"`
	HostCapabilities *int  `json:"host_capabilities"`
	NoNewPrivs       *bool `json:"no_new_privs"`
	// Landlock is what Landlock takes from that process.
	Landlock *Landlock `json:"landlock"`
	// HostRoot says that the process runs with the host's uid 0.
	HostRoot *bool `json:"host_root"`
}

var namespaceNames = [...]string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"}

// look counts what isolates the side whose session began as process pid.
func (c *Comparison) look(info *SideInfo, pid int) {
	i := &Isolation{AllSystemCalls: seccomp.Reachable(seccomp.Native())}
	info.Isolation = i
	if info.Inside != nil && info.Inside.BootID != "" {
		same := info.Inside.BootID == firstLine("/proc/sys/kernel/random/boot_id")
		i.SameKernel = &same
	}
	processes := tree(pid)
	for _, p := range processes {
		if argv := commandLine(p); len(argv) > 0 && !slices.ContainsFunc(info.Processes, func(o []string) bool { return slices.Equal(o, argv) }) {
			info.Processes = append(info.Processes, argv)
		}
	}
	if at := boundary(processes); at > 0 {
		i.Boundary = firstLine("/proc/" + strconv.Itoa(at) + "/comm")
		i.status(at)
		if n, ok := own(at); ok {
			i.Namespaces = &n
		}
		if filters, err := filtersOf(at); err == nil {
			n := seccomp.Reachable(seccomp.Native(), filters...)
			i.SystemCalls = &n
		}
	}
}

// boundary is the process whose taking over is the first step out: the one
// with the most memory among those that no other process is below, which is
// the application, or what runs its guest.
func boundary(processes []int) int {
	best, most := 0, -1.0
	for _, p := range processes {
		text := statusLine(p, "VmRSS")
		n, err := strconv.ParseFloat(strings.TrimSuffix(text, " kB"), 64)
		if err == nil && n > most && (len(tree(p)) == 1 || !leaf(processes)) {
			best, most = p, n
		}
	}
	// What is traced makes no system call of its own: User Mode Linux runs its
	// programs so, and its kernel is what would have to be taken over.
	if tracer, err := strconv.Atoi(statusLine(best, "TracerPid")); err == nil && slices.Contains(processes, tracer) {
		return tracer
	}
	return best
}

// leaf says whether any of processes has nothing below it.
func leaf(processes []int) bool {
	return slices.ContainsFunc(processes, func(p int) bool { return len(tree(p)) == 1 })
}

// status reads proc_pid_status(5) of the boundary.
func (i *Isolation) status(pid int) {
	if set, err := strconv.ParseUint(statusLine(pid, "CapBnd"), 16, 64); err == nil {
		n := ones(set)
		i.Capabilities = &n
		if link, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/user"); err == nil {
			host := 0
			if own, err := os.Readlink("/proc/self/ns/user"); err == nil && own == link {
				if effective, err := strconv.ParseUint(statusLine(pid, "CapEff"), 16, 64); err == nil {
					host = ones(effective)
				}
			}
			i.HostCapabilities = &host
		}
	}
	if v := statusLine(pid, "NoNewPrivs"); v != "" {
		set := v == "1"
		i.NoNewPrivs = &set
	}
	if f := strings.Fields(statusLine(pid, "Uid")); len(f) > 1 {
		root := f[1] == "0"
		i.HostRoot = &root
	}
}

func ones(set uint64) int {
	n := 0
	for ; set != 0; set &= set - 1 {
		n++
	}
	return n
}

// statusLine is a line of /proc/PID/status, without its key.
func statusLine(pid int, key string) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// own counts the namespaces of pid that are not ours.
func own(pid int) (n int, ok bool) {
	for _, ns := range namespaceNames {
		theirs, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/" + ns)
		ours, err2 := os.Readlink("/proc/self/ns/" + ns)
		if err != nil || err2 != nil {
			return 0, false
		}
		if theirs != ours {
			n++
		}
	}
	return n, true
}

func commandLine(pid int) []string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil || len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
}

// filtersOf reads the seccomp filters of a process from the kernel. The thread
// that traces must be the one that asks.
func filtersOf(pid int) ([]seccomp.Filter, error) {
	if mode := statusLine(pid, "Seccomp"); mode == "0" {
		return nil, nil
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return traceFilters(pid)
}
