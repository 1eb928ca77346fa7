package rootfs

import (
	"io/fs"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// fileInfo is an fs.FileInfo over the kernel's stat.
type fileInfo struct {
	name string
	st   *unix.Stat_t
}

func newFileInfo(p string, st *unix.Stat_t) fs.FileInfo { return fileInfo{path.Base(p), st} }

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.st.Size }
func (i fileInfo) Mode() fs.FileMode  { return goMode(i.st.Mode) }
func (i fileInfo) ModTime() time.Time { return time.Unix(i.st.Mtim.Unix()) }
func (i fileInfo) IsDir() bool        { return i.Mode().IsDir() }
func (i fileInfo) Sys() any           { return i.st }

// goMode turns st_mode, inode(7), into Go's bits.
func goMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	}
	if m&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if m&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if m&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}
