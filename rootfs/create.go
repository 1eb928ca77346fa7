package rootfs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// node makes anything but a regular file. Every case ends in one call on a
// descriptor and a single name, so no link can divert it.
func (u *unpacker) node(p string, h *header) error {
	if h.kind == typeDir {
		return u.directory(p, h)
	}
	if p == "" {
		return fmt.Errorf("%w: the root of the archive is not a directory", errHeader)
	}
	parentPath, name := split(p)
	parent, err := u.dir(parentPath, true)
	if err != nil {
		return err
	}
	if u.isWhiteout(p) {
		return u.whiteout(parent, name)
	}
	switch h.kind {
	case typeSymlink:
		if h.link == "" || len(h.link) >= unix.PathMax {
			return fmt.Errorf("%w: a symbolic link to nothing, or to too much", errHeader)
		}
		err = u.place(parent, name, func() error { return unix.Symlinkat(h.link, parent.fd, name) })
		u.tree.special[place{parent, name}] = nil
	case typeLink:
		return u.hardlink(parent, name, h)
	case typeFIFO:
		err = u.place(parent, name, func() error { return unix.Mknodat(parent.fd, name, unix.S_IFIFO|0o600, 0) })
	case typeChar, typeBlock:
		return u.device(parent, name, h)
	default:
		return fmt.Errorf("%w: an entry of the unknown type %q", errHeader, h.kind)
	}
	if err != nil {
		return err
	}
	return u.owners.applyAt(parent.fd, name, h, &u.stats)
}

// place makes something at a name, in the stead of what was there before.
func (u *unpacker) place(dir *dirNode, name string, create func() error) error {
	if err := u.settle(dir, name); err != nil {
		return err
	}
	err := create()
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := u.remove(dir, name); err != nil {
		return err
	}
	return create()
}

// directory makes a directory, or describes one that is there. What else is
// there is replaced, a symbolic link to a directory too: the archive says
// that this name is a directory.
func (u *unpacker) directory(p string, h *header) error {
	if p == "" {
		u.tree.root.h = h
		return nil
	}
	parentPath, name := split(p)
	if err := u.roomForDir(); err != nil {
		return err
	}
	parent, err := u.dir(parentPath, true)
	if err != nil {
		return err
	}
	if u.isWhiteout(p) {
		return u.whiteout(parent, name)
	}
	n := u.tree.special[place{parent, name}]
	if n == nil {
		n, err = u.makeDir(parent, p, name)
		if errors.Is(err, unix.EEXIST) {
			var white bool
			if white, err = u.replaceForDir(parent, name); err == nil {
				if n, err = u.makeDir(parent, p, name); err == nil && white {
					err = u.opaque(n)
				}
			}
		}
		if err != nil {
			return err
		}
	}
	n.h = h
	if u.opt.kept {
		return u.keptOpaque(n)
	}
	return nil
}

// keptOpaque makes a directory opaque that says so by the attribute itself.
func (u *unpacker) keptOpaque(n *dirNode) error {
	is := func(x xattr) bool { return x.name == opaqueUser }
	if !slices.ContainsFunc(n.h.xattrs, is) {
		return nil
	}
	n.h.xattrs = slices.DeleteFunc(n.h.xattrs, is)
	return u.opaque(n)
}

// replaceForDir removes what is in a directory's place, and tells whether it
// was a whiteout.
func (u *unpacker) replaceForDir(parent *dirNode, name string) (white bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstatat(parent.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, err
	}
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0, u.remove(parent, name)
}

// hardlink links to what the archive made before. The target's parent is
// resolved like any other, and its last name is not followed.
func (u *unpacker) hardlink(parent *dirNode, name string, h *header) error {
	target, err := u.clean(h.link)
	if err != nil {
		return fmt.Errorf("link target %w", err)
	}
	if target == "" {
		return fmt.Errorf("%w: a hard link to the root", errHeader)
	}
	if err := u.barrier(); err != nil {
		return err
	}
	targetDir, targetName := split(target)
	from, err := u.dir(targetDir, false)
	if err != nil {
		return fmt.Errorf("link target %s: %w", quoteOdd(h.link), err)
	}
	if parent.fd < 0 { // closed to make room
		if err := u.reopen(parent); err != nil {
			return err
		}
	}
	var have, want unix.Stat_t
	if err := unix.Fstatat(from.fd, targetName, &want, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if errors.Is(err, unix.ENOENT) && u.stats.Devices > 0 {
			u.stats.Devices++ // a link to a device that was left out
			return nil
		}
		return fmt.Errorf("link target %s: %w", quoteOdd(h.link), err)
	}
	if want.Mode&unix.S_IFMT == unix.S_IFDIR {
		return fmt.Errorf("link target %s: is a directory", quoteOdd(h.link))
	}
	if unix.Fstatat(parent.fd, name, &have, unix.AT_SYMLINK_NOFOLLOW) == nil && have.Ino == want.Ino && have.Dev == want.Dev {
		return nil
	}
	err = unix.Linkat(from.fd, targetName, parent.fd, name, 0)
	if errors.Is(err, unix.EEXIST) {
		if err = u.remove(parent, name); err == nil {
			if from.fd < 0 {
				err = u.reopen(from)
			}
			if err == nil {
				err = unix.Linkat(from.fd, targetName, parent.fd, name, 0)
			}
		}
	}
	if err == nil && want.Mode&unix.S_IFMT == unix.S_IFLNK {
		u.tree.special[place{parent, name}] = nil
	}
	return err
}

