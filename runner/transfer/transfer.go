// Package transfer carries files and directories between the host and a box.
//
// The side that can see the source packs, the side that may write the target
// places, and between them goes a tar stream. Nothing that either side finds
// is trusted: the packer never follows a name, the placer never leaves the
// directory that it makes.
package transfer

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// MaxEntries is the number of files and directories of one copy.
	MaxEntries = 1_000_000
	// MaxDepth is how deep directories of one copy may lie in each other: each
	// level holds a descriptor open.
	MaxDepth = 200
)

// The names in the stream: what is copied, and the mark that says that all of
// it has come. A tar that is cut off between two files looks whole otherwise.
const (
	top = "top"
	end = "end"
)

// kind says what a file is that cannot be copied.
func kind(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return "a symbolic link"
	case unix.S_IFIFO:
		return "a FIFO"
	case unix.S_IFSOCK:
		return "a socket"
	case unix.S_IFBLK, unix.S_IFCHR:
		return "a device"
	case unix.S_IFDIR:
		return "a directory"
	}
	return "no regular file"
}

// OpenSource opens path for Pack below root, the root directory of a box. No
// symbolic link is followed, not even one of the image's: it could lead to
// what the application may not read.
func OpenSource(root int, path string) (int, error) {
	fd, err := openat2(root, path, unix.O_PATH|unix.O_NOFOLLOW, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS|unix.RESOLVE_NO_SYMLINKS)
	if errors.Is(err, unix.ELOOP) {
		return -1, errors.New("a directory on the way is a symbolic link, which is not followed")
	}
	if err != nil {
		return -1, err
	}
	// What is there is made up when it is read, and says that it is empty.
	var fs unix.Statfs_t
	if err = unix.Fstatfs(fd, &fs); err == nil && fs.Type == unix.PROC_SUPER_MAGIC {
		err = errors.New("is of proc, where no files are")
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func openat2(dir int, name string, flags, resolve uint64) (int, error) {
	for {
		fd, err := unix.Openat2(dir, name, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve})
		// EAGAIN: something was renamed meanwhile, openat2(2).
		if err != syscall.EINTR && err != syscall.EAGAIN {
			return fd, err
		}
	}
}
