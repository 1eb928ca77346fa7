package native

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/host"
	"hutch/runner/plan"
)

// ids says how the box's ids are mapped to the host's, user_namespaces(7).
type ids struct {
	uid, gid []plan.IDMap
	// privileged: hutch may mount, and map any id.
	privileged bool
	// same: a box's ids are the machine's.
	same bool
	// setgroups: setgroups(2) is allowed inside. Without privilege it is only
	// where newgidmap, which is trusted with the decision, wrote the map.
	setgroups bool
	// newuidmap and newgidmap write the maps where hutch itself may not.
	newuidmap, newgidmap string
}

const rangeSize = 65536

// mapIDs chooses the map. As root: a subordinate range, so that root inside
// is nobody outside. As another user: the caller's one id, or with the help
// of newuidmap a whole range.
func mapIDs(s *runner.Spec) (ids, error) {
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	if uid == 0 && mayMapAny() {
		base, count := host.RootRange()
		if s.IDMap == runner.IDMapSingle {
			count = 1
		}
		m := []plan.IDMap{{Inside: 0, Outside: base, Count: count}}
		return ids{uid: m, gid: m, privileged: true, setgroups: true}, nil
	}
	single := ids{
		uid: []plan.IDMap{{Inside: insideID(s, uid), Outside: uid, Count: 1}},
		gid: []plan.IDMap{{Inside: insideID(s, gid), Outside: gid, Count: 1}},
	}
	if s.IDMap == runner.IDMapSingle || (s.IDMap == runner.IDMapAuto && s.Root.Kind == runner.RootHost) {
		return single, nil
	}
	ranged, err := subordinate(uid, gid)
	if err == nil {
		return ranged, nil
	}
	if s.IDMap == runner.IDMapRange {
		return ids{}, err
	}
	return single, nil
}

// insideID is who the caller is inside: root in an image, itself on the host.
func insideID(s *runner.Spec, outside uint32) uint32 {
	if s.Root.Kind == runner.RootHost {
		return outside
	}
	return 0
}

// mayMapAny says whether this process may map ids that are not its own, and
// mount: it is root, and not in a user namespace that lacks the range.
func mayMapAny() bool {
	var header unix.CapUserHeader
	var data [2]unix.CapUserData
	header.Version = unix.LINUX_CAPABILITY_VERSION_3
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	const need = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	if data[0].Effective&need != need {
		return false
	}
	f := strings.Fields(readFile("/proc/self/uid_map"))
	return len(f) == 3 && f[0] == "0" && f[1] == "0" && f[2] == "4294967295"
}

// subordinate maps 0 to the caller and 1… to its ranges in /etc/subuid and
// /etc/subgid.
func subordinate(uid, gid uint32) (ids, error) {
	fail := func(step string, err error, hint string) (ids, error) {
		return ids{}, &runner.Error{Stage: runner.StageStart, Step: step, Err: err, Hint: hint}
	}
	newuidmap, newgidmap, err := host.NewIDMap()
	if err != nil {
		return fail("map a range of ids", err, "install uidmap (newuidmap, newgidmap), or use --id-map single")
	}
	name := host.UserName(uid)
	m := ids{setgroups: true, newuidmap: newuidmap, newgidmap: newgidmap}
	for _, t := range []struct {
		file string
		own  uint32
		to   *[]plan.IDMap
	}{{"/etc/subuid", uid, &m.uid}, {"/etc/subgid", gid, &m.gid}} {
		ranges, err := host.SubordinateIDs(t.file, name, uid)
		if err == nil && len(ranges) == 0 {
			err = fmt.Errorf("%s has no range for %s", t.file, name)
		}
		if err != nil {
			return fail("map a range of ids", err, fmt.Sprintf("as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s, or use --id-map single", name))
		}
		*t.to = spread(t.own, ranges)
	}
	return m, nil
}

