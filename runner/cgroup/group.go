// Package cgroup limits a box by Linux control groups and reads what it used:
// cgroup v2 where it has the controller, cgroup v1 where the host has only
// that, and both on hybrid hosts.
//
// A Group is made with all its limits before any process is in it. On v2 the
// box is started inside it, by clone3 with CLONE_INTO_CGROUP and Group.FD; on
// v1 its pid is written into every file of Group.Procs before it execs. Only
// the controllers in use are touched.
//
// Sources: cgroups(7); Documentation/admin-guide/cgroup-v2.rst and
// Documentation/admin-guide/cgroup-v1/ in the Linux tree.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Options refine New. The zero value is good.
type Options struct {
	// Usage also makes groups that limit nothing and only count: memory, cpu
	// time, processes and i/o, as far as the host has the controllers. What it
	// lacks is left out, and Usage answers nil for it.
	Usage bool
	// CPUTime also counts the processor time of all that runs in the group,
	// where this user may have that counted; CPUTime answers it.
	CPUTime bool
	// Freezer also joins the v1 freezer, so that Kill cannot lose a race
	// against a fork bomb that has no process limit. v2 does not need it.
	Freezer bool
	// Scope, when no writable subtree is there, has systemd put a process into a
	// new scope of that name, with its controllers delegated; nil: systemd is not
	// asked. Package scope can.
	Scope func(ctx context.Context, unit string, pid int) error
}

// A Group is one box's control group: one directory on v2, one for each
// hierarchy in use on v1. Its methods may be called from several goroutines.
type Group struct {
	name    string
	version string
	dirs    []dir // in the order of the controllers table
	oom     oomWatch

	mu     sync.Mutex
	closed bool
}

// dir is the group's directory in one hierarchy.
type dir struct {
	path string // absolute
	fd   int    // O_PATH is not enough for CLONE_INTO_CGROUP: O_RDONLY|O_DIRECTORY
	v2   bool
	ctl  set
	// missing names the preferred limits that the kernel lacks.
	missing []string
}

// New makes a group and sets all of l in it. An empty name is replaced by one
// that Sweep recognizes (the only kind that should be used outside tests);
// another must be a single path element that is not in use.
//
// Any error it returns is an *Error, or says which value of l is impossible;
// nothing is left behind then.
func New(name string, l Limits, opt Options) (*Group, error) {
	p, err := Find(l, opt)
	if err != nil {
		return nil, err
	}
	return p.New(name)
}

// A Place is where a group with some limits is going to be.
type Place struct {
	limits Limits
	placement
}

// Find finds it, and makes nothing yet: so that the time which that takes can be
// spent beside other work. Its errors are those of New.
func Find(l Limits, opt Options) (*Place, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	p, err := locate(l.controllers(), opt)
	if err != nil {
		return nil, err
	}
	return &Place{l, p}, nil
}

// V2 says that a process has to be born in the group, Group.FD.
func (p *Place) V2() bool {
	for _, d := range p.parents {
		if d.v2 {
			return true
		}
	}
	return false
}

// Entered is how many of the group's directories a process has to enter, those
// of v1: as many as Group.Tasks gives.
func (p *Place) Entered() int {
	n := 0
	for _, d := range p.parents {
		if !d.v2 {
			n++
		}
	}
	return n
}

// Entered is what the Place of such a group would say, without finding it: that
// may move this process.
func Entered(l Limits, opt Options) int {
	lay, err := readLayout()
	if err != nil {
		return 0
	}
	need := l.controllers()
	onV2 := need & lay.v2.offered()
	var pl placement
	if lay.placeV1(&pl, need&^onV2, extras(opt, onV2 != 0)) != nil {
		return 0
	}
	return len(pl.parents)
}

// New makes the group; see the function of that name.
func (p *Place) New(name string) (*Group, error) {
	if name == "" {
		var err error
		if name, err = ownName(); err != nil {
			return nil, err
		}
	} else if strings.ContainsAny(name, "/\n") || name == "." || name == ".." || len(name) > 255 {
		return nil, fmt.Errorf("cgroup name %q is not a single path element of at most 255 bytes", name)
	}
	g := &Group{name: name, version: p.version, oom: oomWatch{eventfd: -1}}
	if err := g.make(p.placement, &p.limits); err != nil {
		_ = g.Remove()
		return nil, err
	}
	return g, nil
}

// make creates the directories and writes the limits.
func (g *Group) make(places placement, l *Limits) error {
	g.dirs = make([]dir, 0, len(places.parents))
	for _, p := range places.parents {
		d, err := p.child(g.name)
		if err != nil {
			return err
		}
		g.dirs = append(g.dirs, d)
		if err := g.dirs[len(g.dirs)-1].apply(p, l); err != nil {
			return err
		}
		if !d.v2 && d.ctl.has(memory) && l.Memory > 0 {
			g.oom.watch(d)
		}
	}
	return nil
}

