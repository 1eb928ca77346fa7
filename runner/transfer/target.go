package transfer

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// A Target is where a copy is to be placed: as Name in the directory Dir,
// opened with O_PATH.
type Target struct {
	Dir  int
	Name string
}

// join says where a copy of source goes, for target: into that under its own
// last name where target is a directory, as cp(1) does.
func join(target, source string, isDir bool) (dir, name string, err error) {
	slash := strings.HasSuffix(target, "/")
	switch {
	case isDir:
		dir, name = target, path.Base(path.Clean(source))
	case slash:
		return "", "", errors.New("there is no such directory")
	default:
		dir, name = path.Split(target)
	}
	if dir == "" {
		dir = "."
	}
	if name == "." || name == ".." || name == "/" {
		return "", "", errors.New("name the target in full: the source has no name of its own")
	}
	return dir, name, nil
}

// OpenTarget finds the place for a copy of source at target, a path of the
// host. What cannot be written there is an error now, not after the run.
func OpenTarget(target, source string) (Target, error) {
	var st unix.Stat_t
	isDir := unix.Stat(target, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
	dir, name, err := join(target, source, isDir)
	if err != nil {
		return Target{}, err
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Target{}, fmt.Errorf("directory %s: %w", dir, err)
	}
	if err = unix.Faccessat(fd, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS); err == nil {
		err = Replaceable(fd, name)
	}
	if err != nil {
		unix.Close(fd)
		return Target{}, err
	}
	return Target{fd, name}, nil
}

// OpenTargetIn finds the place for a copy of source at target, an absolute
// path below root, the root directory of a box. Symbolic links resolve inside
// the root; directories that are missing are made, and belong to uid and gid
// where chown is set. Only the file systems of own, by device, are written to.
func OpenTargetIn(root int, target, source string, own []uint64, o PlaceOptions) (Target, error) {
	isDir := false
	if fd, err := openIn(root, target); err == nil {
		isDir = true
		unix.Close(fd)
	}
	if !isDir && strings.HasSuffix(target, "/") {
		target += path.Base(path.Clean(source)) // which makes the directory
	}
	dir, name, err := join(target, source, isDir)
	if err != nil {
		return Target{}, err
	}
	fd, err := makeIn(root, dir, own, o)
	if err != nil {
		return Target{}, err
	}
	if err := Replaceable(fd, name); err != nil {
		unix.Close(fd)
		return Target{}, err
	}
	return Target{fd, name}, nil
}

func openIn(root int, dir string) (int, error) {
	return openat2(root, dir, unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

// makeIn opens dir, and makes what is missing of it.
func makeIn(root int, dir string, own []uint64, o PlaceOptions) (int, error) {
	at, err := openIn(root, "/")
	if err != nil {
		return -1, err
	}
	walked := ""
	for part := range strings.SplitSeq(dir, "/") {
		if part == "" || part == "." {
			continue
		}
		walked += "/" + part
		next, err := openIn(root, walked)
		if errors.Is(err, unix.ENOENT) {
			next, err = makeOne(at, part, own, o)
		}
		unix.Close(at)
		if err != nil {
			return -1, fmt.Errorf("directory %s: %w", walked, err)
		}
		at = next
	}
	if err := isOwn(at, own); err != nil {
		unix.Close(at)
		return -1, fmt.Errorf("directory %s: %w", dir, err)
	}
	return at, nil
}

func makeOne(at int, name string, own []uint64, o PlaceOptions) (int, error) {
	if err := isOwn(at, own); err != nil {
		return -1, err
	}
	if err := unix.Mkdirat(at, name, 0o755); err != nil {
		return -1, err
	}
	const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS
	fd, err := openat2(at, name, unix.O_PATH|unix.O_DIRECTORY, resolve)
	if err != nil {
		return -1, err
	}
	// The caller's umask is no business of the box.
	if err = unix.Fchmodat(at, name, 0o755, 0); err == nil && o.Chown {
		err = unix.Fchownat(at, name, o.UID, o.GID, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// isOwn keeps a copy out of what is bound from the host.
func isOwn(dir int, own []uint64) error {
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return err
	}
	for _, d := range own {
		if d == st.Dev {
			return nil
		}
	}
	return errors.New("is not on a file system that the box writes to")
}
