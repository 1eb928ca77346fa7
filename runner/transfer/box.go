package transfer

import (
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

// Out packs source, an absolute path below root, the root directory of a box.
func Out(w io.Writer, root int, source string, o PackOptions) (size int64, err error) {
	fd, err := OpenSource(root, source)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return Pack(w, fd, o)
}

// In places what Pack made of source at target, an absolute path below root,
// and only on what the box itself writes to: its root, what /tmp is on, and
// each tmpfs.
func In(r io.Reader, root int, target, source string, tmpfs []string, o PlaceOptions) (size int64, err error) {
	to, err := OpenTargetIn(root, target, source, ownFileSystems(root, tmpfs), o)
	if err != nil {
		return 0, err
	}
	defer unix.Close(to.Dir)
	return Place(r, to.Dir, to.Name, o)
}

// ownFileSystems are the devices that a box writes to.
func ownFileSystems(root int, tmpfs []string) (own []uint64) {
	for _, dir := range append([]string{"/", "/tmp"}, tmpfs...) {
		fd, err := OpenSource(root, dir)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil {
			own = append(own, st.Dev)
		}
		unix.Close(fd)
	}
	return own
}

// Hint says what to do about the error of a copy.
func Hint(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "is there already"):
		return "name a place that is free, a file to replace, or a directory to copy into"
	case strings.Contains(text, "copy limit"):
		return "raise --copy-limit, or copy less"
	case strings.Contains(text, unix.ENOSPC.Error()):
		return "free some space there; inside the root, --disk and --inodes say how much there is"
	case strings.Contains(text, "file system that the box writes to"):
		return "copy below /tmp, or to a place of the root that nothing is bound on"
	case strings.Contains(text, unix.EACCES.Error()) || strings.Contains(text, unix.EPERM.Error()):
		return "copy below /tmp, or to a place of the root that belongs to an id of the box"
	case strings.Contains(text, "link") || strings.Contains(text, "FIFO") || strings.Contains(text, "device") || strings.Contains(text, "socket"):
		return "only regular files and directories are copied; save the rest in a tar, and copy that"
	case strings.Contains(text, unix.ENOENT.Error()):
		return "for a copy in the file must be there on the host; for a copy out, inside when the application ends, and the directory that it goes to on the host"
	}
	return "hutch run --help says what is copied where"
}