// device makes a device node where the caller may; where not, it is left out
// and counted. The store's mounts are nodev all the same.
func (u *unpacker) device(parent *dirNode, name string, h *header) error {
	mode := uint32(unix.S_IFCHR)
	if h.kind == typeBlock {
		mode = unix.S_IFBLK
	}
	if u.opt.kept && isWhiteoutDevice(h) {
		return u.place(parent, name, func() error { return unix.Mknodat(parent.fd, name, unix.S_IFCHR, 0) })
	}
	if !u.owners.keep || u.opt.kept {
		u.stats.Devices++
		return nil
	}
	if isWhiteoutDevice(h) {
		// It would be a whiteout to overlayfs, and hide what is below.
		u.stats.Devices++
		return nil
	}
	err := u.place(parent, name, func() error {
		return unix.Mknodat(parent.fd, name, mode|0o600, int(unix.Mkdev(h.major, h.minor)))
	})
	if errors.Is(err, unix.EPERM) { // in a user namespace, mknod(2)
		u.stats.Devices++
		return nil
	}
	if err != nil {
		return err
	}
	return u.owners.applyAt(parent.fd, name, h, &u.stats)
}

func isWhiteoutDevice(h *header) bool { return h.kind == typeChar && h.major == 0 && h.minor == 0 }

const whiteoutPrefix = ".wh."

func (u *unpacker) isWhiteout(p string) bool {
	if u.opt.Whiteouts == WhiteoutsNone {
		return false
	}
	_, name := split(p)
	return strings.HasPrefix(name, whiteoutPrefix)
}

// whiteout hides a name of the layers below, or all of a directory's. Within
// one layer what the layer itself holds wins, whichever comes first (OCI image
// specification, layer.md).
func (u *unpacker) whiteout(parent *dirNode, name string) error {
	if name == ".wh..wh..opq" {
		return u.opaque(parent)
	}
	hidden := name[len(whiteoutPrefix):]
	switch {
	case strings.HasPrefix(hidden, whiteoutPrefix):
		return nil // aufs's own records, such as .wh..wh.plnk
	case hidden == "" || hidden == "." || hidden == "..":
		return fmt.Errorf("%w: a whiteout of %q", errHeader, hidden)
	}
	if err := u.barrier(); err != nil {
		return err
	}
	err := unix.Mknodat(parent.fd, hidden, unix.S_IFCHR, 0)
	if errors.Is(err, unix.EEXIST) {
		if n := u.tree.special[place{parent, hidden}]; n != nil {
			return u.opaque(n)
		}
		return nil
	}
	return err
}

// The attributes of an opaque directory, overlayfs.rst. A box mounts its
// overlay inside its user namespace, for root too, and there only user.* counts
// (userxattr); trusted.* is set besides where that is allowed, so that the tree
// is also a layer for whoever mounts it outside.
const (
	opaqueUser    = "user.overlay.opaque"
	opaqueTrusted = "trusted.overlay.opaque"
)

func (u *unpacker) opaque(n *dirNode) error {
	if n.fd < 0 {
		if err := u.reopen(n); err != nil {
			return err
		}
	}
	if err := unix.Fsetxattr(n.fd, opaqueUser, []byte("y"), 0); err != nil {
		return fmt.Errorf("%s: %w; the store's file system must keep this attribute", opaqueUser, err)
	}
	if u.owners.keep && !u.owners.kept { // in a keep it would be copied up as any other
		_ = unix.Fsetxattr(n.fd, opaqueTrusted, []byte("y"), 0) // EPERM to root of a user namespace
	}
	return nil
}

// file hands a regular file to the writers. Its data stays where it was
// decompressed, and is written from there.
func (u *unpacker) file(p string, h *header) error {
	parentPath, name := split(p)
	parent, err := u.dir(parentPath, true)
	if err != nil {
		return err
	}
	at := place{parent, name}
	if err := u.settle(parent, name); err != nil {
		return err
	}
	if _, special := u.tree.special[at]; special {
		if err := u.remove(parent, name); err != nil {
			return err
		}
	}
	if len(u.busy) >= busyMost {
		if err := u.barrier(); err != nil {
			return err
		}
	}
	u.busy[at] = struct{}{}

	const early = 8 // chunks that are gathered before the file is begun
	job := &fileJob{dir: parent.fd, name: name, h: h}
	left := h.size
	for left > 0 && len(job.segs) < early {
		s, err := u.segment(left)
		if err != nil {
			job.drop()
			return err
		}
		job.segs = append(job.segs, s)
		left -= int64(len(s.b))
	}
	if left == 0 {
		u.crew.give(job)
		return nil
	}
	job.more = make(chan segment, 4)
	defer close(job.more)
	u.crew.give(job)
	for left > 0 {
		s, err := u.segment(left)
		if err != nil {
			return err
		}
		job.more <- s // the writer takes all, even after an error
		left -= int64(len(s.b))
	}
	return nil
}

func (u *unpacker) segment(left int64) (segment, error) {
	b, err := u.in.take(left)
	if err != nil {
		return segment{}, err
	}
	u.in.cur.refs.Add(1)
	return segment{u.in.cur, b}, nil
}
