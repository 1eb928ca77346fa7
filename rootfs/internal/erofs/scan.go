package erofs

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A node is a name in the tree. Of several names of one file the first, in the
// order of paths, is the file.
type node struct {
	name     string
	parent   *node
	children []*node // in the order of their names
	first    *node   // the file, when this is another name of it

	mode, uid, gid uint32
	size           int64
	blocks         int64 // of 512 bytes, as the host keeps the file
	rdev           uint64
	mtime, ctime   unix.Timespec
	dev, ino       uint64
	hostLinks      uint64
	target         string // of a symbolic link

	// What the layout decides.
	links     uint32
	number    uint32
	xattrs    []byte
	layout    uint16
	offset    int64 // of the inode in the image
	block     uint32
	chunkBits int
	chunks    []bool // which chunks of a file with holes hold data
}

// same is the file that the name stands for.
func (n *node) same() *node {
	if n.first != nil {
		return n.first
	}
	return n
}

func (n *node) is(kind uint32) bool { return n.mode&unix.S_IFMT == kind }

// path is relative to the root, which is ".".
func (n *node) path() string {
	if n.parent == nil {
		return "."
	}
	var parts []string
	for ; n.parent != nil; n = n.parent {
		parts = append(parts, n.name)
	}
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return strings.Join(parts, "/")
}

// A Tree is a directory as it was found.
type Tree struct {
	dir  string
	fd   int
	user uint32 // the caller
	root *node
	all  []*node // in the order of paths, parents first
	// Unreadable are the names that the caller may not read.
	Unreadable int

	in   *node // the directory whose attributes are read, if any
	inFD int
	at   string // in, as a path

	mu      sync.Mutex
	names   int
	pending sync.WaitGroup
	slots   chan struct{}
	err     error
}

// Scan looks at every name below dir, and keeps it open: Close the Tree.
// Nothing is followed out of it, and other file systems are not entered.
//
// What the caller may not read cannot be in an image. It is there as
// something that nobody can open, not even root: a file becomes a socket, a
// directory an empty one, both with no permission.
func Scan(ctx context.Context, dir string) (*Tree, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	t := &Tree{dir: dir, fd: fd, user: uint32(os.Geteuid()), root: &node{}, slots: make(chan struct{}, runtime.NumCPU())}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	t.root.set(&st)
	t.slots <- struct{}{}
	t.pending.Add(1)
	t.visit(ctx, t.root)
	<-t.slots
	t.pending.Wait()
	if t.err != nil {
		t.Close()
		return nil, t.err
	}
	t.arrange()
	return t, nil
}

// Empty says that there is no name in the directory.
func (t *Tree) Empty() bool { return len(t.all) == 1 }

// Close lets go of the directory.
func (t *Tree) Close() { unix.Close(t.fd) }

func (n *node) set(st *unix.Stat_t) {
	n.mode, n.uid, n.gid = st.Mode, st.Uid, st.Gid
	n.size, n.blocks, n.rdev = st.Size, st.Blocks, st.Rdev
	n.mtime, n.ctime = st.Mtim, st.Ctim
	n.dev, n.ino, n.hostLinks = st.Dev, st.Ino, uint64(st.Nlink)
}

// fail keeps the first error.
func (t *Tree) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
	}
}

func (t *Tree) failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err != nil
}

// visit reads the directory n, and the ones below it on other threads while
// there are free ones.
func (t *Tree) visit(ctx context.Context, n *node) {
	defer t.pending.Done()
	if err := ctx.Err(); err != nil {
		t.fail(err)
	}
	if t.failed() {
		return
	}
	dirs, err := t.read(n)
	if err != nil {
		t.fail(fmt.Errorf("%s: %w", n.path(), err))
		return
	}
	for _, d := range dirs {
		t.pending.Add(1)
		select {
		case t.slots <- struct{}{}:
			go func() {
				t.visit(ctx, d)
				<-t.slots
			}()
		default:
			t.visit(ctx, d)
		}
	}
}

