package transfer

import (
	"archive/tar"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrCutOff says that a stream ended before the packer was done; the packer
// knows why.
var ErrCutOff = errors.New("the copy was cut off")

// PlaceOptions says how Place writes.
type PlaceOptions struct {
	// Bytes is the most that all files together may have.
	Bytes int64
	// Links allows symbolic links.
	Links bool
	// UID and GID own what is placed, where Chown is set.
	Chown    bool
	UID, GID int
	// Umask is taken off the modes.
	Umask fs.FileMode
	// Records are told of each name that only SIGKILL would leave behind. Nil is
	// for directories in which nobody else places anything, a box's own: what was
	// left there by a copy before, in a root that is kept, is removed.
	Records *Records
}

// Place writes what Pack packed, as name in the directory dir, and says how
// many bytes the files have. It is made without a name, where it is a file, or
// under another beside, so that name is there whole or not at all; a regular
// file takes the place of a regular file, and nothing else replaces anything.
func Place(r io.Reader, dir int, name string, o PlaceOptions) (size int64, err error) {
	root, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(dir))
	if err != nil {
		return 0, bare(err)
	}
	defer root.Close()
	// Short, so that the longest of names has room.
	p := placer{root: root, dir: dir, temp: tempPrefix + rand.Text()[:tempLength], o: o, left: o.Bytes}
	defer p.close()
	if err = p.all(tar.NewReader(r)); err == nil {
		err = p.rename(name)
	}
	if err != nil {
		for _, h := range p.dirs { // which may forbid what comes next
			_ = root.Chmod(h.Name, 0o700)
		}
		_ = root.RemoveAll(p.temp)
		return 0, err
	}
	return o.Bytes - p.left, nil
}

type placer struct {
	root *os.Root
	dir  int
	temp string
	// unnamed is the file, made with O_TMPFILE, and gone with the process.
	unnamed *os.File
	noted   func() // ends the record of temp
	o       PlaceOptions
	left    int64
	// The directories get their modes when they are filled.
	dirs  []*tar.Header
	isDir bool // of what is copied
}

func (p *placer) close() {
	if p.unnamed != nil {
		p.unnamed.Close()
	}
	if p.noted != nil {
		p.noted()
	}
}

// note has temp recorded before it is made.
func (p *placer) note() {
	switch {
	case p.noted != nil:
	case p.o.Records != nil:
		p.noted = p.o.Records.note(p.dir, p.temp)
	default:
		p.noted = func() {}
		p.removeStale()
	}
}

// removeStale removes what copies before have left that were killed.
func (p *placer) removeStale() {
	f, err := p.root.Open(".")
	if err != nil {
		return
	}
	names, _ := f.Readdirnames(-1)
	f.Close()
	for _, name := range names {
		if isTemp(name) {
			_ = removeAll(p.root, name) // what resists is the next copy's
		}
	}
}

