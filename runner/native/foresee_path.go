package native

import (
	"slices"

	"golang.org/x/sys/unix"
)

// An intent is what a call does to a path.
type intent byte

const (
	opens    intent = iota
	looks           // asks about it, or goes there
	creates         // a new name
	removes         // a name
	changes         // what is said of a file
	truncate        // its length
)

// A pathCall is a call's use of a path.
type pathCall struct {
	intent    intent
	directory int32
	address   uint64 // of the path
	flags     uint64 // of open, and of renameat2
	nofollow  bool
	writable  bool   // asks whether it may be written to
	exists    string // of a link: what it is to; "?" if nobody knows
	same      string // of a rename: the new name; "?" as above
	right     uint64 // of Landlock's, for a name
	device    bool   // makes one
}

// openedBy is what is opened by a call's arguments, "" for a call that opens
// nothing.
func (c *pathCall) openedBy(p *process, name string, a [6]uint64) bool {
	switch name {
	case "open":
		c.directory, c.address, c.flags = unix.AT_FDCWD, a[0], a[1]
	case "creat":
		c.directory, c.address, c.flags = unix.AT_FDCWD, a[0], unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC
	case "openat":
		c.directory, c.address, c.flags = int32(a[0]), a[1], a[2]
	case "openat2":
		how := memory(p.pid)(a[2], 24)
		if len(how) < 24 || word64(how[16:]) != 0 { // it resolves in a way of its own
			return false
		}
		c.directory, c.address, c.flags = int32(a[0]), a[1], word64(how)
	default:
		return false
	}
	c.intent, c.nofollow = opens, c.flags&unix.O_NOFOLLOW != 0
	return true
}

// A pathShape is where the arguments of a call have a path: the directory's
// descriptor, or -1, then the path, and the flags, or -1.
//
// To add a call: a row of shapeOf.
type pathShape struct {
	intent          intent
	dir, path, flag int
	nofollow        bool
}

func shapeOf(name string) (s pathShape, ok bool) {
	switch name {
	case "stat", "readlink", "access", "chdir":
		s = pathShape{intent: looks, dir: -1, flag: -1, nofollow: name == "readlink"}
	case "lstat":
		s = pathShape{intent: looks, dir: -1, flag: -1, nofollow: true}
	case "newfstatat", "faccessat2":
		s = pathShape{intent: looks, path: 1, flag: 3}
	case "statx":
		s = pathShape{intent: looks, path: 1, flag: 2}
	case "faccessat", "readlinkat":
		s = pathShape{intent: looks, path: 1, flag: -1, nofollow: name == "readlinkat"}
	case "truncate":
		s = pathShape{intent: truncate, dir: -1, flag: -1}
	case "mkdir", "mknod":
		s = pathShape{intent: creates, dir: -1, flag: -1}
	case "mkdirat", "mknodat":
		s = pathShape{intent: creates, path: 1, flag: -1}
	case "symlink", "link":
		s = pathShape{intent: creates, dir: -1, path: 1, flag: -1}
	case "symlinkat":
		s = pathShape{intent: creates, dir: 1, path: 2, flag: -1}
	case "linkat":
		s = pathShape{intent: creates, dir: 2, path: 3, flag: 4}
	case "unlink", "rmdir", "rename":
		s = pathShape{intent: removes, dir: -1, flag: -1}
	case "unlinkat", "renameat", "renameat2":
		s = pathShape{intent: removes, path: 1, flag: -1}
	case "chmod", "chown", "lchown", "utime", "utimes":
		s = pathShape{intent: changes, dir: -1, flag: -1, nofollow: name == "lchown"}
	case "fchmodat":
		s = pathShape{intent: changes, path: 1, flag: -1}
	case "fchmodat2", "utimensat":
		s = pathShape{intent: changes, path: 1, flag: 3}
	case "fchownat":
		s = pathShape{intent: changes, path: 1, flag: 4}
	default:
		return s, false
	}
	return s, true
}

// pathCallOf says what a call does to a path; false for none, or for one that
// has an answer of its own.
func pathCallOf(p *process, name string, a [6]uint64) (c pathCall, ok bool) {
	if c.openedBy(p, name, a) {
		c.right = rightOf(name, a)
		return c, true
	}
	s, ok := shapeOf(name)
	if !ok {
		return c, false
	}
	c = pathCall{intent: s.intent, directory: unix.AT_FDCWD, address: a[s.path], nofollow: s.nofollow, right: rightOf(name, a)}
	if s.dir >= 0 {
		c.directory = int32(a[s.dir])
	}
	flags := uint64(0)
	if s.flag >= 0 {
		flags = a[s.flag]
	}
	switch name {
	case "access", "faccessat", "faccessat2":
		c.writable = a[s.path+1]&2 != 0
		flags &^= unix.AT_EACCESS
	case "mknod", "mknodat":
		mode := a[s.path+1]
		c.device = mode&unix.S_IFMT == unix.S_IFCHR && a[s.path+2] != 0 || mode&unix.S_IFMT == unix.S_IFBLK
		return c, nodeKind(mode)
	case "link":
		c.exists = known(p.path(unix.AT_FDCWD, a[0]))
	case "linkat":
		c.exists = known(p.path(int32(a[0]), a[1]))
	case "rename":
		c.same = known(p.path(unix.AT_FDCWD, a[1]))
	case "renameat", "renameat2":
		c.same = known(p.path(int32(a[2]), a[3]))
		if name == "renameat2" {
			c.flags = a[4]
			return c, c.flags == 0 || c.flags == unix.RENAME_NOREPLACE || c.flags == unix.RENAME_EXCHANGE
		}
	case "unlinkat":
		return c, a[2]&^unix.AT_REMOVEDIR == 0
	}
	if s.intent == changes || s.intent == looks {
		c.nofollow = c.nofollow || flags&unix.AT_SYMLINK_NOFOLLOW != 0
		flags &^= unix.AT_SYMLINK_NOFOLLOW
		if s.intent == looks { // how fresh statx wants it, and mounts to be made
			flags &^= statxSync | unix.AT_NO_AUTOMOUNT
		}
	}
	return c, flags == 0
}

// statxSync is AT_STATX_SYNC_TYPE.
const statxSync = 0x6000

// known keeps "cannot be told" apart from "not asked for".
func known(name string) string {
	if name == "" {
		return "?"
	}
	return name
}

// nodeKind says whether mknod(2) makes that kind at all.
func nodeKind(mode uint64) bool {
	return slices.Contains([]uint64{0, unix.S_IFREG, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK}, mode&unix.S_IFMT)
}

// openMode is what open asks of a file's mode.
func openMode(flags uint64) uint16 {
	mode := uint16(4)
	switch flags & unix.O_ACCMODE {
	case unix.O_RDWR:
		mode = 6
	case unix.O_WRONLY:
		mode = 2
	}
	if flags&unix.O_TRUNC != 0 {
		mode |= 2
	}
	return mode
}