// spread lays the ranges behind the caller's own id.
func spread(own uint32, ranges []host.IDRange) []plan.IDMap {
	out := []plan.IDMap{{Inside: 0, Outside: own, Count: 1}}
	next := uint32(1)
	for _, r := range ranges {
		n := min(r.Count, rangeSize-next)
		if n == 0 {
			break
		}
		out = append(out, plan.IDMap{Inside: next, Outside: r.Outside, Count: n})
		next += n
	}
	return out
}

// maps says whether id is mapped.
func maps(m []plan.IDMap, id uint32) bool {
	for _, r := range m {
		if id >= r.Inside && id-r.Inside < r.Count {
			return true
		}
	}
	return false
}

// write gives the process pid its maps.
func (m *ids) write(pid int) error {
	if err := ownProc(); err != nil {
		return err
	}
	if m.newuidmap != "" {
		return m.helpers(pid)
	}
	if !m.setgroups {
		// The kernel wants this before an unprivileged gid_map: a group that
		// denies access could otherwise be dropped (CVE-2014-8989).
		if err := writeMap(pid, "setgroups", []byte("deny")); err != nil {
			return err
		}
	}
	if err := writeMap(pid, "uid_map", lines(m.uid)); err != nil {
		return err
	}
	return writeMap(pid, "gid_map", lines(m.gid))
}

// ownProc is an error where /proc numbers processes as another pid namespace
// does: pid would be some stranger there.
func ownProc() error {
	self, err := os.Readlink("/proc/self")
	if err == nil && self != strconv.Itoa(os.Getpid()) {
		err = fmt.Errorf("is that of another pid namespace, where hutch is process %s and not %d", self, os.Getpid())
	}
	if err == nil {
		return nil
	}
	return &runner.Error{
		Stage: runner.StageStart, Step: "map the box's ids: /proc", Err: err,
		Hint: "hutch needs the /proc of its own pid namespace: mount -t proc proc /proc (unshare --mount-proc)",
	}
}

func lines(m []plan.IDMap) []byte {
	var b []byte
	for _, r := range m {
		b = fmt.Appendf(b, "%d %d %d\n", r.Inside, r.Outside, r.Count)
	}
	return b
}

func writeMap(pid int, file string, data []byte) error {
	name := "/proc/" + strconv.Itoa(pid) + "/" + file
	err := writeFile(name, data)
	if err == nil {
		return nil
	}
	reason, remedy := host.ExplainUserNamespace(err)
	if reason != "" {
		err = fmt.Errorf("%w: %s", err, reason)
	}
	return &runner.Error{Stage: runner.StageStart, Step: "map the box's ids: write " + file, Err: err, Hint: remedy}
}

// helpers runs newuidmap(1) and newgidmap(1) side by side.
func (m *ids) helpers(pid int) error {
	var cmds [2]*exec.Cmd
	var outs [2]strings.Builder
	for i, h := range []struct {
		path string
		m    []plan.IDMap
	}{{m.newuidmap, m.uid}, {m.newgidmap, m.gid}} {
		args := []string{strconv.Itoa(pid)}
		for _, r := range h.m {
			args = append(args, fmt.Sprint(r.Inside), fmt.Sprint(r.Outside), fmt.Sprint(r.Count))
		}
		cmds[i] = exec.Command(h.path, args...)
		cmds[i].Env = []string{}
		cmds[i].Stderr = &outs[i]
		if err := cmds[i].Start(); err != nil {
			return helperError(h.path, err, "")
		}
	}
	var failed error
	for i, c := range cmds {
		if err := c.Wait(); err != nil && failed == nil {
			failed = helperError(c.Path, err, outs[i].String())
		}
	}
	return failed
}

func helperError(path string, err error, said string) error {
	if said = strings.TrimSpace(said); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	hint := "check your lines in /etc/subuid and /etc/subgid, or use --id-map single"
	if host.Traced() {
		hint = "who traces hutch, strace -f or a debugger, takes the privilege of such programs away: trace it as root, or use --id-map single"
	}
	return &runner.Error{
		Stage: runner.StageStart, Step: "map the box's ids: " + path, Err: err,
		Hint: hint,
	}
}
