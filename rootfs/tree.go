package rootfs

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// A dirNode is a directory that the unpacking knows. It is the same node
// whichever way its path led, through symbolic links or not.
type dirNode struct {
	path     string // a path that led to it, relative to the root
	dev, ino uint64
	fd       int     // -1 while closed
	h        *header // nil when no entry described it
}

// A tree keeps the directories and their open descriptors. Every parent of
// every entry is resolved here, once, by the kernel, below the descriptor of
// the root; the entry itself is then a single name in that descriptor.
type tree struct {
	root   *dirNode
	byPath map[string]*dirNode
	byID   map[[2]uint64]*dirNode
	// special tells which names are directories or symbolic links (nil): the
	// names whose replacement changes where other paths lead.
	special map[place]*dirNode
	open    []*dirNode
	most    int
}

// resolveInside: ".." and absolute links stay below the root, /proc's links
// and other file systems are not entered, openat2(2).
const resolveInside = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

func (t *tree) init(root int) {
	t.root = &dirNode{fd: root}
	var st unix.Stat_t
	_ = unix.Fstat(root, &st) // an open descriptor has one
	t.root.dev, t.root.ino = st.Dev, st.Ino
	t.byPath = map[string]*dirNode{"": t.root}
	t.byID = map[[2]uint64]*dirNode{{st.Dev, st.Ino}: t.root}
	t.special = map[place]*dirNode{}
	t.most = 256
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil && lim.Cur/4 < uint64(t.most) {
		t.most = max(4, int(lim.Cur/4))
	}
}

// clean splits off empty and "." components. A ".." is refused: no archiver
// writes one, and what it means depends on links.
func (u *unpacker) clean(name string) (string, error) {
	if int64(len(name)) > u.lim.Name {
		return "", &LimitError{What: "name", Limit: u.lim.Name, Entry: name}
	}
	depth := int64(0)
	plain := true // nothing to take out
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return "", fmt.Errorf("%s: the name leads out of the archive with \"..\"; the archive is not to be trusted", quote(name))
		case part == "" || part == ".":
			plain = false
		case len(part) > 255: // NAME_MAX
			return "", fmt.Errorf("%s: a name is longer than 255 bytes", quote(name))
		default:
			depth++
		}
	}
	if depth > u.lim.Depth {
		return "", &LimitError{What: "depth", Limit: u.lim.Depth, Entry: name}
	}
	if plain {
		return name, nil
	}
	if name = path.Clean("/" + name)[1:]; strings.IndexByte(name, 0) >= 0 {
		return "", fmt.Errorf("%w: a name holds a NUL byte", errHeader)
	}
	return name, nil
}

// split gives the parent's path and the last name.
func split(p string) (dir, name string) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p
	}
	return p[:i], p[i+1:]
}

// errNotDir is for a parent that is something else.
var errNotDir = errors.New("the directory that it should be in is not one")

// dir gives the directory at a clean path, made with its parents if it is
// missing and make is set.
func (u *unpacker) dir(p string, make bool) (*dirNode, error) {
	t := &u.tree
	if n := t.byPath[p]; n != nil {
		return n, nil
	}
	if err := u.roomForDir(); err != nil {
		return nil, err
	}
	fd, err := openat2(t.root.fd, p, unix.O_RDONLY|unix.O_DIRECTORY, resolveInside)
	switch {
	case errors.Is(err, unix.ENOENT) && make:
		parentPath, name := split(p)
		parent, err := u.dir(parentPath, true)
		if err != nil {
			return nil, err
		}
		return u.makeDir(parent, p, name)
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		// A regular file may not be there yet, but then the error is the same.
		return nil, fmt.Errorf("%w: %w", errNotDir, err)
	case err != nil:
		return nil, err
	}
	return t.adopt(p, fd)
}

// adopt takes an open directory in, as the node it already is, if it is one.
func (t *tree) adopt(p string, fd int) (*dirNode, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, err
	}
	id := [2]uint64{st.Dev, st.Ino}
	n := t.byID[id]
	switch {
	case n == nil:
		n = &dirNode{path: p, dev: st.Dev, ino: st.Ino, fd: fd}
		t.byID[id] = n
		t.open = append(t.open, n)
	case n.fd >= 0:
		unix.Close(fd)
	default:
		n.fd = fd
		t.open = append(t.open, n)
	}
	t.byPath[p] = n
	return n, nil
}

// makeDir makes a directory that is private until finishDirs.
func (u *unpacker) makeDir(parent *dirNode, p, name string) (*dirNode, error) {
	if err := u.settle(parent, name); err != nil {
		return nil, err
	}
	if err := unix.Mkdirat(parent.fd, name, 0o700); err != nil {
		return nil, err
	}
	fd, err := openat2(parent.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW,
		unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, err
	}
	// A new directory may have the inode number of one that was removed, so
	// it is always a new node.
	n := &dirNode{path: p, dev: st.Dev, ino: st.Ino, fd: fd}
	u.tree.byID[[2]uint64{st.Dev, st.Ino}] = n
	u.tree.byPath[p] = n
	u.tree.special[place{parent, name}] = n
	u.tree.open = append(u.tree.open, n)
	return n, nil
}

// roomForDir closes all directories when too many are open. The writers use
// them, so they finish first.
func (u *unpacker) roomForDir() error {
	if len(u.tree.open) < u.tree.most {
		return nil
	}
	if err := u.barrier(); err != nil {
		return err
	}
	u.tree.forget()
	return nil
}

// forget closes the directories and forgets where paths led. The nodes stay
// known by their identity.
func (t *tree) forget() {
	for _, n := range t.open {
		unix.Close(n.fd)
		n.fd = -1
	}
	t.open = t.open[:0]
	clear(t.byPath)
	t.byPath[""] = t.root
}

func (t *tree) closeAll() { t.forget() }

// barrier waits until the writers have done all that was handed out.
func (u *unpacker) barrier() error {
	u.crew.wait()
	clear(u.busy)
	if u.crew.failed() {
		return errWriter
	}
	return nil
}

// settle waits if a writer may be at this very name.
func (u *unpacker) settle(dir *dirNode, name string) error {
	if _, busy := u.busy[place{dir, name}]; busy {
		return u.barrier()
	}
	return nil
}

// remove takes away what is at a name, whatever it is, so that something else
// can be made there.
func (u *unpacker) remove(dir *dirNode, name string) error {
	if err := u.barrier(); err != nil {
		return err
	}
	err := removeAt(dir.fd, name)
	if _, special := u.tree.special[place{dir, name}]; special {
		delete(u.tree.special, place{dir, name})
		// dir itself may be in what is forgotten, and is needed now.
		u.tree.forget()
		if dir != u.tree.root {
			if rerr := u.reopen(dir); err == nil {
				err = rerr
			}
		}
	}
	return err
}

func (u *unpacker) reopen(n *dirNode) error {
	fd, err := openat2(u.tree.root.fd, n.path, unix.O_RDONLY|unix.O_DIRECTORY, resolveInside)
	if err != nil {
		return err
	}
	got, err := u.tree.adopt(n.path, fd)
	if err == nil && got != n {
		err = errNotDir
	}
	return err
}
