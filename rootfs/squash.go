package rootfs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// lowersMax is how many directories a root stacks. The kernel takes 500
// (OVL_MAX_STACK), less the upper's; each costs a start some microseconds, see
// README.md.
const lowersMax = 64

// A squashed entry shows what several layers show together.
type squashed struct {
	root  *Root
	entry string
}

// squash puts the lowest layers of an image, the topmost first, into one entry.
// It is made of hard links: it costs directories, and no data; but where one of
// them is an EROFS image, it is another, a copy.
func (s store) squash(ctx context.Context, lowers []string) (squashed, error) {
	format := FormatDir
	if slices.ContainsFunc(lowers, func(l string) bool { return formatOf(l) == FormatErofs }) {
		format = FormatErofs
	}
	entry := format.in("stack-" + digestBytes([]byte(strings.Join(lowers, " ")))[len("sha256:"):])
	if r, err := s.use(entry); err == nil {
		return squashed{r, entry}, nil
	}
	d, err := s.draft()
	if err != nil {
		return squashed{}, err
	}
	m := meta{Source: strings.Join(lowers, " ")}
	if format == FormatErofs {
		m.Image, err = s.squashImages(ctx, d, lowers)
	} else {
		err = s.squashDirs(ctx, d, lowers)
	}
	if err == nil {
		err = writeJSON(d.dir+"/meta.json", m)
	}
	if err != nil {
		d.discard()
		return squashed{}, fmt.Errorf("stack layers: %w", err)
	}
	r, err := s.keep(d, layersDir, entry)
	return squashed{r, entry}, err
}

func (s store) squashDirs(ctx context.Context, d *draft, lowers []string) error {
	for _, l := range lowers {
		if err := addTree(ctx, d.dir+"/fs", s.path(layersDir, l, "fs")); err != nil {
			return err
		}
	}
	_, err := d.seal(ctx, FormatDir)
	return err
}

// squashImages has overlayfs itself say what the layers show together. Nothing
// lies below them, so that whiteouts are not needed any more.
func (s store) squashImages(ctx context.Context, d *draft, lowers []string) (int64, error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fs)
	for _, l := range lowers {
		fd, err := openLower(s.lower(l))
		if err != nil {
			return 0, err
		}
		err = unix.FsconfigSetString(fs, "lowerdir+", "/proc/self/fd/"+itoa(int64(fd)))
		unix.Close(fd)
		if err != nil {
			return 0, fmt.Errorf("%s: overlay of layers: %w", l, err)
		}
	}
	defer func() {
		for _, l := range lowers {
			closeViews([]string{s.lower(l)})
		}
	}()
	if err := unix.FsconfigSetFlag(fs, "userxattr"); err != nil { // as boxes mount it
		return 0, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return 0, err
	}
	tree, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return 0, err
	}
	defer unix.Close(tree)
	return d.sealImage(ctx, "/proc/self/fd/"+itoa(int64(tree)))
}

// addTree adds to dir what it lacks of a layer that lies below those that are
// in it. Whiteouts and opaque directories are kept: they hide what comes after,
// and in a lowest layer they mean nothing.
func addTree(ctx context.Context, dir, layer string) error {
	to, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	from, err := unix.Open(layer, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	names, err := readNames(to, 1)
	if err == nil && len(names) == 0 { // the topmost layer says what the root is like
		err = copyDirAttrs(to, from)
	}
	if err != nil {
		return err
	}
	return addDir(ctx, to, from)
}

// addDir adds what the directory to lacks of from, and what from hides of the
// layers below it.
func addDir(ctx context.Context, to, from int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if opaque(to) {
		return nil
	}
	var before unix.Stat_t
	if err := unix.Fstat(to, &before); err != nil {
		return err
	}
	names, err := allNames(from)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := addName(ctx, to, from, n); err != nil {
			return fmt.Errorf("%s: %w", quoteOdd(n), err)
		}
	}
	if err := markMerged(to, from); err != nil {
		return err
	}
	return unix.UtimesNanoAt(to, "", []unix.Timespec{before.Atim, before.Mtim}, unix.AT_EMPTY_PATH)
}

func addName(ctx context.Context, to, from int, name string) error {
	var have, st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	err := unix.Fstatat(to, name, &have, unix.AT_SYMLINK_NOFOLLOW)
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	switch {
	case err == nil && have.Mode&unix.S_IFMT != unix.S_IFDIR:
		return nil // hidden
	case err == nil && !isDir:
		return hideBelow(to, name)
	case err != nil && !errors.Is(err, unix.ENOENT):
		return err
	case err != nil && !isDir:
		return linkName(to, from, name, &st)
	}
	created := err != nil
	if created {
		if err := unix.Mkdirat(to, name, 0o700); err != nil {
			return err
		}
	}
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	sub, err := unix.Openat(to, name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(sub)
	below, err := unix.Openat(from, name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(below)
	if !created {
		return addDir(ctx, sub, below)
	}
	// The attributes come last: an opaque directory takes nothing more.
	if err := addDir(ctx, sub, below); err != nil {
		return err
	}
	return copyDirAttrs(sub, below)
}

// originUser is overlayfs's note of what a directory was copied up from; nothing
// in it stands for an origin that is not known. A directory with it that lies over
// no other is searched for whiteouts all the same, and does not show them.
const originUser = "user.overlay.origin"

// markMerged gives a directory what from was to overlayfs, now that all of from
// is in it: what hid the layers below goes on doing so, and whiteouts that there
// is nothing below for any more are not shown.
func markMerged(to, from int) error {
	origin := make([]byte, 256)
	n, err := unix.Fgetxattr(from, originUser, origin)
	if err == nil || !hasAttr(to, originUser) {
		if err := unix.Fsetxattr(to, originUser, origin[:max(n, 0)], 0); err != nil {
			return fmt.Errorf("%s: %w; the store's file system must keep this attribute", originUser, err)
		}
	}
	if !opaque(from) {
		return nil
	}
	if err := unix.Fsetxattr(to, opaqueUser, []byte("y"), 0); err != nil {
		return fmt.Errorf("%s: %w", opaqueUser, err)
	}
	return nil
}

// linkName gives a file another name. The kernel makes of all whiteouts of an
// overlay one file, which may have as many names as a file can have.
func linkName(to, from int, name string, st *unix.Stat_t) error {
	err := unix.Linkat(from, name, to, name, 0)
	if errors.Is(err, unix.EMLINK) && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 {
		return unix.Mknodat(to, name, unix.S_IFCHR, 0)
	}
	return err
}

// hideBelow makes opaque a directory that stands where the layer below has a
// whiteout or a file: what lies below those stays hidden.
func hideBelow(to int, name string) error {
	fd, err := unix.Openat(to, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fsetxattr(fd, opaqueUser, []byte("y"), 0)
}

// copyDirAttrs gives a directory the owner, mode, attributes and times of another.
func copyDirAttrs(to, from int) error {
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return err
	}
	if err := unix.Fchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	var list [4096]byte
	n, err := unix.Flistxattr(from, list[:])
	if err != nil && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list[:max(n, 0)]), "\x00"), "\x00") {
		var value [65536]byte
		if name == "" || strings.HasPrefix(name, "security.") {
			continue // the host's policy labels what is made
		}
		m, err := unix.Fgetxattr(from, name, value[:])
		if err == nil {
			err = unix.Fsetxattr(to, name, value[:m], 0)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := unix.Fchmod(to, st.Mode&0o7777); err != nil {
		return err
	}
	return unix.UtimesNanoAt(to, "", []unix.Timespec{st.Atim, st.Mtim}, unix.AT_EMPTY_PATH)
}
