package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// offered are the controllers that some v2 group at or above the caller's own
// could hand on. Above, because a group that holds processes hands on nothing.
func (h *hierarchy) offered() set {
	var s set
	for dir := h.self; dir != ""; dir = h.above(dir) {
		s |= controllersIn(dir, controllersFile)
	}
	return s
}

// above is the group above dir, "" at the top of the mount.
func (h *hierarchy) above(dir string) string {
	if len(dir) <= len(h.mount) {
		return ""
	}
	return filepath.Dir(dir)
}

func controllersIn(dir, file string) set {
	text, err := readFile(dir + "/" + file)
	if err != nil {
		return 0
	}
	return parseSet(text, true)
}

// placeV2 finds the group to make the box's group in:
//
//  1. the nearest one, from the caller's own upwards, that hands on the
//     controllers, or can be told to, and that the caller may write;
//  2. the caller's own, when it is delegated and the caller alone is in it: a
//     v2 group has either processes or controllers for those below
//     (cgroup-v2.rst, "No Internal Process Constraint"), so the caller steps
//     aside into a leaf of its own;
//  3. a scope that systemd makes, delegated, and then as in 2.
//
// Steps 2 and 3 move the caller, once, before the box starts; a box is never
// moved.
func (lay *layout) placeV2(need set, opt Options) (parent, error) {
	h := &lay.v2
	if h.self == "" {
		return parent{}, notVisible(need, h.mount)
	}
	dir, first := h.nearest(need)
	if dir == "" && h.stepAside(need) == nil {
		dir = h.self
	}
	if dir == "" {
		if path, err := systemdScope(h, need, opt.Scope); err == nil {
			dir = path
		} else if !errors.Is(err, errNoSystemd) {
			return parent{}, err
		}
	}
	if dir == "" {
		return parent{}, first
	}
	return parent{path: dir, v2: true, ctl: controllersIn(dir, subtreeFile) | countsOnly}, nil
}

// nearest is step 1. The error is about the nearest group that failed, which
// is the one the user knows.
func (h *hierarchy) nearest(need set) (string, error) {
	var first error
	for dir := h.self; dir != ""; dir = h.above(dir) {
		err := handOn(dir, need)
		if err == nil {
			return dir, nil
		}
		if first == nil {
			first = err
		}
	}
	return "", first
}

// handOn makes sure that dir can be written and hands on the controllers.
// Starting a process in a group needs write access to the cgroup.procs of the
// group that is above both the caller's and the new one, and that is dir.
func handOn(dir string, need set) error {
	p := parent{path: dir, v2: true, ctl: need}
	for _, path := range [...]string{dir, dir + "/" + procsFile} {
		if err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS); err != nil {
			return p.denied("write "+path, err)
		}
	}
	handed := controllersIn(dir, subtreeFile)
	missing := need &^ handed
	if missing|handed != 0 && occupied(dir) {
		// The kernel takes cpu and pids here, which can count threads, and then no
		// group below can hold a process (cgroup-v2.rst, "Threads").
		return &Error{
			Controller: (need | handed).first(), Op: "hand controllers on from " + dir, Err: unix.EBUSY,
			Reason: "processes are in that group", Remedy: delegateV2(need),
		}
	}
	if missing == 0 {
		return nil
	}
	plus := missing.names("+", " ", true)
	err := writeAt(unix.AT_FDCWD, dir+"/"+subtreeFile, plus)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBUSY):
		return &Error{
			Controller: missing.first(), Op: "write " + plus + " to " + dir + "/" + subtreeFile, Err: err,
			Reason: "processes are in that group", Remedy: delegateV2(need),
		}
	case errors.Is(err, unix.ENOENT):
		return &Error{
			Controller: missing.first(), Op: "write " + plus + " to " + dir + "/" + subtreeFile, Err: err,
			Reason: "the group above does not hand the controller on", Remedy: delegateV2(need),
		}
	}
	return p.denied("write "+plus+" to "+dir+"/"+subtreeFile, err)
}

// occupied reports whether a group has processes of its own, which only the
// root, who has no type, may have beside controllers for others.
func occupied(dir string) bool {
	if !exists(dir + "/cgroup.type") {
		return false
	}
	procs, err := readFile(dir + "/" + procsFile)
	return err == nil && procs != ""
}

// delegateV2 is the commands that give a user the controllers: for the session
// at hand, and for all.
func delegateV2(need set) string {
	names := need.names("", " ", true)
	if os.Geteuid() == 0 {
		return "run hutch in a delegated scope: systemd-run --scope -p Delegate=yes hutch …; " +
			"or move the processes of the group into one below it, and then: echo " + need.names("+", " ", true) + " >>" + subtreeFile
	}
	return "run hutch in a delegated scope: systemd-run --user --scope -p Delegate=yes hutch …; if that lacks " +
		strings.ReplaceAll(names, " ", ", ") + ", as root: mkdir -p /etc/systemd/system/user@.service.d; " +
		`printf '[Service]\nDelegate=` + names + `\n' >/etc/systemd/system/user@.service.d/delegate.conf; ` +
		"systemctl daemon-reload; and log in again"
}

// stepAside is step 2: it moves the caller into a leaf of its own group and
// hands the controllers on.
func (h *hierarchy) stepAside(need set) error {
	if !need.subset(controllersIn(h.self, controllersFile)) || !aloneIn(h.self) {
		return unix.EBUSY
	}
	name, err := ownName()
	if err != nil {
		return err
	}
	leaf := h.self + "/" + name
	if err := unix.Mkdir(leaf, 0o755); err != nil {
		return err
	}
	if err := writeAt(unix.AT_FDCWD, leaf+"/"+procsFile, itoa(int64(os.Getpid()))); err != nil {
		_ = unix.Rmdir(leaf)
		return err
	}
	return handOn(h.self, need)
}

// aloneIn reports whether this process is the only one in the group.
func aloneIn(dir string) bool {
	procs, err := readFile(dir + "/" + procsFile)
	return err == nil && procs == itoa(int64(os.Getpid()))
}

func (s set) subset(of set) bool { return s&^of == 0 }
