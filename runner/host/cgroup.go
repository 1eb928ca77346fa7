package host

import (
	"fmt"
	"os"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// A CgroupLayout is how this host has mounted its control groups.
type CgroupLayout struct {
	Version string // "v2", "v1", "hybrid", "none"
	V2      string // mount point of cgroup2; "": none
	// Own is the caller's own group on v2 as a directory; "" when it cannot be
	// seen from here.
	Own         string
	Controllers []string // of Own on v2
	V1          []CgroupV1
}

// CgroupV1 is one v1 hierarchy.
type CgroupV1 struct {
	Mount       string
	Own         string // the caller's own group as a directory
	Controllers []string
}

// ReadCgroupLayout asks /proc. Package runner/cgroup decides by itself where a
// group goes; this is for people.
func ReadCgroupLayout() CgroupLayout {
	l := parseCgroupLayout(readSmall("/proc/self/cgroup"), readSmall("/proc/self/mountinfo"))
	if l.Own != "" {
		l.Controllers = strings.Fields(readSmall(l.Own + "/cgroup.controllers"))
	}
	return l
}

func parseCgroupLayout(self, mounts string) CgroupLayout {
	l := CgroupLayout{Version: "none"}
	for line := range strings.SplitSeq(mounts, "\n") {
		head, tail, ok := strings.Cut(line, " - cgroup")
		f, t := strings.Fields(head), strings.Fields(tail)
		if !ok || len(f) < 5 {
			continue
		}
		switch {
		case strings.HasPrefix(tail, "2 "):
			if l.V2 == "" {
				l.V2, l.Own = f[4], ownGroup(self, "", f[3], f[4])
			}
		case len(t) >= 2:
			names := controllerNames(t[len(t)-1])
			if len(names) > 0 {
				l.V1 = append(l.V1, CgroupV1{Mount: f[4], Own: ownGroup(self, names[0], f[3], f[4]), Controllers: names})
			}
		}
	}
	switch {
	case l.V2 != "" && len(l.V1) > 0:
		l.Version = "hybrid"
	case l.V2 != "":
		l.Version = "v2"
	case len(l.V1) > 0:
		l.Version = "v1"
	}
	return l
}

// controllerNames picks the controllers out of a v1 mount's options.
func controllerNames(options string) []string {
	var names []string
	for o := range strings.SplitSeq(options, ",") {
		switch o {
		case "cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "freezer", "devices", "hugetlb", "net_cls", "net_prio", "perf_event", "rdma", "misc":
			names = append(names, o)
		}
	}
	sort.Strings(names)
	return names
}

// ownGroup finds the caller's group in the hierarchy of one controller ("" is
// v2) as a directory below the mount, which shows the hierarchy from root on.
func ownGroup(self, controller, root, mount string) string {
	for line := range strings.SplitSeq(self, "\n") {
		_, rest, _ := strings.Cut(line, ":")
		names, path, ok := strings.Cut(rest, ":")
		if !ok || controller == "" && names != "" || controller != "" && !hasName(names, controller) {
			continue
		}
		if strings.HasPrefix(path, "/..") || strings.HasPrefix(root, "/..") {
			return ""
		}
		if root != "/" {
			if path, ok = strings.CutPrefix(path, root); !ok || path != "" && path[0] != '/' {
				return ""
			}
		}
		return strings.TrimSuffix(mount+path, "/")
	}
	return ""
}

func hasName(list, name string) bool {
	for n := range strings.SplitSeq(list, ",") {
		if n == name {
			return true
		}
	}
	return false
}

// wantedControllers are those that limits use, by their names on v1 and v2.
func wantedControllers() [5][2]string {
	return [...][2]string{{"memory", "memory"}, {"cpu", "cpu"}, {"cpuset", "cpuset"}, {"pids", "pids"}, {"blkio", "io"}}
}

// Cgroup is whether there are control groups with the controllers that limits
// need, and where.
func Cgroup() Fact { return cgroupFact(ReadCgroupLayout()) }

func cgroupFact(l CgroupLayout) Fact {
	f := Fact{Name: "cgroup", Value: l.Version}
	if l.Version == "none" {
		f.Reason, f.Remedy = "no control groups are mounted", "as root: mount -t cgroup2 none /sys/fs/cgroup"
		return f
	}
	var where, missing []string
	for _, c := range wantedControllers() {
		switch {
		case hasName(strings.Join(l.Controllers, ","), c[1]):
			where = append(where, c[1]+"@v2")
		case l.v1Of(c[0]) != nil:
			where = append(where, c[0]+"@v1")
		default:
			missing = append(missing, c[1])
		}
	}
	f.Have = len(where) > 0
	if len(where) > 0 {
		f.Value += " (" + strings.Join(where, " ") + ")"
	}
	if len(missing) > 0 {
		f.Reason = "no controller here for " + strings.Join(missing, ", ")
		f.Remedy = "check /proc/cgroups and the kernel's command line (cgroup_disable=); on v2, whether the groups above hand them on in cgroup.subtree_control"
	}
	return f
}

func (l *CgroupLayout) v1Of(controller string) *CgroupV1 {
	for i := range l.V1 {
		if hasName(strings.Join(l.V1[i].Controllers, ","), controller) {
			return &l.V1[i]
		}
	}
	return nil
}

// CgroupDelegation is whether this user may make groups below its own.
func CgroupDelegation() Fact {
	f := Fact{Name: "cgroup delegation"}
	l := ReadCgroupLayout()
	if l.Version == "none" {
		f.Reason, f.Remedy = "no control groups are mounted", "see cgroup"
		return f
	}
	var may, mayNot []string
	if len(l.Controllers) > 0 {
		sortWritable("v2", l.Own, &may, &mayNot)
	}
	for _, c := range wantedControllers() {
		if h := l.v1Of(c[0]); h != nil {
			sortWritable(c[0], h.Own, &may, &mayNot)
		}
	}
	f.Have, f.Value = len(may) > 0, strings.Join(may, " ")
	if len(mayNot) > 0 {
		f.Reason = "not writable for this user: " + strings.Join(mayNot, " ")
		f.Remedy = delegationRemedy(l)
	}
	return f
}

func sortWritable(name, dir string, may, mayNot *[]string) {
	if dir != "" && unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK, unix.AT_EACCESS) == nil {
		*may = append(*may, name)
		return
	}
	*mayNot = append(*mayNot, name)
}

func delegationRemedy(l CgroupLayout) string {
	if _, err := os.Stat("/run/systemd/system"); err == nil && l.Version == "v2" {
		return "hutch asks systemd for a delegated scope; by hand: systemd-run --user --scope -p Delegate=yes hutch …"
	}
	return fmt.Sprintf("as root, in each hierarchy: mkdir hutch; chown -R %d hutch; and put the shell that starts hutch into it: echo PID >hutch/cgroup.procs", os.Geteuid())
}
