package cgroup

import (
	"errors"
	"io/fs"
	"path/filepath"
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
	if !ours {
		return false, nil
	}
	if owner.pidns != pidNamespace() {
		return sweepStranger(path), nil
	}
	if owner.ownerLives() {
		return false, nil
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

// sweepStranger removes a group of another PID namespace if it has been empty
// for a while; the kernel refuses when a process is inside.
func sweepStranger(path string) bool {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || time.Since(time.Unix(st.Mtim.Unix())) < strangerAge {
		return false
	}
	return unix.Rmdir(path) == nil
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
