package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// An IDRange maps Count ids from Inside on to those from Outside on, as in a
// line of uid_map (user_namespaces(7)).
type IDRange struct{ Inside, Outside, Count uint32 }

// The range for boxes of root where /etc/subuid gives none: 65536 ids that
// systemd's table of uid ranges (systemd.io/UIDS-GIDS) leaves unused: its
// containers end at 0x6FFFFFFF, and from 0x80000000 on ids look negative.
const (
	rootBase  = 0x70000000
	rootCount = 0x10000
)

// SubordinateIDs reads the ranges that a file such as /etc/subuid gives to a
// user (subuid(5): "owner:first:count", the owner by name or by number). They
// are laid one after the other from Inside 0 on. No line for the user is no
// error, and neither is a missing file: the answer is empty.
func SubordinateIDs(file, user string, uid uint32) ([]IDRange, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ranges, err := parseSubIDs(string(text), user, uid)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return ranges, nil
}

// parseSubIDs judges only the user's own lines: a mistake in another's is not
// this user's to mend.
func parseSubIDs(text, user string, uid uint32) ([]IDRange, error) {
	var out []IDRange
	var inside uint64
	line := 0
	for l := range strings.SplitSeq(text, "\n") {
		line++
		l = strings.TrimSpace(l)
		owner, rest, _ := strings.Cut(l, ":")
		if l == "" || l[0] == '#' || !(user != "" && owner == user) && owner != itoa(uid) {
			continue
		}
		r, err := parseSubID(rest)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if inside+uint64(r.Count) > 1<<32-1 {
			return nil, fmt.Errorf("line %d: the ranges of %s add up to more than 2^32-1 ids: remove some", line, owner)
		}
		r.Inside = uint32(inside)
		inside += uint64(r.Count)
		out = append(out, r)
	}
	return out, nil
}

func parseSubID(text string) (IDRange, error) {
	first, count, ok := strings.Cut(text, ":")
	if !ok {
		return IDRange{}, fmt.Errorf("%q is not FIRST:COUNT: write the line as user:100000:65536", text)
	}
	a, err := strconv.ParseUint(first, 10, 32)
	if err != nil {
		return IDRange{}, fmt.Errorf("%q is not an id below 2^32: write the line as user:100000:65536", first)
	}
	n, err := strconv.ParseUint(count, 10, 32)
	if err != nil || n == 0 {
		return IDRange{}, fmt.Errorf("%q is not a number of ids from 1 on: write the line as user:100000:65536", count)
	}
	if a+n > 1<<32-1 { // (uid_t)-1 means "no id"
		return IDRange{}, fmt.Errorf("the range %d:%d goes beyond the last id, %d: lower the count", a, n, uint32(1<<32-2))
	}
	return IDRange{Outside: uint32(a), Count: uint32(n)}, nil
}

// RootRange is the range of outside ids for boxes that root starts: the one
// that /etc/subuid gives to root, else to hutch, if the same one is in
// /etc/subgid, else 65536 ids from 0x70000000 on. One range serves both uids
// and gids.
func RootRange() (base, count uint32) {
	return rootRange(readSmall("/etc/subuid"), readSmall("/etc/subgid"))
}

func rootRange(subuid, subgid string) (base, count uint32) {
	for _, owner := range [...]struct {
		name string
		uid  uint32
	}{{"root", 0}, {"hutch", noUser}} {
		u, errU := parseSubIDs(subuid, owner.name, owner.uid)
		g, errG := parseSubIDs(subgid, owner.name, owner.uid)
		if errU == nil && errG == nil && len(u) > 0 && len(g) > 0 && u[0].Outside == g[0].Outside &&
			u[0].Outside > 0 && u[0].Count >= rootCount && g[0].Count >= rootCount {
			return u[0].Outside, min(u[0].Count, g[0].Count)
		}
	}
	return rootBase, rootCount
}

// noUser is a number that owns nothing: (uid_t)-1.
const noUser = 1<<32 - 1

