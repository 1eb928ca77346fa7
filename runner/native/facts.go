package native

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/host"
	"hutch/runner/plan"
)

// gather finds out what plan.Build must know. It opens nothing that stays
// open and looks nothing up on the host by a path that an image wrote.
func gather(s *runner.Spec, m ids) (plan.Facts, error) {
	f := plan.Facts{
		Privileged: m.privileged, SameIDs: m.same, UIDs: m.uid, GIDs: m.gid, SetGroups: m.setgroups,
		LandlockABI: host.LandlockABI(), LastCap: lastCap(),
		IsDir: map[string]bool{},
	}
	if err := findUser(s, m, &f); err != nil {
		return f, err
	}
	if s.Root.Kind == runner.RootHost {
		f.Host = hostEntries()
	}
	var err error
	if f.BinaryExposed, err = binaryExposed(m); err != nil {
		return f, err
	}
	if f.BinaryExposed && (f.LandlockABI < 2 || s.Landlock.Filesystem == runner.Omit) {
		return f, &runner.Error{
			Stage: runner.StageStart, Step: "hutch's binary could be overwritten from inside the box",
			Err:  errors.New("its owner is mapped into the box, and no Landlock (ABI 2) protects it"),
			Hint: "install hutch owned by root (sudo install bin/hutch /usr/local/bin), or use a kernel with Landlock",
		}
	}
	if err := findImages(s, m, f.IsDir); err != nil {
		return f, err
	}
	if err := findSources(s, f.IsDir); err != nil {
		return f, err
	}
	findCovered(s, m.same, f.IsDir)
	return f, findKeep(s, m, f.IsDir)
}

// findUser resolves the user inside the root.
func findUser(s *runner.Spec, m ids, f *plan.Facts) error {
	u := runner.User{UID: m.uid[0].Inside, GID: m.gid[0].Inside}
	if s.User == "" && u.UID == 0 {
		u.Home = "/root"
	} else if s.User != "" {
		var err error
		if u, err = s.LookupUser(); err != nil {
			return err
		}
	}
	f.UID, f.GID, f.Groups, f.Home = u.UID, u.GID, u.Groups, u.Home
	if s.Root.Kind == runner.RootHost || f.Home == "" {
		f.Home = "/tmp" // the caller's home is not in the box
	}
	if maps(m.uid, u.UID) && maps(m.gid, u.GID) {
		return nil
	}
	ids := m.uid[len(m.uid)-1].Inside + m.uid[len(m.uid)-1].Count
	hint := "run as root, or install uidmap and give yourself a range in /etc/subuid and /etc/subgid"
	if ids > 1 {
		hint = fmt.Sprintf("take a user and a group below %d", ids)
	}
	return &runner.Error{
		Stage: runner.StageStart,
		Step:  fmt.Sprintf("user %d, group %d of the root cannot be had: the box maps %d ids", u.UID, u.GID, ids),
		Hint:  hint,
	}
}

// lastCap is the kernel's last capability, /proc/sys/kernel/cap_last_cap.
func lastCap() int {
	n, err := strconv.Atoi(strings.TrimSpace(readFile("/proc/sys/kernel/cap_last_cap")))
	if err == nil && n > 0 && n < 64 {
		return n
	}
	return unix.CAP_LAST_CAP
}

func hostEntries() []plan.HostEntry {
	var out []plan.HostEntry
	for _, d := range runner.HostDirs {
		var st unix.Stat_t
		if unix.Lstat(d, &st) != nil {
			continue
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			out = append(out, plan.HostEntry{Path: d})
		case unix.S_IFLNK:
			if link, err := os.Readlink(d); err == nil {
				out = append(out, plan.HostEntry{Path: d, Link: link})
			}
		}
	}
	return out
}

// findSources looks at the bind sources and the devices, which must be there.
func findSources(s *runner.Spec, isDir map[string]bool) error {
	for _, m := range s.Mounts {
		if m.Type != runner.MountBind {
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(m.Source, &st); err != nil {
			return &runner.Error{Stage: runner.StagePrepare, Step: "bind source " + m.Source, Err: err, Hint: "make it, or correct the path"}
		}
		isDir[m.Source] = st.Mode&unix.S_IFMT == unix.S_IFDIR
	}
	var st unix.Stat_t
	if err := unix.Stat("/dev/null", &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 3) {
		return &runner.Error{Stage: runner.StagePrepare, Step: "/dev/null of this machine is not the null device", Err: err, Hint: "mend the host's /dev: mknod -m 666 /dev/null c 1 3"}
	}
	return nil
}

// findImages tells which layers are file systems in files. Only those are
// looked at that are called so.
func findImages(s *runner.Spec, m ids, isDir map[string]bool) error {
	for _, l := range s.Root.Lowers {
		if !runner.MayBeImage(l) {
			continue
		}
		var st unix.Stat_t
		dir := unix.Lstat(l, &st) != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR
		if !dir && !m.privileged {
			return &runner.Error{
				Stage: runner.StagePrepare, Step: "layer " + l, Err: errors.New("only root may mount a layer that is an EROFS image"),
				Hint: "run hutch as root, or import the image with --store-format dir",
			}
		}
		isDir[l] = dir
	}
	return nil
}

// findKeep tells a directory from a file system in a file.
func findKeep(s *runner.Spec, m ids, isDir map[string]bool) error {
	keep := s.Root.Keep
	if keep == "" {
		return nil
	}
	var st unix.Stat_t
	// What is not there will be a directory, and taking it fails in the box's
	// words; a dry run makes nothing.
	dir := unix.Lstat(keep, &st) != nil || st.Mode&unix.S_IFMT == unix.S_IFDIR
	if !dir && !m.privileged {
		return &runner.Error{
			Stage: runner.StagePrepare, Step: "keep in " + keep, Err: errors.New("only root may mount a file system in a file"),
			Hint: "run as root, or keep without --disk",
		}
	}
	isDir[keep] = dir
	return nil
}

// findCovered looks at the hidden and protected paths. Those of /proc are
// looked up in the host's, which has the same names; others in the root.
func findCovered(s *runner.Spec, same bool, isDir map[string]bool) {
	for _, list := range [][]string{s.Protected, s.Hidden} {
		for _, p := range list {
			p = path.Clean(p)
			if strings.HasPrefix(p, "/proc/") {
				findProc(p, same, isDir)
			} else if dir, ok := s.IsDir(p); ok {
				isDir[p] = dir
			}
		}
	}
}

// findProc leaves out what is closed already: files of proc belong to the
// host's root, who is never mapped, so that one that grants others nothing
// grants the box nothing. With the same ids the host's root is the box's.
func findProc(p string, same bool, isDir map[string]bool) {
	var st unix.Stat_t
	if unix.Lstat(p, &st) == nil && (same || st.Mode&0o007 != 0) {
		isDir[p] = st.Mode&unix.S_IFMT == unix.S_IFDIR
	}
}

// binaryExposed says whether an id of the box may open hutch's own binary for
// writing, which it could reach through /proc/PID/exe if it executed it
// (CVE-2019-5736).
func binaryExposed(m ids) (bool, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &st); err != nil {
		return true, &runner.Error{Stage: runner.StageStart, Step: "look at hutch's own binary", Err: err, Hint: "mount /proc"}
	}
	writable := st.Mode&0o002 != 0
	for _, r := range m.uid {
		writable = writable || st.Uid >= r.Outside && st.Uid-r.Outside < r.Count
	}
	for _, r := range m.gid {
		writable = writable || st.Mode&0o020 != 0 && st.Gid >= r.Outside && st.Gid-r.Outside < r.Count
	}
	return writable, nil
}
