package cgroup

import (
	"strconv"
	"strings"
)

// A hierarchy is one mounted tree of groups and the caller's place in it.
type hierarchy struct {
	v2    bool
	ctl   set    // v1: its controllers; on v2 the files of each group tell
	mount string // where it is mounted
	self  string // absolute path of the caller's own group; "": not visible from here
}

// A layout is all hierarchies of this host that hold something of use.
type layout struct {
	v2 hierarchy // mount == "": none
	v1 []hierarchy
}

// readLayout asks the kernel. It costs two reads and is not cached, because a
// process may be moved to another group at any time.
func readLayout() (layout, error) {
	self, err := readFile("/proc/self/cgroup")
	if err != nil {
		return layout{}, &Error{
			Op: "read /proc/self/cgroup", Err: err,
			Reason: "the kernel has no control groups, or /proc is not mounted",
			Remedy: "mount proc on /proc and use a kernel with CONFIG_CGROUPS",
		}
	}
	mounts, err := readFile("/proc/self/mountinfo")
	if err != nil {
		return layout{}, &Error{Op: "read /proc/self/mountinfo", Err: err, Remedy: "mount proc on /proc"}
	}
	return parseLayout(self, mounts), nil
}

// parseLayout puts together /proc/self/cgroup ("4:memory:/path", v2 as
// "0::/path"; cgroups(7)) and the cgroup mounts of /proc/self/mountinfo
// (proc_pid_mountinfo(5)). Lines that make no sense are passed over.
func parseLayout(self, mounts string) layout {
	var lay layout
	for line := range strings.SplitSeq(mounts, "\n") {
		// Most lines are of other file systems: throw them out cheaply.
		if !strings.Contains(line, " - cgroup") {
			continue
		}
		head, tail, _ := strings.Cut(line, " - ")
		f, t := strings.Fields(head), strings.Fields(tail)
		if len(f) < 5 || len(t) < 3 {
			continue
		}
		h := hierarchy{v2: t[0] == "cgroup2", mount: unescape(f[4])}
		if !h.v2 {
			h.ctl = parseSet(t[2], false)
		}
		if path, ok := ownPath(self, h.ctl, h.v2); ok {
			h.self = below(h.mount, unescape(f[3]), path)
		}
		lay.add(h)
	}
	return lay
}

// add keeps the first mount of each hierarchy: others are copies of it.
func (lay *layout) add(h hierarchy) {
	switch {
	case h.v2 && lay.v2.mount == "":
		lay.v2 = h
	case !h.v2 && h.ctl != 0:
		for _, other := range lay.v1 {
			if other.ctl == h.ctl {
				return
			}
		}
		lay.v1 = append(lay.v1, h)
	}
}

// ownPath finds the caller's path in one hierarchy in /proc/self/cgroup.
func ownPath(self string, ctl set, v2 bool) (string, bool) {
	for line := range strings.SplitSeq(self, "\n") {
		id, rest, _ := strings.Cut(line, ":")
		names, path, ok := strings.Cut(rest, ":")
		if !ok || !strings.HasPrefix(path, "/") {
			continue
		}
		if v2 && id == "0" && names == "" || !v2 && ctl != 0 && parseSet(names, false) == ctl {
			return path, true
		}
	}
	return "", false
}

// below maps a path in a hierarchy to the file system, where the mount shows
// the hierarchy from root on. "" when it is not to be seen through this mount:
// in another control group namespace the path starts with "/..", and walking
// that would leave the mount.
func below(mount, root, path string) string {
	path = strings.TrimSuffix(path, " (deleted)")
	if strings.HasPrefix(path, "/..") || strings.HasPrefix(root, "/..") {
		return ""
	}
	if root != "/" {
		rest, ok := strings.CutPrefix(path, root)
		if !ok || rest != "" && rest[0] != '/' {
			return ""
		}
		path = rest
	}
	return strings.TrimSuffix(mount+path, "/")
}

// unescape undoes mountinfo's octal escapes (\040 for a space).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
