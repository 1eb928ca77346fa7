package rootfs

import (
	"archive/tar"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// PackLimits bound what a layer is made of; 0 means the default.
type PackLimits struct {
	// Holes is the sum of what sparse files do not hold: a layer has no sparse
	// files (OCI image specification, layer.md), so holes are written out. 1 GiB.
	Holes int64
	Depth int64 // of directories; 512
	Name  int64 // bytes of a path; 4095 (PATH_MAX)
	// Exact is no layer of an image but what MergeKept takes: whiteouts and opaque
	// directories are what they are in the directory, so that a name may begin as
	// it likes, and holes are only told of.
	Exact bool
}

// How an exact layer tells of holes: offsets and lengths of the data in turn, as
// GNU tar's format 0.1 has them, which archive/tar does not write, and the length
// of the file.
const (
	keptMap  = "HUTCH.sparse.map"
	keptSize = "HUTCH.sparse.size"
)

// PackStats say what a layer holds.
type PackStats struct {
	Entries int64
	Bytes   int64 // of file data
	// Left counts sockets and devices, which a layer cannot hold.
	Left int64
}

// Pack writes what overlayfs has put into an upper directory as a layer of an
// image: a tar with whiteouts, sorted, so that the same directory gives the
// same bytes. The directory is read by descriptor, no link in it is followed,
// and what is not a file, a directory, a link or a FIFO is not opened.
//
// Nobody else may write to the directory meanwhile.
func Pack(ctx context.Context, w io.Writer, upper int, lim PackLimits) (PackStats, error) {
	for _, f := range []struct {
		v   *int64
		def int64
	}{{&lim.Holes, 1 << 30}, {&lim.Depth, 512}, {&lim.Name, 4095}} {
		if *f.v == 0 {
			*f.v = f.def
		}
	}
	p := packer{ctx: ctx, w: tar.NewWriter(w), lim: lim, links: map[[2]uint64]string{}, buf: make([]byte, 256<<10)}
	fd, err := openDir(upper, ".")
	if err != nil {
		return p.stats, err
	}
	if err := p.dir(fd, "", 0); err != nil {
		return p.stats, err
	}
	return p.stats, p.w.Close()
}

type packer struct {
	ctx   context.Context
	w     *tar.Writer
	lim   PackLimits
	holes int64
	links map[[2]uint64]string // files of several names: the first one
	buf   []byte
	stats PackStats
}

// dir writes what is in an open directory, and closes it.
func (p *packer) dir(fd int, path string, depth int64) error {
	defer unix.Close(fd)
	if depth > p.lim.Depth {
		return &LimitError{What: "depth", Limit: p.lim.Depth, Entry: path}
	}
	if !p.lim.Exact && opaque(fd) {
		// Before what is in it, so that it hides only the layers below.
		if err := p.marker(path + ".wh..wh..opq"); err != nil {
			return err
		}
	}
	names, err := allNames(fd)
	if err != nil {
		return fmt.Errorf("%s: %w", quoteOdd("/"+path), err)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		if int64(len(path)+len(name)) > p.lim.Name {
			return &LimitError{What: "name", Limit: p.lim.Name, Entry: path + name}
		}
		if err := p.entry(fd, path, name, depth); err != nil {
			var limit *LimitError
			var named *packError
			if errors.As(err, &limit) || errors.As(err, &named) {
				return err
			}
			return &packError{path + name, bare(err)}
		}
	}
	return nil
}

// A packError names the path at which it happened, once.
type packError struct {
	path string
	err  error
}

func (e *packError) Error() string { return quoteOdd("/"+e.path) + ": " + e.err.Error() }
func (e *packError) Unwrap() error { return e.err }

// allNames reads a whole directory.
func allNames(fd int) ([]string, error) {
	if _, err := unix.Seek(fd, 0, io.SeekStart); err != nil {
		return nil, err
	}
	var names []string
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

func (p *packer) entry(dir int, parent, name string, depth int64) error {
	path := parent + name
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	kind := st.Mode & unix.S_IFMT
	if kind == unix.S_IFCHR && st.Rdev == 0 {
		return p.whiteout(parent, name)
	}
	if strings.HasPrefix(name, whiteoutPrefix) && !p.lim.Exact {
		return fmt.Errorf("a layer cannot hold a name that begins with %s; rename it", whiteoutPrefix)
	}
	h := &tar.Header{
		Format: tar.FormatPAX, Name: path, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: time.Unix(int64(st.Mtim.Sec), int64(st.Mtim.Nsec)),
	}
	if kind != unix.S_IFDIR && st.Nlink > 1 {
		id := [2]uint64{st.Dev, st.Ino}
		if first, ok := p.links[id]; ok {
			h.Typeflag, h.Linkname = tar.TypeLink, first
			return p.header(h)
		}
		p.links[id] = path
	}
	switch kind {
	case unix.S_IFDIR:
		return p.directory(dir, name, path, depth, h)
	case unix.S_IFREG:
		return p.file(dir, name, h)
	case unix.S_IFLNK:
		n, err := unix.Readlinkat(dir, name, p.buf[:unix.PathMax])
		if err != nil {
			return err
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, string(p.buf[:n])
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	default:
		p.stats.Left++
		return nil
	}
	return p.header(h)
}

func (p *packer) directory(dir int, name, path string, depth int64, h *tar.Header) error {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	h.Typeflag, h.Name = tar.TypeDir, path+"/"
	if err = p.xattrs(fd, h); err == nil {
		if p.lim.Exact && opaque(fd) {
			setRecord(h, "SCHILY.xattr."+opaqueUser, "y")
		}
		err = p.header(h)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	return p.dir(fd, path+"/", depth+1)
}

func (p *packer) file(dir int, name string, h *tar.Header) error {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("changed while it was read")
	}
	if st.Size == 0 && hasAttr(fd, "user.overlay.whiteout") {
		return p.whiteout(h.Name[:len(h.Name)-len(name)], name)
	}
	h.Typeflag, h.Size = tar.TypeReg, st.Size
	if err := p.xattrs(fd, h); err != nil {
		return err
	}
	if p.lim.Exact && st.Blocks*blockSize < st.Size {
		return p.sparse(fd, h)
	}
	if p.holes += max(0, st.Size-st.Blocks*blockSize); p.holes > p.lim.Holes {
		return fmt.Errorf("is a file of %d bytes of which %d are there, and a layer would hold the rest as zeros, "+
			"more than %d in all; remove it, or make it smaller", st.Size, st.Blocks*blockSize, p.lim.Holes)
	}
	if err := p.header(h); err != nil {
		return err
	}
	return p.data(fd, st.Size)
}

// data writes so many bytes from where the file is.
func (p *packer) data(fd int, left int64) error {
	for left > 0 {
		n, err := unix.Read(fd, p.buf[:min(left, int64(len(p.buf)))])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err == nil && n == 0:
			err = io.ErrUnexpectedEOF
		case err == nil:
			_, err = p.w.Write(p.buf[:n])
		}
		if err != nil {
			return err
		}
		left -= int64(n)
		p.stats.Bytes += int64(n)
		if err := p.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// whiteout writes that a name of the layers below is hidden.
func (p *packer) whiteout(parent, name string) error {
	if p.lim.Exact {
		return p.header(&tar.Header{Format: tar.FormatPAX, Typeflag: tar.TypeChar, Name: parent + name, ModTime: time.Unix(0, 0)})
	}
	return p.marker(parent + whiteoutPrefix + name)
}

func (p *packer) marker(path string) error {
	return p.header(&tar.Header{Format: tar.FormatPAX, Typeflag: tar.TypeReg, Name: path, Mode: 0o600, ModTime: time.Unix(0, 0)})
}

func (p *packer) header(h *tar.Header) error {
	p.stats.Entries++
	return p.w.WriteHeader(h)
}

// packedXattr says which attributes belong to a layer: those that Unpack
// takes. What overlayfs notes for itself is not among them.
func packedXattr(name string) bool {
	user, other := wantedXattr(name)
	return user || other
}

func hasAttr(fd int, name string) bool {
	_, err := unix.Fgetxattr(fd, name, nil)
	return err == nil
}

func (p *packer) xattrs(fd int, h *tar.Header) error {
	n, err := unix.Flistxattr(fd, p.buf[:64<<10])
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range strings.Split(string(p.buf[:n]), "\x00") {
		if name == "" || !packedXattr(name) {
			continue
		}
		value := make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err := unix.Fgetxattr(fd, name, value)
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOVERFLOW) {
			continue // capabilities for another user namespace
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if value = value[:n]; name == "security.capability" {
			value = plainCapability(value)
		}
		setRecord(h, "SCHILY.xattr."+name, string(value))
	}
	return nil
}

func setRecord(h *tar.Header, key, value string) {
	if h.PAXRecords == nil {
		h.PAXRecords = map[string]string{}
	}
	h.PAXRecords[key] = value
}

// plainCapability makes capabilities that count in one user namespace only
// (VFS_CAP_REVISION_3, linux/capability.h) into such as any reader of the
// layer gives its own.
func plainCapability(v []byte) []byte {
	const revision2, revision3, size3 = 0x02000000, 0x03000000, 24
	if len(v) != size3 {
		return v
	}
	magic := binary.LittleEndian.Uint32(v)
	if magic&0xff000000 != revision3 {
		return v
	}
	out := slices.Clone(v[:size3-4])
	binary.LittleEndian.PutUint32(out, magic&0x00ffffff|revision2)
	return out
}
