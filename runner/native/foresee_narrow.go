package native

import (
	"fmt"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"hutch/runner/plan"
)

// A narrowed is what the profile's lists leave, as Landlock's second ruleset
// has it.
type narrowed struct {
	rights
	ports uint64 // handled
	rules []plan.Step
}

func narrowedOf(p *plan.Plan) (n narrowed) {
	for _, s := range p.Steps {
		switch s.Kind {
		case plan.NarrowCreate:
			n.handled, n.ports = s.Bits, s.Ports
		case plan.NarrowPath:
			n.rights.rules = append(n.rights.rules, s)
		case plan.NarrowPort:
			n.rules = append(n.rules, s)
		}
	}
	return n
}

// leavesOut is the refusal of a right on a path, nil for none. key is the list
// that it is missing in.
func (w *watcher) leavesOut(p *process, at *found, name string, right uint64, key string) *refusal {
	if !p.reaches(at) || !w.narrow.refuses(p, at.name, right) {
		return nil
	}
	return &refusal{what: refusedPath, name: name, errno: unix.EACCES, hint: fmt.Sprintf("add %q to landlock.%s", at.name, key)}
}

// narrowedFile is about a file that exists and whose mode grants what is asked.
func (w *watcher) narrowedFile(p *process, c pathCall, f *found) *refusal {
	mode, cuts := c.flags&unix.O_ACCMODE, c.flags&unix.O_TRUNC != 0
	reads, writes := mode != unix.O_WRONLY, mode != unix.O_RDONLY
	switch {
	case c.intent == truncate && p.may(f, 2):
		return w.leavesOut(p, f, f.name, unix.LANDLOCK_ACCESS_FS_TRUNCATE, "write")
	case c.intent != opens, c.flags&unix.O_PATH != 0, c.flags&(unix.O_CREAT|unix.O_EXCL) == unix.O_CREAT|unix.O_EXCL:
		return nil
	case f.is(unix.S_IFDIR):
		if writes || !p.may(f, 4) {
			return nil
		}
		return w.leavesOut(p, f, f.name, unix.LANDLOCK_ACCESS_FS_READ_DIR, "list")
	case !f.is(unix.S_IFREG) && !f.is(unix.S_IFCHR), c.flags&unix.O_DIRECTORY != 0,
		reads && !p.may(f, 4), (writes || cuts) && !p.may(f, 2):
		return nil
	}
	var r *refusal
	if reads {
		r = w.leavesOut(p, f, f.name, unix.LANDLOCK_ACCESS_FS_READ_FILE, "read")
	}
	if r == nil && writes {
		r = w.leavesOut(p, f, f.name, unix.LANDLOCK_ACCESS_FS_WRITE_FILE, "write")
	}
	if r == nil && cuts && f.is(unix.S_IFREG) {
		r = w.leavesOut(p, f, f.name, unix.LANDLOCK_ACCESS_FS_TRUNCATE, "write")
	}
	return r
}

// narrowedEntry is about a name in a directory that may be written to.
func (w *watcher) narrowedEntry(p *process, c pathCall, parent *found, last string) *refusal {
	if c.same != "" || !p.may(parent, 3) {
		return nil
	}
	return w.leavesOut(p, parent, path.Join(parent.name, last), c.right, "write")
}

// narrowedCall is about what is executed, and about TCP ports.
func (w *watcher) narrowedCall(p *process, name string, a [6]uint64) *refusal {
	right := uint64(unix.LANDLOCK_ACCESS_NET_CONNECT_TCP)
	switch name {
	case "execve":
		f, err := p.find(p.path(unix.AT_FDCWD, a[0]), false)
		if err != nil {
			return nil
		}
		defer f.close()
		if !f.is(unix.S_IFREG) || f.stat.Mode&0o111 == 0 || !p.may(f, 1) {
			return nil
		}
		return w.leavesOut(p, f, f.name, unix.LANDLOCK_ACCESS_FS_EXECUTE, "execute")
	case "bind":
		right = unix.LANDLOCK_ACCESS_NET_BIND_TCP
	case "connect":
	default:
		return nil
	}
	to, ok := inetAddress(p, a[1], a[2])
	if w.narrow.ports&right == 0 || !ok || p.socket(int(int32(a[0])), to.Addr()) != unix.SOCK_STREAM ||
		slices.ContainsFunc(w.narrow.rules, func(s plan.Step) bool { return s.Bits&right != 0 && s.Port == to.Port() }) {
		return nil
	}
	return &refusal{what: refusedNetwork, name: to.String(), errno: unix.EACCES, hint: fmt.Sprintf("add %d to landlock.%s", to.Port(), name)}
}
