package erofs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// xattrHeader is what stands before the first attribute of an inode.
const xattrHeader = 12

// allXattrs bounds what all files of an image have in all: they are in memory
// until it is written, and an archive can ask for any number.
const allXattrs = 64 << 20

// maxXattrs is what the inode's 16-bit count of words leaves room for.
const maxXattrs = xattrHeader + 4*(1<<16-2)

// xattrNames are the attributes that are kept. Others belong to the host: its
// labels, its measurements.
//
// To add one: the beginning of its name that the format has a number for, the
// number from erofs_fs.h, and the rest, where only one name is meant.
var xattrNames = [...]struct {
	prefix string
	index  byte
	rest   string // "*" for anything
}{
	{"user.", 1, "*"},
	{"system.posix_acl_access", 2, ""},
	{"system.posix_acl_default", 3, ""},
	{"trusted.", 4, "*"},
	{"security.", 6, "capability"},
}

// readXattrs encodes the attributes of n, or nothing if it has none. Neither
// a link nor a device is opened for it.
func (t *Tree) readXattrs(n *node) ([]byte, error) {
	parent := n.parent
	name := n.name
	if parent == nil {
		parent, name = n, "."
	}
	if err := t.enter(parent); err != nil {
		return nil, err
	}
	path := t.at + name
	names, err := listXattrs(path)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	b := make([]byte, xattrHeader)
	for _, name := range names {
		if b, err = appendXattr(b, path, name); err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	if len(b) == xattrHeader {
		return nil, nil
	}
	if len(b) > maxXattrs {
		return nil, fmt.Errorf("%d bytes of extended attributes: an image has room for %d", len(b), maxXattrs)
	}
	return b, nil
}

// enter keeps dir open, for the names in it come one after the other.
func (t *Tree) enter(dir *node) error {
	if t.in == dir {
		return nil
	}
	t.leave()
	fd, err := t.open(dir, unix.O_DIRECTORY|unix.O_PATH)
	if err != nil {
		return err
	}
	t.in, t.inFD, t.at = dir, fd, "/proc/self/fd/"+strconv.Itoa(fd)+"/"
	return nil
}

func (t *Tree) leave() {
	if t.in != nil {
		unix.Close(t.inFD)
		t.in = nil
	}
}

func listXattrs(path string) ([]string, error) {
	buf := make([]byte, 1024)
	for {
		n, err := unix.Llistxattr(path, buf)
		if errors.Is(err, unix.ERANGE) && len(buf) < 1<<20 {
			buf = make([]byte, 4*len(buf))
			continue
		}
		// A file system without attributes, or a file that is hidden from us.
		if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EACCES) || n == 0 {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
		sort.Strings(names)
		return names, nil
	}
}

// appendXattr appends an entry: lengths, number of the prefix, name, value.
func appendXattr(b []byte, path, name string) ([]byte, error) {
	for _, p := range xattrNames {
		rest, ok := strings.CutPrefix(name, p.prefix)
		if !ok || p.rest != "*" && rest != p.rest {
			continue
		}
		value := make([]byte, 1<<16) // XATTR_SIZE_MAX
		n, err := unix.Lgetxattr(path, name, value)
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			return b, nil // none of the caller's
		}
		if err != nil {
			return b, err
		}
		if n > 1<<16-1 {
			return b, fmt.Errorf("%d bytes: an image has room for 65535", n)
		}
		b = append(b, byte(len(rest)), p.index)
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
		b = append(append(b, rest...), value[:n]...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
		return b, nil
	}
	return b, nil
}

// ownACLs gives the users and groups that access control lists name their ids
// inside. The format is the kernel's, include/uapi/linux/posix_acl_xattr.h:
// a version, then tag, permissions and id of each entry.
func ownACLs(xattrs []byte, owner func(uid, gid uint32) (uint32, uint32)) {
	const user, group = 0x02, 0x08
	le := binary.LittleEndian
	if len(xattrs) == 0 {
		return
	}
	for b := xattrs[xattrHeader:]; len(b) >= 4; {
		name, index, size := int(b[0]), b[1], int(le.Uint16(b[2:]))
		if index == 2 || index == 3 {
			for e := b[4+name : 4+name+size]; len(e) >= 12; e = e[8:] {
				id := e[8:12]
				switch uid, gid := owner(le.Uint32(id), le.Uint32(id)); le.Uint16(e[4:]) {
				case user:
					le.PutUint32(id, uid)
				case group:
					le.PutUint32(id, gid)
				}
			}
		}
		b = b[min(len(b), int(alignUp(int64(4+name+size), 4))):]
	}
}