// SubIDs is whether the calling user has subordinate uids and gids.
func SubIDs() Fact {
	f := Fact{Name: "subordinate ids"}
	uid := uint32(os.Geteuid())
	if uid == 0 {
		base, count := RootRange()
		f.Have, f.Value = true, itoa(base)+":"+itoa(count)
		return f
	}
	user := UserName(uid)
	u, err := SubordinateIDs("/etc/subuid", user, uid)
	if err == nil && len(u) > 0 {
		var g []IDRange
		if g, err = SubordinateIDs("/etc/subgid", user, uid); err == nil && len(g) > 0 {
			f.Have, f.Value = true, itoa(u[0].Outside)+":"+itoa(u[0].Count)
			return f
		}
	}
	f.Remedy = "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 " + cmpOr(user, itoa(uid)) +
		"; without it a box has a single id"
	if f.Reason = "/etc/subuid and /etc/subgid give this user no range"; err != nil {
		f.Reason = err.Error()
	}
	return f
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// UserName looks the name of a user up in /etc/passwd; "" when it has none
// there. It does without os/user, which would ask the C library.
func UserName(uid uint32) string {
	for line := range strings.SplitSeq(readSmall("/etc/passwd"), "\n") {
		if f := strings.SplitN(line, ":", 4); len(f) == 4 && f[2] == itoa(uid) {
			return f[0]
		}
	}
	return ""
}

// NewIDMap finds newuidmap(1) and newgidmap(1), which write maps of
// subordinate ids for an ordinary user. It looks once; the error says what
// they lack and what to do.
func NewIDMap() (newuidmap, newgidmap string, err error) {
	lookUpIDMap.Do(func() {
		if foundUID, errIDMap = idMapHelper("newuidmap", capSetUID); errIDMap == nil {
			foundGID, errIDMap = idMapHelper("newgidmap", capSetGID)
		}
	})
	if errIDMap != nil {
		return "", "", errIDMap
	}
	return foundUID, foundGID, nil
}

var (
	lookUpIDMap        sync.Once
	foundUID, foundGID string
	errIDMap           error
)

// Bits of the first word of a capability set (capabilities(7)).
const (
	capSetGID = 1 << 6
	capSetUID = 1 << 7
)

func idMapHelper(name string, need uint32) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", &Missing{name, "it is not installed", "as root: apt-get install uidmap (dnf: shadow-utils)"}
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", err
	}
	switch {
	case st.Mode&unix.S_ISUID != 0 && st.Uid == 0, fileCaps(path)&need != 0:
	default:
		return "", &Missing{path, "it is neither setuid root nor has the file capability it needs", "as root: chmod u+s " + path}
	}
	var fs unix.Statfs_t
	if unix.Statfs(path, &fs) == nil && fs.Flags&unix.ST_NOSUID != 0 {
		return "", &Missing{path, "it lies on a file system that is mounted nosuid", "as root: mount -o remount,suid its file system"}
	}
	if statusField(selfStatus(), "NoNewPrivs") == "1" {
		return "", &Missing{path, "this process has no_new_privs, so that setuid programs gain nothing", "start hutch outside of the sandbox or service that set it (systemd: NoNewPrivileges=no)"}
	}
	return path, nil
}

// A Missing says why a helper cannot be used.
type Missing struct{ Name, Reason, Remedy string }

func (m *Missing) Error() string { return m.Name + ": " + m.Reason + " (" + m.Remedy + ")" }

// Hint is the remedy, for those who print it apart.
func (m *Missing) Hint() string { return m.Remedy }

// fileCaps is the first word of a file's permitted capabilities, 0 without any.
// (struct vfs_cap_data: a magic word, then permitted and inheritable, little endian.)
func fileCaps(path string) uint32 {
	var buf [64]byte
	n, err := unix.Getxattr(path, "security.capability", buf[:])
	if err != nil {
		return 0
	}
	return parseFileCaps(buf[:n])
}

func parseFileCaps(b []byte) uint32 {
	if len(b) < 8 {
		return 0
	}
	return uint32(b[4]) | uint32(b[5])<<8 | uint32(b[6])<<16 | uint32(b[7])<<24
}

// Newuidmap is whether NewIDMap finds its helpers.
func Newuidmap() Fact {
	f := Fact{Name: "newuidmap"}
	path, _, err := NewIDMap()
	var m *Missing
	switch {
	case err == nil:
		f.Have, f.Value = true, path
	case errors.As(err, &m):
		f.Reason, f.Remedy = m.Name+": "+m.Reason, m.Remedy
	default:
		f.Reason, f.Remedy = err.Error(), "as root: apt-get install uidmap"
	}
	return f
}

// Traced says whether another process traces this one, ptrace(2).
func Traced() bool {
	tracer := statusField(selfStatus(), "TracerPid")
	return tracer != "" && tracer != "0"
}