// child makes the directory name below p and opens it.
func (p parent) child(name string) (dir, error) {
	path := p.path + "/" + name
	ctl := p.ctl.first()
	if err := unix.Mkdir(path, 0o755); err != nil {
		if errors.Is(err, unix.EEXIST) {
			return dir{}, &Error{
				Controller: ctl, Op: "make " + path, Err: err,
				Reason: "the name is in use",
				Remedy: "choose another name, or remove the group with rmdir " + path + " when nothing runs in it",
			}
		}
		return dir{}, p.denied("make "+path, err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		_ = unix.Rmdir(path)
		return dir{}, p.denied("open "+path, err)
	}
	return dir{path: path, fd: fd, v2: p.v2, ctl: p.ctl}, nil
}

// Missing names the limits that were only preferred and that this kernel lacks.
func (g *Group) Missing() []string {
	var names []string
	for _, d := range g.dirs {
		names = append(names, d.missing...)
	}
	return names
}

// Name is the name of the group's directories.
func (g *Group) Name() string { return g.name }

// Version is "v2", "v1", or "hybrid" where v1 has the controllers in use and
// cgroup2 is mounted beside it.
func (g *Group) Version() string { return g.version }

// Paths lists the group's directories, one on v2.
func (g *Group) Paths() []string {
	var paths []string
	for _, d := range g.dirs {
		paths = append(paths, d.path)
	}
	return paths
}

// FD is the descriptor of the group's v2 directory, for CLONE_INTO_CGROUP. It
// stays the group's own and is closed by Remove. false: there is none.
func (g *Group) FD() (int, bool) {
	for _, d := range g.dirs {
		if d.v2 {
			return d.fd, true
		}
	}
	return -1, false
}

// Procs lists the cgroup.procs files of the v1 hierarchies in use. The pid of
// the box's first process goes into each of them before it execs; a process
// may also put itself there by writing "0".
func (g *Group) Procs() []string {
	var files []string
	for _, d := range g.dirs {
		if !d.v2 {
			files = append(files, d.path+"/"+procsFile)
		}
	}
	return files
}

// Add puts a process into the group's v1 hierarchies: what writing its pid
// into each file of Procs does, by descriptor. It must not have exec'ed yet.
// On v2 it does nothing, because there the process was started in the group.
func (g *Group) Add(pid int) error {
	for _, d := range g.dirs {
		if d.v2 {
			continue
		}
		if err := writeAt(d.fd, procsFile, itoa(int64(pid))); err != nil {
			return &Error{
				Controller: d.ctl.first(), Op: fmt.Sprintf("put process %d into %s", pid, d.path), Err: err,
				Reason: addReason(err), Remedy: "check the limits of the groups above, and that " + procsFile + " is writable",
			}
		}
	}
	return nil
}

// Tasks opens the files by which a process enters the group's v1 hierarchies by
// itself: it writes "0" into each before it makes a thread, and execs. They are the caller's to close.
func (g *Group) Tasks() (files []int, err error) {
	for _, d := range g.dirs {
		if d.v2 {
			continue
		}
		fd, err := unix.Openat(d.fd, tasksFile, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err != nil {
			for _, fd := range files {
				unix.Close(fd)
			}
			return nil, &Error{Controller: d.ctl.first(), Op: "open " + d.path + "/" + tasksFile, Err: err, Reason: addReason(err)}
		}
		files = append(files, fd)
	}
	return files, nil
}

// Empty says that no process is in the group. Those that ended and were not
// waited for do not count.
func (g *Group) Empty() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.dirs {
		// Not by their numbers: they may be of a namespace that is not seen from here.
		if list, err := readAt(g.dirs[i].fd, procsFile); err != nil || list != "" {
			return false
		}
	}
	return !g.closed
}

func addReason(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return "the cpuset is empty"
	case errors.Is(err, unix.ESRCH):
		return "the process is gone"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return "the process belongs to another user, or the file is not writable"
	}
	return ""
}

// RemoveEmpty is Remove without its patience, for a group whose processes are
// known to be gone. It says whether the group was removed; otherwise some of it
// is left, for Kill and Remove.
func (g *Group) RemoveEmpty() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return true
	}
	for _, d := range slices.Backward(g.dirs) {
		if err := unix.Rmdir(d.path); err != nil && !errors.Is(err, unix.ENOENT) {
			return false
		}
	}
	g.closed = true
	g.oom.close()
	for _, d := range g.dirs {
		_ = unix.Close(d.fd)
	}
	return true
}

// Remove removes the group's directories, with whatever groups were made
// below them. The kernel refuses while a process is inside; that is retried
// for two seconds, because the last ones may still be dying. It may be
// called twice, and on nil.
func (g *Group) Remove() error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	g.oom.close()
	var errs []error
	for _, d := range slices.Backward(g.dirs) {
		_ = unix.Close(d.fd)
		errs = append(errs, removeTree(d.path))
	}
	return errors.Join(errs...)
}
