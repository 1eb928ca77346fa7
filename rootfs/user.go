package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// A User is who an application runs as, in the ids of the root.
type User struct {
	UID, GID uint32
	Groups   []uint32 // supplementary groups, without GID
	Name     string   // empty when the root does not know the uid
	Home     string   // "/" when the root does not know it
}

// accountsMax bounds /etc/passwd and /etc/group (podman CVE-2024-9676: an
// image whose passwd has no end).
const accountsMax = 4 << 20

// LookupUser finds spec in the root's own /etc/passwd and /etc/group. spec is
// "name", "uid", "name:group" or "uid:gid"; empty means root.
//
// A part that is all digits is a number and never a name: an image whose
// passwd holds a user called "1000" with uid 0 must not make that root (runc
// CVE-2016-3697). A numeric user or group need not exist; an unknown uid has
// group 0, as in an image's configuration.
func LookupUser(v View, spec string) (User, error) {
	if spec == "" {
		spec = "0"
	}
	name, group, hasGroup := strings.Cut(spec, ":")
	if err := checkPart(spec, "user", name); err != nil {
		return User{}, err
	}
	if hasGroup {
		if err := checkPart(spec, "group", group); err != nil {
			return User{}, err
		}
	}
	u, err := lookupPasswd(v, spec, name)
	if err != nil {
		return User{}, err
	}
	return withGroups(v, spec, u, group)
}

func checkPart(spec, what, part string) error {
	switch {
	case part == "":
		return fmt.Errorf("user %q: the %s is empty; write NAME, UID, NAME:GROUP or UID:GID", spec, what)
	case len(part) > 256:
		return fmt.Errorf("user %s: the %s is longer than 256 bytes", quote(spec), what)
	case strings.ContainsFunc(part, func(r rune) bool { return r <= ' ' || r == 0x7f || r == ':' || r == '/' || r == ',' }):
		return fmt.Errorf("user %q: a %s holds no spaces, control characters, colons, commas or slashes", spec, what)
	case part[0] == '-' || part[0] == '+':
		return fmt.Errorf("user %q: a %s cannot begin with %q", spec, what, part[:1])
	}
	return nil
}

// id reads a part that is all digits. 4294967295 is (uid_t)-1, which the
// system calls take for "leave as it is".
func id(spec, what, part string) (n uint32, numeric bool, err error) {
	if part == "" || strings.Trim(part, "0123456789") != "" {
		return 0, false, nil
	}
	v, err := strconv.ParseUint(part, 10, 32)
	if err != nil || v == 1<<32-1 {
		return 0, true, fmt.Errorf("user %q: %s %s is out of range; the largest is 4294967294", spec, what, part)
	}
	return uint32(v), true, nil
}

func lookupPasswd(v View, spec, name string) (User, error) {
	uid, numeric, err := id(spec, "uid", name)
	if err != nil {
		return User{}, err
	}
	u := User{UID: uid, Home: "/"}
	data, err := v.ReadFile("/etc/passwd", accountsMax)
	if err != nil {
		if numeric && errors.Is(err, fs.ErrNotExist) {
			return u, nil
		}
		return User{}, fmt.Errorf("user %q: cannot be looked up in the root: %w; give a numeric user", spec, unlessNumeric(err))
	}
	for line := range strings.Lines(string(data)) {
		// name:password:uid:gid:gecos:home:shell, passwd(5)
		f := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(f) < 6 {
			continue
		}
		lineUID, err1 := strconv.ParseUint(f[2], 10, 32)
		lineGID, err2 := strconv.ParseUint(f[3], 10, 32)
		if err1 != nil || err2 != nil || lineUID == 1<<32-1 || lineGID == 1<<32-1 {
			continue
		}
		if numeric && uint32(lineUID) != uid || !numeric && f[0] != name {
			continue
		}
		u = User{UID: uint32(lineUID), GID: uint32(lineGID), Name: f[0], Home: f[5]}
		if !strings.HasPrefix(u.Home, "/") || strings.IndexByte(u.Home, 0) >= 0 {
			u.Home = "/"
		}
		return u, nil
	}
	if !numeric {
		return User{}, fmt.Errorf("user %q: the root's /etc/passwd has no user %q; give a user that it has, or a number", spec, name)
	}
	return u, nil
}

// unlessNumeric is here so that a missing file reads as one sentence.
func unlessNumeric(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("it has no /etc/passwd")
	}
	return err
}

// withGroups adds the primary group, if one was asked for, or the groups that
// list the user as a member. A group that was asked for replaces them all.
func withGroups(v View, spec string, u User, group string) (User, error) {
	gid, numeric, err := id(spec, "gid", group)
	if err != nil {
		return User{}, err
	}
	if group != "" && numeric {
		u.GID = gid
		return u, nil
	}
	if group == "" && u.Name == "" {
		return u, nil
	}
	data, err := v.ReadFile("/etc/group", accountsMax)
	if err != nil {
		if group == "" && errors.Is(err, fs.ErrNotExist) {
			return u, nil
		}
		return User{}, fmt.Errorf("user %q: groups cannot be looked up in the root: %w; give UID:GID", spec, err)
	}
	for line := range strings.Lines(string(data)) {
		// name:password:gid:member,member, group(5)
		f := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(f) < 4 {
			continue
		}
		n, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil || n == 1<<32-1 {
			continue
		}
		if group != "" {
			if f[0] == group {
				u.GID = uint32(n)
				return u, nil
			}
			continue
		}
		if uint32(n) != u.GID && memberOf(f[3], u.Name) && !hasID(u.Groups, uint32(n)) {
			u.Groups = append(u.Groups, uint32(n))
		}
	}
	if group != "" {
		return User{}, fmt.Errorf("user %q: the root's /etc/group has no group %q; give a group that it has, or a number", spec, group)
	}
	if len(u.Groups) > 65536 { // NGROUPS_MAX
		return User{}, fmt.Errorf("user %q: is in %d groups, more than setgroups(2) takes; give UID:GID", spec, len(u.Groups))
	}
	return u, nil
}

func memberOf(list, name string) bool {
	for m := range strings.SplitSeq(list, ",") {
		if m == name {
			return true
		}
	}
	return false
}

func hasID(ids []uint32, id uint32) bool {
	for _, g := range ids {
		if g == id {
			return true
		}
	}
	return false
}
