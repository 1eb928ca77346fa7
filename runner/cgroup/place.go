package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A parent is a directory in which a group is to be made, and what for.
type parent struct {
	path string
	v2   bool
	ctl  set
}

// A placement is where the directories of one group go.
type placement struct {
	parents []parent
	version string
}

// locate finds a place for the needed controllers: v2 for those it has, v1
// for the rest.
func locate(need set, opt Options) (placement, error) {
	lay, err := readLayout()
	if err != nil {
		return placement{}, err
	}
	onV2 := need & lay.v2.offered()
	var pl placement
	if onV2 != 0 || need == 0 && len(lay.v1) == 0 && lay.v2.self != "" {
		p, err := lay.placeV2(onV2, opt)
		if err != nil {
			return placement{}, err
		}
		pl.parents = append(pl.parents, p)
		pl.version = "v2"
	}
	rest := need &^ onV2
	if err := lay.placeV1(&pl, rest, extras(opt, pl.version == "v2")); err != nil {
		return placement{}, err
	}
	switch {
	case len(pl.parents) == 0:
		return placement{}, nowhere(lay)
	case pl.version == "v2" && len(pl.parents) == 1:
	case lay.v2.mount != "":
		pl.version = "hybrid"
	default:
		pl.version = "v1"
	}
	return pl, nil
}

// extras are the v1 controllers that are joined where they can be had. A v2
// group counts and kills without them.
func extras(opt Options, haveV2 bool) set {
	var s set
	if opt.Usage && !haveV2 {
		s |= memory | cpuacct | pids
	}
	if opt.CPUTime && !haveV2 {
		s |= cpuacct
	}
	if opt.Freezer && !haveV2 {
		s |= freezer
	}
	return s
}

func nowhere(lay layout) error {
	if lay.v2.mount == "" && len(lay.v1) == 0 {
		return &Error{
			Op: "find the control groups", Reason: "none are mounted",
			Remedy: "as root: mount -t cgroup2 none /sys/fs/cgroup",
		}
	}
	return &Error{
		Op: "make a group that only counts", Reason: "no group that could hold it is writable",
		Remedy: "set a limit, or delegate a group to this user",
	}
}

// placeV1 adds a directory for each v1 hierarchy that holds one of the needed
// controllers, or one of the extras and is writable. Hierarchies that hold
// several (cpu,cpuacct) get one directory.
func (lay *layout) placeV1(pl *placement, need, extra set) error {
	for i := range lay.v1 {
		h := &lay.v1[i]
		hard, soft := need&h.ctl, extra&h.ctl
		if hard == 0 && (soft == 0 || h.self == "" || !writable(h.self)) {
			continue
		}
		if h.self == "" {
			return notVisible(hard, h.mount)
		}
		// All of its controllers come with the directory, at no cost.
		pl.parents = append(pl.parents, parent{path: h.self, ctl: h.ctl & (hard | soft | memory | cpuacct | pids | blockio)})
		need &^= hard
	}
	if need != 0 {
		return lay.missing(need)
	}
	return nil
}

func notVisible(ctl set, mount string) error {
	return &Error{
		Controller: ctl.first(), Op: "find this process's own group below " + mount,
		Reason: "it lies outside of what is mounted there",
		Remedy: "mount the control groups anew in this container, or run it with its own control group namespace",
	}
}

// missing says why a controller is on no hierarchy.
func (lay *layout) missing(need set) error {
	e := &Error{Controller: need.first(), Op: "find the controller"}
	if lay.v2.mount == "" && len(lay.v1) == 0 {
		e.Reason = "no control groups are mounted"
		e.Remedy = "as root: mount -t cgroup2 none /sys/fs/cgroup"
		return e
	}
	name := need.names("", ",", false)
	e.Reason = "it is on no mounted hierarchy"
	e.Remedy = fmt.Sprintf("check that /proc/cgroups lists %s as enabled (not cgroup_disable= on the kernel's command line); "+
		"then, as root: mkdir -p /sys/fs/cgroup/%[1]s && mount -t cgroup -o %[1]s none /sys/fs/cgroup/%[1]s", name)
	return e
}

// denied explains why a directory or a file of the tree cannot be written.
func (p parent) denied(op string, err error) *Error {
	e := &Error{Controller: p.ctl.first(), Op: op, Err: err}
	switch {
	case errors.Is(err, unix.EROFS):
		e.Reason = "the tree is mounted read-only"
		e.Remedy = "as root: mount -o remount,rw " + mountOf(p.path) + "; in a container: run it with a writable, private control group tree"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		e.Reason = fmt.Sprintf("user %d may not write there", os.Geteuid())
		e.Remedy = p.howToDelegate()
	case errors.Is(err, unix.ENOSPC):
		e.Reason = "the number of groups is limited above, or the group above is an empty cpuset"
		e.Remedy = "raise cgroup.max.descendants above " + p.path + ", or fill its cpuset"
	case errors.Is(err, unix.EAGAIN):
		e.Reason = "cgroup.max.depth or cgroup.max.descendants above is reached"
		e.Remedy = "remove old groups, or raise it"
	case errors.Is(err, unix.ENOENT):
		e.Reason = "the file or the group above is gone"
		e.Remedy = "check that " + p.path + " exists and that its kernel has the controller"
	default:
		e.Remedy = "look into " + p.path
	}
	return e
}

// howToDelegate is the commands that let this user make groups.
func (p parent) howToDelegate() string {
	uid := os.Geteuid()
	if p.v2 {
		return delegateV2(p.ctl)
	}
	mount := mountOf(p.path)
	own := mount + "/hutch-" + itoa(int64(uid))
	fill := ""
	if p.ctl.has(cpuset) {
		fill = fmt.Sprintf("; cat %s/cpuset.mems >%s/cpuset.mems; cat %s/cpuset.cpus >%s/cpuset.cpus", mount, own, mount, own)
	}
	return fmt.Sprintf("delegate a group in each hierarchy and enter it, as root: mkdir -p %s%s; chown -R %d %s; echo PID-OF-THE-SHELL >%s/%s",
		own, fill, uid, own, own, procsFile)
}

// mountOf guesses the mount point of a path for a message: the nearest
// directory above that lies on another device.
func mountOf(path string) string {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return "/sys/fs/cgroup"
	}
	for dev := st.Dev; path != "/"; path = filepath.Dir(path) {
		if unix.Stat(filepath.Dir(path), &st) != nil || st.Dev != dev {
			return strings.TrimSuffix(path, "/")
		}
	}
	return path
}
