package cgroup

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// strangerAge is how long a group whose owner lives in another PID namespace
// must have stood empty before it is removed. New fills a group at once.
const strangerAge = time.Minute

// Sweep removes the groups that dead hutch processes left behind, and ends
// what still runs in them; only SIGKILL, or a crash, can leave any. Without
// everywhere it looks where New would make a group now, which is cheap enough
// for every run; with it, in the whole of each hierarchy. It returns the
// directories that it removed. A group of a living owner is never touched.
func Sweep(everywhere bool) (removed []string, err error) {
	lay, err := readLayout()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, dir := range lay.sweepable(everywhere) {
		for _, name := range subgroups(dir) {
			path := dir + "/" + name
			gone, err := sweepOne(path, name)
			if err != nil {
				errs = append(errs, err)
			}
			if gone {
				removed = append(removed, path)
			}
		}
	}
	return removed, errors.Join(errs...)
}

// sweepable lists the directories to look in.
func (lay *layout) sweepable(everywhere bool) []string {
	var dirs []string
	for _, h := range append(lay.v1, lay.v2) {
		switch {
		case h.mount == "":
		case everywhere:
			dirs = append(dirs, tree(h.mount)...)
		case !h.v2 && h.self != "":
			dirs = append(dirs, h.self)
		case h.v2:
			for dir := h.self; dir != ""; dir = h.above(dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

// tree lists root and every group below it, without those inside of a group
// of ours: they go with it.
func tree(root string) []string {
	var dirs []string
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return nil
		}
		if _, ours := parseName(e.Name()); ours {
			return fs.SkipDir
		}
		dirs = append(dirs, path)
		return nil
	})
	return dirs
}

func sweepOne(path, name string) (gone bool, err error) {
	owner, ours := parseName(name)
	// What this user may not remove is its owner's business.
	if !ours || !writable(filepath.Dir(path)) || !owner.abandoned(path) {
		return false, nil
	}
	if owner.pidns != pidNamespace() {
		return unix.Rmdir(path) == nil, nil // the kernel refuses when a process is inside
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, nil // somebody else was faster, or it is not ours to remove
	}
	d := dir{path: path, fd: fd, v2: isV2(fd), ctl: controllersOf(path)}
	err = killAll([]dir{d})
	unix.Close(fd)
	if err == nil {
		err = removeTree(path)
	}
	return err == nil, err
}

// abandoned says whether the owner of the group at path is dead. Nobody here
// can tell of one in another PID namespace: its group counts as abandoned when
// it is old enough, and empty, which the kernel sees to.
func (p nameParts) abandoned(path string) bool {
	if p.pidns == pidNamespace() {
		return !p.ownerLives()
	}
	var st unix.Stat_t
	return unix.Stat(path, &st) == nil && time.Since(time.Unix(st.Mtim.Unix())) >= strangerAge
}

// A Leftover is a group that a dead process left beside one of ours.
type Leftover struct{ path, name string }

// Leftovers looks beside the group's own directories for what Sweep would
// remove. It costs one listing of each and a look at every owner: cheap enough
// for every run, beside the application.
func (g *Group) Leftovers() (left []Leftover) {
	lives := map[string]bool{g.name: true} // each name stands in every hierarchy
	for _, d := range g.dirs {
		above := filepath.Dir(d.path)
		for _, name := range namesIn(above) {
			owner, ours := parseName(name)
			if !ours || lives[name] {
				continue
			}
			if path := above + "/" + name; owner.abandoned(path) {
				left = append(left, Leftover{path, name})
			} else {
				lives[name] = true
			}
		}
	}
	return left
}

// RemoveLeftovers ends what runs in them and removes them.
func RemoveLeftovers(left []Leftover) error {
	var errs []error
	for _, l := range left {
		_, err := sweepOne(l.path, l.name)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// namesIn lists the entries of a directory that could be groups of ours,
// without asking for more than the names.
func namesIn(path string) (names []string) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	buf := make([]byte, 8192)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil || n <= 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, namePrefix) })
}

func isV2(fd int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

// controllersOf tells what stopForks can use in a v1 directory.
func controllersOf(path string) set {
	var s set
	if exists(path + "/freezer.state") {
		s |= freezer
	}
	if exists(path + "/pids.max") {
		s |= pids
	}
	return s
}
