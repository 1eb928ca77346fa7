package rootfs

import (
	"errors"

	"golang.org/x/sys/unix"
)

// removeAt removes a name and all that is below it. It follows no link, and
// makes directories that forbid it accessible first: what it removes is ours.
// What another process removes meanwhile is no error.
func removeAt(dir int, name string) error {
	r := remover{root: -1}
	return r.remove(dir, name, 0)
}

// gone takes the error of finding something removed already for success.
func gone(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// openDir opens a directory itself, never what a link leads to.
func openDir(dir int, name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(dir, name, flags, 0)
	if !errors.Is(err, unix.EACCES) {
		return fd, err
	}
	// O_PATH needs no permission on the directory itself, and the mode can
	// only be changed through it by way of /proc.
	path, err := unix.Openat(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(path)
	if err := unix.Chmod("/proc/self/fd/"+itoa(int64(path)), 0o700); err != nil {
		return -1, err
	}
	return unix.Openat(dir, name, flags, 0)
}

// removeContents empties an open directory, however deep it is and however
// many names it holds.
func removeContents(root int) error {
	r := remover{root: root}
	return gone(r.empty(root, 0))
}

// A remover descends only so far, since every level keeps a descriptor open.
// What is deeper is moved up to the root first, and comes round again.
type remover struct {
	root  int
	moved int64
}

const removeDepth = 64

func (r *remover) empty(fd, depth int) error {
	if err := ownAccess(fd); err != nil {
		return err
	}
	for {
		names, err := readNames(fd, 1000)
		if err != nil || len(names) == 0 {
			return err
		}
		for _, name := range names {
			if err := r.remove(fd, name, depth); err != nil {
				return err
			}
		}
	}
}

func (r *remover) remove(dir int, name string, depth int) error {
	err := unix.Unlinkat(dir, name, 0)
	if err = gone(err); err == nil || !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
		return err
	}
	fd, err := openDir(dir, name)
	if err != nil {
		return gone(err)
	}
	defer unix.Close(fd)
	if depth >= removeDepth {
		return gone(r.moveUp(dir, name, fd))
	}
	below := r
	if r.root < 0 { // this is the outermost directory, and what is moved goes here
		below = &remover{root: fd}
	}
	if err := below.empty(fd, depth+1); gone(err) != nil {
		return err
	}
	return gone(unix.Unlinkat(dir, name, unix.AT_REMOVEDIR))
}

// moveUp moves a directory to the root, where empty comes across it.
func (r *remover) moveUp(dir int, name string, fd int) error {
	// Moving a directory writes to it, for its ".." changes.
	if err := ownAccess(fd); err != nil {
		return err
	}
	for {
		r.moved++
		err := unix.Renameat2(dir, name, r.root, ".hutch-rm-"+itoa(r.moved), unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
}

// readNames gives some names of a directory, from its beginning; about most of
// them, none when it is empty.
func readNames(fd, most int) ([]string, error) {
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		return nil, err
	}
	var names []string
	buf := make([]byte, 32<<10)
	for len(names) < most {
		n, err := unix.ReadDirent(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names) // leaves . and .. out
	}
	return names, nil
}

// ownAccess lets an unprivileged owner remove what is in a directory.
func ownAccess(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&0o700 == 0o700 {
		return nil
	}
	return unix.Fchmod(fd, 0o700)
}
