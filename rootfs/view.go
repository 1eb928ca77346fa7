package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A View is a read-only look at the files that a stack of overlay layers
// shows. It is resolved strictly inside: symbolic links, absolute ones too,
// never leave the layers, whiteouts and opaque directories are honoured, and
// nothing but a regular file is ever opened for reading.
//
// It does not follow redirects, which hutch's layers never hold (overlayfs,
// Documentation/filesystems/overlayfs.rst).
type View struct {
	// Lowers are directories or EROFS images, as in Root, the topmost layer first.
	Lowers []string
}

// maxLinks is the kernel's own limit of symbolic links in one resolution,
// path_resolution(7).
const maxLinks = 40

// ReadFile gives the content of a regular file. A file of more than max bytes
// is an error, as is anything that is not a regular file; neither is read.
// Errors unwrap to fs.ErrNotExist and the errnos.
func (v View) ReadFile(path string, max int64) ([]byte, error) {
	b, err := v.readHead(path, max+1)
	if err == nil && int64(len(b)) > max {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, max)
	}
	return b, err
}

// readHead gives the first n bytes of a regular file, or all if it is shorter.
func (v View) readHead(path string, n int64) ([]byte, error) {
	fd, err := v.lookup(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%s: is a %s, not a regular file", path, fileKind(goMode(st.Mode)))
	}
	// An O_PATH descriptor is turned into a readable one through /proc: the
	// file that was looked at is the file that is read, whatever is renamed
	// meanwhile.
	f, err := os.Open("/proc/self/fd/" + itoa(int64(fd)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, bare(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, n))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, bare(err))
	}
	return b, nil
}

// Stat describes what path leads to. Sys is a *unix.Stat_t.
func (v View) Stat(path string) (fs.FileInfo, error) {
	fd, err := v.lookup(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer unix.Close(fd)
	st := new(unix.Stat_t)
	if err := unix.Fstat(fd, st); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return newFileInfo(path, st), nil
}

// lookup gives an O_PATH descriptor of what path leads to.
func (v View) lookup(path string) (int, error) {
	switch {
	case len(v.Lowers) == 0:
		return -1, unix.ENOENT
	case strings.IndexByte(path, 0) >= 0:
		return -1, unix.EINVAL
	case len(path) >= unix.PathMax:
		return -1, unix.ENAMETOOLONG
	case len(v.Lowers) == 1:
		return lookupOne(v.Lowers[0], path)
	}
	w := walk{}
	defer w.close()
	return w.run(v.Lowers, path)
}

// lookupOne leaves the whole resolution to the kernel.
func lookupOne(root, path string) (int, error) {
	dir, err := openLower(root)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	if strings.Trim(path, "/") == "" {
		path = "."
	}
	return openat2(dir, path, unix.O_PATH, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

// openat2 retries on EAGAIN, which RESOLVE_IN_ROOT gives when a rename
// elsewhere in the system raced with the resolution, openat2(2).
func openat2(dir int, path string, flags, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: resolve}
	for range 1000 {
		fd, err := unix.Openat2(dir, path, &how)
		if err == nil || !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}

// A walk resolves one path over several layers, component by component, as
// overlayfs does. A directory is the list of the layers' directories that are
// merged in it.
type walk struct {
	stack [][]int // the merged directories from the root to where the walk is
}

func (w *walk) close() {
	for len(w.stack) > 0 {
		w.pop()
	}
}

func (w *walk) pop() {
	last := len(w.stack) - 1
	closeAll(w.stack[last])
	w.stack = w.stack[:last]
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

func (w *walk) run(lowers []string, path string) (int, error) {
	var root []int
	for _, l := range lowers {
		fd, err := openLower(l)
		if err != nil {
			closeAll(root)
			return -1, err
		}
		root = append(root, fd)
	}
	w.stack = append(w.stack, root)

	todo, links := strings.Split(path, "/"), 0
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			if len(w.stack) > 1 { // above the root is the root
				w.pop()
			}
			continue
		}
		target, file, err := w.step(name)
		if err != nil {
			return -1, err
		}
		if target != "" {
			if links++; links > maxLinks {
				return -1, unix.ELOOP
			}
			if target[0] == '/' {
				for len(w.stack) > 1 {
					w.pop()
				}
			}
			if len(target)+len(todo) >= unix.PathMax {
				return -1, unix.ENAMETOOLONG
			}
			todo = append(strings.Split(target, "/"), todo...)
			continue
		}
		if file >= 0 {
			if len(todo) > 0 {
				unix.Close(file)
				return -1, unix.ENOTDIR
			}
			return file, nil
		}
	}
	return unix.FcntlInt(uintptr(w.stack[len(w.stack)-1][0]), unix.F_DUPFD_CLOEXEC, 0)
}

// step looks one name up in the merged directory on top of the stack. It
// returns a link's target, or a file, or has pushed a directory (file is -1).
func (w *walk) step(name string) (target string, file int, err error) {
	var dirs []int
	for _, layer := range w.stack[len(w.stack)-1] {
		fd, err := openat2(layer, name, unix.O_PATH|unix.O_NOFOLLOW, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		var st unix.Stat_t
		if err == nil {
			if err = unix.Fstat(fd, &st); err != nil {
				unix.Close(fd)
			}
		}
		if err != nil {
			closeAll(dirs)
			return "", -1, err
		}
		kind := st.Mode & unix.S_IFMT
		if kind == unix.S_IFDIR {
			dirs = append(dirs, fd)
			if opaque(fd) {
				break
			}
			continue
		}
		if len(dirs) > 0 || kind == unix.S_IFCHR && st.Rdev == 0 {
			unix.Close(fd) // a file under a directory, or a whiteout: both end the search
			break
		}
		if kind == unix.S_IFLNK {
			target, err = readlinkFD(fd)
			unix.Close(fd)
			if err == nil && target == "" {
				err = unix.ENOENT
			}
			return target, -1, err
		}
		return "", fd, nil
	}
	if len(dirs) == 0 {
		return "", -1, unix.ENOENT
	}
	if len(w.stack) >= unix.PathMax/2 {
		closeAll(dirs)
		return "", -1, unix.ENAMETOOLONG
	}
	w.stack = append(w.stack, dirs)
	return "", -1, nil
}

// opaque tells whether a directory hides those of the layers below. The
// attribute cannot be read from an O_PATH descriptor, hence /proc.
func opaque(fd int) bool {
	path := "/proc/self/fd/" + itoa(int64(fd))
	for _, attr := range [...]string{opaqueUser, opaqueTrusted} {
		var b [4]byte
		if n, err := unix.Getxattr(path, attr, b[:]); err == nil && n == 1 && b[0] == 'y' {
			return true
		}
	}
	return false
}

func readlinkFD(fd int) (string, error) {
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", b)
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}
