package rootfs

import (
	"encoding/binary"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// Which attributes are taken from an archive. trusted.* and overlayfs's own
// would change how the layers are stacked, other security.* belongs to the
// host's policy; these are left out and counted, like those that the caller
// may not set or the file system does not keep.
func wantedXattr(name string) (user, other bool) {
	switch {
	case strings.HasPrefix(name, "user.overlay."):
		return false, false
	case strings.HasPrefix(name, "user."):
		return true, false
	}
	return false, name == "security.capability" || name == aclAccess || name == aclDefault
}

// setUserXattrs comes before the final mode, which may forbid it to its owner.
func setUserXattrs(fd int, h *header, st *Stats) {
	for _, x := range h.xattrs {
		if user, other := wantedXattr(x.name); user {
			if unix.Fsetxattr(fd, x.name, []byte(x.value), 0) != nil {
				st.leftOut(x.name)
			}
		} else if !other {
			st.leftOut(x.name)
		}
	}
}

// setOtherXattrs comes after owner and mode: a change of owner drops file
// capabilities, and an ACL's mask is what chmod changes.
func setOtherXattrs(fd int, h *header, st *Stats) {
	for _, x := range h.xattrs {
		if _, other := wantedXattr(x.name); !other {
			continue
		}
		value := []byte(x.value)
		if x.name != "security.capability" {
			value = aclValue(x.value)
		}
		if value == nil || unix.Fsetxattr(fd, x.name, value, 0) != nil {
			st.leftOut(x.name)
		}
	}
}

// aclValue gives the kernel's form, acl(5) and linux/posix_acl_xattr.h, of an
// access list that is that already or is text: "user::rwx,user:7:r-x,…". A
// name can only be taken if the number stands behind it, as star writes; nil
// means that it cannot be done.
func aclValue(s string) []byte {
	if strings.HasPrefix(s, "\x02\x00\x00\x00") {
		return []byte(s)
	}
	type ace struct {
		tag, perm uint16
		id        uint32
	}
	var list []ace
	for _, line := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '\n' }) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) == 1 && f[0] == "" {
			continue
		}
		if len(f) < 3 || len(list) >= 1000 {
			return nil
		}
		e := ace{tag: aclTag(f[0], f[1] != ""), id: 0xffffffff}
		if e.tag == 0 {
			return nil
		}
		if f[1] != "" {
			n, err := strconv.ParseUint(f[1], 10, 32)
			if err != nil && len(f) > 3 {
				n, err = strconv.ParseUint(f[3], 10, 32)
			}
			if err != nil {
				return nil
			}
			e.id = uint32(n)
		}
		for _, c := range f[2] {
			switch c {
			case 'r':
				e.perm |= 4
			case 'w':
				e.perm |= 2
			case 'x':
				e.perm |= 1
			case '-':
			default:
				return nil
			}
		}
		list = append(list, e)
	}
	sort.SliceStable(list, func(i, j int) bool {
		return list[i].tag < list[j].tag || list[i].tag == list[j].tag && list[i].id < list[j].id
	})
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range list {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

func aclTag(word string, named bool) uint16 {
	switch {
	case word == "user" && !named:
		return 0x01
	case word == "user":
		return 0x02
	case word == "group" && !named:
		return 0x04
	case word == "group":
		return 0x08
	case word == "mask" && !named:
		return 0x10
	case word == "other" && !named:
		return 0x20
	}
	return 0
}
