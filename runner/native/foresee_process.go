package native

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// executeRefusal is about what Landlock lets nobody execute.
func (w *watcher) executeRefusal(p *process, name string, a [6]uint64) *refusal {
	given, nofollow := "", false
	switch name {
	case "execve":
		given = p.path(unix.AT_FDCWD, a[0])
	case "execveat":
		if a[4]&^unix.AT_SYMLINK_NOFOLLOW != 0 {
			return nil
		}
		given, nofollow = p.path(int32(a[0]), a[1]), a[4] != 0
	default:
		return nil
	}
	f, err := p.find(given, nofollow)
	if err == unix.ENOENT {
		return w.hiddenRefusal(p, given)
	}
	if err != nil {
		return nil
	}
	defer f.close()
	switch {
	case !f.is(unix.S_IFREG) || f.stat.Mode&0o111 == 0 || !p.may(f, 1):
		return nil
	case f.flags&unix.ST_NOEXEC != 0 && p.reaches(f):
		return &refusal{what: refusedPath, name: f.name, errno: unix.EACCES, hint: "none: nothing on that mount is executed; copy it to /tmp"}
	}
	return w.landlocked(p, f, f.name, unix.LANDLOCK_ACCESS_FS_EXECUTE)
}

// processRefusal is about other processes, and the caller's own priority.
func (w *watcher) processRefusal(p *process, name string, a [6]uint64) *refusal {
	if p.nested {
		return nil
	}
	switch name {
	case "kill":
		return w.signalRefusal(p, a[0], a[1])
	case "tgkill":
		if a[0] == a[1] {
			return w.signalRefusal(p, a[0], a[2])
		}
	case "ptrace":
		const attach, seize = 16, 0x4206
		if a[0] == attach || a[0] == seize {
			return w.traceRefusal(p, a)
		}
	case "setpriority":
		return niceRefusal(p, a)
	}
	return nil
}

// A neighbour is a process of the box, as another one names it.
type neighbour struct {
	number    uint32
	uids      [4]uint32
	gids      [4]uint32
	permitted uint64
	nice      int64
}

// neighbour looks a process up in the box's own /proc, nil where there is none.
func (p *process) neighbour(number uint32) *neighbour {
	base := "proc/" + strconv.FormatUint(uint64(number), 10)
	text, stat := p.procFile(base+"/status"), p.procFile(base+"/stat")
	if text == "" || stat == "" {
		return nil
	}
	n := &neighbour{number: number}
	for l := range strings.Lines(text) {
		key, value, _ := strings.Cut(l, ":")
		words := strings.Fields(value)
		switch key {
		case "State":
			if len(words) > 0 && (words[0] == "Z" || words[0] == "X") {
				return nil
			}
		case "Tgid":
			if len(words) == 0 || numbers(words)[0] != number {
				return nil // a thread
			}
		case "Uid":
			copy(n.uids[:], numbers(words))
		case "Gid":
			copy(n.gids[:], numbers(words))
		case "CapPrm":
			n.permitted, _ = strconv.ParseUint(strings.Join(words, ""), 16, 64)
		}
	}
	if words := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]); len(words) > 16 {
		n.nice, _ = strconv.ParseInt(words[16], 10, 64)
	}
	return n
}

// procFile reads a file of the box's /proc, "" where it is not one of proc's.
func (p *process) procFile(name string) string {
	// What is there could be a pipe or a device of somebody's making: it is not
	// opened before it is known.
	there, err := unix.Openat2(p.root, name, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return ""
	}
	defer unix.Close(there)
	var fs unix.Statfs_t
	if unix.Fstatfs(there, &fs) != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		return ""
	}
	fd, err := unix.Open("/proc/self/fd/"+strconv.Itoa(there), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var buf [4096]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// signalRefusal is of kill(2) to one process.
func (w *watcher) signalRefusal(p *process, to, signal uint64) *refusal {
	if int32(to) <= 0 || signal > 64 || signal == uint64(unix.SIGCONT) {
		return nil
	}
	n := p.neighbour(uint32(to))
	if n == nil || n.number == p.boxed {
		return nil
	}
	allowed := p.has(unix.CAP_KILL) // over all that are of the box's ids
	for _, mine := range [...]uint32{p.uids[0], p.uids[1]} {
		allowed = allowed || mine == n.uids[0] || mine == n.uids[2]
	}
	switch scoped := w.scoped(unix.LANDLOCK_SCOPE_SIGNAL); {
	case w.spec.Init && n.number == 1 && !allowed:
		return &refusal{what: refusedProcess, name: "process 1", errno: unix.EPERM, hint: "none: it is hutch's own, and another user's"}
	case !allowed:
		return w.lacking(p, "kill")
	case w.spec.Init && n.number == 1 && scoped:
		return &refusal{
			what: refusedProcess, name: "process 1", errno: unix.EPERM,
			hint: "landlock.scopes = false", warning: "it is hutch's own, and passes signals on; abstract sockets are reached as well",
		}
	}
	return nil
}

// traceRefusal is of attaching to a process, ptrace(2).
func (w *watcher) traceRefusal(p *process, a [6]uint64) *refusal {
	n := p.neighbour(uint32(a[1]))
	if n == nil || n.number == p.boxed {
		return nil
	}
	foreign := n.permitted&^p.permitted != 0
	for i := range 3 {
		foreign = foreign || n.uids[i] != p.uids[0] || n.gids[i] != p.gids[0]
	}
	switch lacks := foreign && !p.has(unix.CAP_SYS_PTRACE); {
	case w.spec.Init && n.number == 1 && (lacks || len(w.layers) > 0):
		return &refusal{what: refusedProcess, name: "process 1", errno: unix.EPERM, hint: "none: it is hutch's own, and outlives the application"}
	case lacks:
		return w.lacking(p, "sys_ptrace")
	}
	return nil
}

// niceRefusal is of a higher priority than one has, setpriority(2): outside of
// every user namespace the kernel asks for the capability.
func niceRefusal(p *process, a [6]uint64) *refusal {
	if a[0] != unix.PRIO_PROCESS || a[1] != 0 && uint32(a[1]) != p.boxed {
		return nil
	}
	stat := readFile(proc(p.pid, "stat"))
	words := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(words) < 17 {
		return nil
	}
	now, _ := strconv.ParseInt(words[16], 10, 64)
	want := min(max(int64(int32(a[2])), -20), 19)
	var limit unix.Rlimit
	if want >= now || unix.Prlimit(int(p.pid), unix.RLIMIT_NICE, nil, &limit) != nil || uint64(20-want) <= limit.Cur {
		return nil
	}
	return &refusal{
		what: refusedCapability, name: "CAP_SYS_NICE", errno: unix.EACCES,
		hint: "none: no capability in a user namespace raises a priority; limits.cpu_weight gives the run more of busy processors",
	}
}

// link is what a link in the process's directory of /proc says, "" for nothing.
func (p *process) link(name string) string {
	text, _ := os.Readlink(proc(p.pid, name))
	return text
}

func number(v uint64) string { return strconv.Itoa(int(int32(v))) }

// eachLine goes through a file of proc.
func eachLine(file string, each func(string)) {
	f, err := os.Open(file)
	if err != nil {
		return
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		each(lines.Text())
	}
}