// isTemp says whether name is one that a placer makes: a prefix, and random
// text in base32.
func isTemp(name string) bool {
	text, ok := strings.CutPrefix(name, tempPrefix)
	return ok && len(text) == tempLength && strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

const tempLength = 12

func (p *placer) all(t *tar.Reader) error {
	for n := 0; ; n++ {
		h, err := t.Next()
		switch {
		case err != nil:
			return cutOff(err)
		case h.Name == end && n > 0:
			return p.finish()
		case n > MaxEntries:
			return fmt.Errorf("there are more than %d files", MaxEntries)
		}
		name, err := p.name(h.Name, n)
		if err == nil {
			p.isDir = p.isDir || n == 0 && h.Typeflag == tar.TypeDir
			err = p.one(t, h, name)
		}
		if err != nil {
			return err
		}
	}
}

// name is where an entry goes.
func (p *placer) name(s string, n int) (string, error) {
	s = strings.TrimSuffix(s, "/")
	rest, ok := strings.CutPrefix(s, top)
	if !ok || (n == 0) != (rest == "") || path.Clean(s) != s || rest != "" && rest[0] != '/' {
		return "", fmt.Errorf("%q is no name that a packer writes", s)
	}
	return p.temp + rest, nil
}

func (p *placer) one(t *tar.Reader, h *tar.Header, name string) error {
	var err error
	switch {
	case h.Typeflag == tar.TypeDir:
		p.note()
		err = p.root.Mkdir(name, 0o700)
		h.Name = name
		p.dirs = append(p.dirs, h)
	case h.Typeflag == tar.TypeReg:
		err = p.file(t, h, name)
	case h.Typeflag == tar.TypeSymlink && p.o.Links:
		p.note()
		if err = p.root.Symlink(h.Linkname, name); err == nil && p.o.Chown {
			err = p.root.Lchown(name, p.o.UID, p.o.GID)
		}
	default:
		err = errors.New("is of a kind that is not copied")
	}
	if err == nil || errors.Is(err, ErrCutOff) {
		return err
	}
	return refuse(top+strings.TrimPrefix(name, p.temp), bare(err))
}

func (p *placer) file(t *tar.Reader, h *tar.Header, name string) error {
	if h.Size > p.left {
		return fmt.Errorf("has %d bytes, more than the %d that are left of the copy limit", h.Size, p.left)
	}
	p.left -= h.Size
	f, err := p.create(name)
	if err != nil {
		return err
	}
	err = cutOff(fill(f, t, h.Size))
	if err == nil && p.o.Chown {
		err = f.Chown(p.o.UID, p.o.GID)
	}
	if err == nil {
		err = f.Chmod(p.mode(h))
	}
	if err == nil {
		at := unix.NsecToTimeval(h.ModTime.UnixNano())
		err = unix.Futimes(int(f.Fd()), []unix.Timeval{at, at})
	}
	if f == p.unnamed {
		return err
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// create makes a file. One that is copied by itself has no name until it is
// whole, open(2) O_TMPFILE, so that nothing of it can be left behind; not every
// file system can do that.
func (p *placer) create(name string) (*os.File, error) {
	if name == p.temp {
		fd, err := unix.Openat(p.dir, ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err == nil {
			p.unnamed = os.NewFile(uintptr(fd), name)
			return p.unnamed, nil
		}
		p.note()
	}
	return p.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// link names the file that has none yet.
func (p *placer) link(name string) error {
	file := "/proc/self/fd/" + strconv.Itoa(int(p.unnamed.Fd()))
	return unix.Linkat(unix.AT_FDCWD, file, p.dir, name, unix.AT_SYMLINK_FOLLOW)
}

func (p *placer) mode(h *tar.Header) fs.FileMode { return fs.FileMode(h.Mode) & 0o777 &^ p.o.Umask }

// finish gives the directories their owners, times and modes, the deepest
// first.
func (p *placer) finish() error {
	for i := len(p.dirs) - 1; i >= 0; i-- {
		if err := p.dress(p.dirs[i]); err != nil {
			return bare(err)
		}
	}
	return nil
}

// dress gives a directory what it is to have when it is full.
func (p *placer) dress(h *tar.Header) error {
	var err error
	if p.o.Chown {
		err = p.root.Lchown(h.Name, p.o.UID, p.o.GID)
	}
	if err == nil {
		err = p.root.Chtimes(h.Name, h.ModTime, h.ModTime)
	}
	if err == nil {
		err = p.root.Chmod(h.Name, p.mode(h))
	}
	return err
}

// rename gives what was made its name.
func (p *placer) rename(name string) error {
	dir := p.dir
	if !p.isDir {
		return p.renameFile(name)
	}
	err := unix.Renameat2(dir, p.temp, dir, name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) { // not every file system knows the flag
		err = unix.Renameat(dir, p.temp, dir, name)
	}
	if errors.Is(err, unix.EXDEV) {
		err = p.refill(name)
	}
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.ENOTDIR) {
		return errors.New("is there already, and a directory replaces nothing")
	}
	return err
}

// refill makes the directory anew where the one that is filled cannot be
// renamed: an overlay marks a directory that it renames by an attribute, which
// a tmpfs holds since Linux 6.6 only. That is a box's, whose application waits.
func (p *placer) refill(name string) error {
	temp, err := p.root.Open(p.temp)
	if err != nil {
		return bare(err)
	}
	names, err := temp.Readdirnames(-1)
	temp.Close()
	if err != nil {
		return bare(err)
	}
	if err := unix.Mkdirat(p.dir, name, 0o700); err != nil {
		return err
	}
	err = p.root.Chmod(p.temp, 0o700)
	for _, n := range names {
		if err == nil {
			err = p.root.Rename(p.temp+"/"+n, name+"/"+n)
		}
	}
	if err == nil {
		h := *p.dirs[0]
		h.Name = name
		if err = p.dress(&h); err == nil {
			err = p.root.Remove(p.temp)
		}
	}
	if err != nil {
		_ = removeAll(p.root, name)
	}
	return bare(err)
}

func (p *placer) renameFile(name string) error {
	if err := Replaceable(p.dir, name); err != nil {
		return err
	}
	if p.unnamed != nil {
		err := p.link(name)
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
		// Only a rename replaces, and it needs a name.
		p.note()
		if err := p.link(p.temp); err != nil {
			return err
		}
	}
	return bare(p.root.Rename(p.temp, name))
}

// Replaceable says what keeps name in dir from being made: it is there and no
// regular file.
func Replaceable(dir int, name string) error {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return err
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("is there already, and is " + kind(st.Mode))
	}
	return nil
}

// cutOff tells a stream that ended from one that could not be written.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCutOff
	}
	return err
}

// bare takes the operation and the path off an error of package os.
func bare(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}
