package transfer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// PackOptions says what Pack takes.
type PackOptions struct {
	// Bytes is the most that all files together may have, holes included.
	Bytes int64
	// Links takes symbolic links as they are; otherwise one is an error.
	Links bool
	// Owner is the only user whose files may have several names; -1 is anybody.
	// A hard link can stand for what its maker could never read.
	Owner int
}

// Pack writes the file or directory that fd, opened with O_PATH, stands for.
// Whatever is neither, or too large, is an error that names it. It says how
// many bytes the files have.
func Pack(w io.Writer, fd int, o PackOptions) (size int64, err error) {
	p := packer{tar: tar.NewWriter(w), o: o, left: o.Bytes, entries: MaxEntries}
	if err := p.add(fd, top, 0); err != nil {
		return 0, err
	}
	if err := p.tar.WriteHeader(&tar.Header{Name: end, Typeflag: tar.TypeReg}); err != nil {
		return 0, err
	}
	return o.Bytes - p.left, p.tar.Close()
}

type packer struct {
	tar     *tar.Writer
	o       PackOptions
	left    int64
	entries int
}

// add packs what fd, opened with O_PATH, stands for.
func (p *packer) add(fd int, name string, depth int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return refuse(name, err)
	}
	if p.entries--; p.entries < 0 {
		return fmt.Errorf("there are more than %d files", MaxEntries)
	}
	h := &tar.Header{
		Name: name, Mode: int64(st.Mode & 0o777), Format: tar.FormatPAX,
		ModTime: time.Unix(st.Mtim.Unix()).Truncate(time.Second),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return p.dir(fd, h, depth)
	case unix.S_IFREG:
		return p.file(fd, h, &st)
	case unix.S_IFLNK:
		if p.o.Links {
			return p.link(fd, h)
		}
	}
	return refuse(name, errors.New("is "+kind(st.Mode)+", which is not copied"))
}

// refuse names a file by its path below what is copied.
func refuse(name string, err error) error {
	if name == top {
		return err
	}
	return fmt.Errorf("%q: %w", name[len(top)+1:], err)
}

func (p *packer) link(fd int, h *tar.Header) error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return refuse(h.Name, err)
	}
	h.Typeflag, h.Linkname = tar.TypeSymlink, string(buf[:n])
	return p.tar.WriteHeader(h)
}

func (p *packer) file(fd int, h *tar.Header, st *unix.Stat_t) error {
	if st.Nlink > 1 && p.o.Owner >= 0 && int(st.Uid) != p.o.Owner {
		return refuse(h.Name, fmt.Errorf("is a hard link to a file of user %d, which is not copied", st.Uid))
	}
	// Before anything is read: a hole of a terabyte takes long to read.
	if st.Size > p.left {
		return refuse(h.Name, fmt.Errorf("has %d bytes, more than the %d that are left of the copy limit", st.Size, p.left))
	}
	p.left -= st.Size
	f, err := reopen(fd, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return refuse(h.Name, err)
	}
	defer f.Close()
	h.Typeflag, h.Size = tar.TypeReg, st.Size
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyN(p.tar, f, st.Size)
	if errors.Is(err, io.EOF) {
		return refuse(h.Name, errors.New("was cut off while it was copied"))
	}
	return err
}

// reopen opens the very file that fd was looked up to be.
func reopen(fd, flags int) (*os.File, error) {
	n, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(n), "source"), nil
}

func (p *packer) dir(fd int, h *tar.Header, depth int) error {
	if depth >= MaxDepth {
		return refuse(h.Name, fmt.Errorf("directories lie more than %d deep", MaxDepth))
	}
	name := h.Name
	h.Typeflag, h.Name = tar.TypeDir, name+"/"
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	d, err := reopen(fd, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return refuse(name, err)
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1024)
		for _, n := range names {
			if err := p.child(fd, name+"/"+n, n, depth+1); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return refuse(name, err)
		}
	}
}

// child looks name up in the directory that is open, and nowhere else.
func (p *packer) child(dir int, path, name string, depth int) error {
	const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV
	fd, err := openat2(dir, name, unix.O_PATH|unix.O_NOFOLLOW, resolve)
	if errors.Is(err, unix.EXDEV) {
		return refuse(path, errors.New("another file system is mounted there: copy it by itself"))
	}
	if err != nil {
		return refuse(path, err)
	}
	defer unix.Close(fd)
	return p.add(fd, path, depth)
}