// read lists n and gives the directories in it.
func (t *Tree) read(n *node) (dirs []*node, err error) {
	fd, err := t.open(n, unix.O_DIRECTORY)
	switch {
	case errors.Is(err, unix.EACCES):
		t.hide(n)
		return nil, nil
	case errors.Is(err, unix.EXDEV):
		return nil, nil // mounted here, and not part of the tree
	case err != nil:
		return nil, err
	}
	f := os.NewFile(uintptr(fd), n.name)
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	if err := t.count(len(names)); err != nil {
		return nil, err
	}
	sort.Strings(names)
	list := make([]node, len(names)) // one allocation for a directory
	n.children = make([]*node, 0, len(names))
	for i, name := range names {
		c := &list[i]
		c.name, c.parent = name, n
		err := t.look(fd, c)
		if errors.Is(err, unix.EACCES) { // may be listed, not entered
			t.hide(n)
			n.children = nil
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		n.children = append(n.children, c)
		if c.is(unix.S_IFDIR) {
			dirs = append(dirs, c)
		}
	}
	return dirs, nil
}

// maxNames bounds the memory that a tree takes, some 300 bytes a name.
const maxNames = 1 << 20

func (t *Tree) count(names int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.names += names; t.names > maxNames {
		return fmt.Errorf("more than %d names in one image", maxNames)
	}
	return nil
}

// look fills in c, a name in the directory fd.
func (t *Tree) look(fd int, c *node) error {
	var st unix.Stat_t
	if err := unix.Fstatat(fd, c.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	c.set(&st)
	if c.is(unix.S_IFREG) && !t.mayRead(&st) && unix.Faccessat(fd, c.name, unix.R_OK, 0) == unix.EACCES {
		t.hide(c)
	}
	if !c.is(unix.S_IFLNK) {
		return nil
	}
	var buf [unix.PathMax]byte
	k, err := unix.Readlinkat(fd, c.name, buf[:])
	if err != nil {
		return err
	}
	c.target, c.size = string(buf[:k]), int64(k)
	return nil
}

// mayRead saves a system call for each of the many files that are surely
// readable.
func (t *Tree) mayRead(st *unix.Stat_t) bool {
	return t.user == 0 || st.Uid == t.user && st.Mode&0o400 != 0 || st.Uid != t.user && st.Mode&0o044 == 0o044
}

// hide makes of n what cannot be opened.
func (t *Tree) hide(n *node) {
	t.mu.Lock()
	t.Unreadable++
	t.mu.Unlock()
	if n.is(unix.S_IFDIR) {
		n.mode = unix.S_IFDIR
		return
	}
	n.mode, n.size, n.blocks = unix.S_IFSOCK, 0, 0
}

// open opens n without leaving the tree or following a link.
func (t *Tree) open(n *node, flags uint64) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_NOFOLLOW | unix.O_CLOEXEC | flags,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	for range 1000 {
		fd, err := unix.Openat2(t.fd, n.path(), &how)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}

// arrange puts the nodes in order, finds further names of files, and counts
// links.
func (t *Tree) arrange() {
	files := map[[2]uint64]*node{}
	stack := []*node{t.root}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		t.all = append(t.all, n)
		for i := len(n.children) - 1; i >= 0; i-- {
			stack = append(stack, n.children[i])
		}
		if n.is(unix.S_IFDIR) {
			n.links += 2
			if n.parent != nil {
				n.parent.links++
			}
			continue
		}
		if n.hostLinks > 1 {
			id := [2]uint64{n.dev, n.ino}
			if n.first = files[id]; n.first == nil {
				files[id] = n
			}
		}
		n.same().links++
	}
}

// Fingerprint changes when anything in the tree does: it is the SHA-256 of all
// names with what stat(2) says of them, the time of the last change included.
func (t *Tree) Fingerprint() [32]byte {
	h := sha256.New()
	le := binary.LittleEndian
	b := make([]byte, 0, 1<<16)
	for _, n := range t.all {
		b = append(append(b, n.path()...), 0)
		b = le.AppendUint32(le.AppendUint32(le.AppendUint32(b, n.mode), n.uid), n.gid)
		for _, v := range [...]uint64{
			uint64(n.size), n.rdev, n.dev, n.ino, n.hostLinks,
			uint64(n.mtime.Sec), uint64(n.mtime.Nsec), uint64(n.ctime.Sec), uint64(n.ctime.Nsec),
		} {
			b = le.AppendUint64(b, v)
		}
		if len(b) > 1<<15 {
			h.Write(b)
			b = b[:0]
		}
	}
	h.Write(b)
	return [32]byte(h.Sum(nil))
}
