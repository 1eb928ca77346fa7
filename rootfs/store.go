package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The store on disk:
//
//	version                       "1\n"
//	layers/sha256-HEX/fs/         the tree of a plain tar, as the tar describes it
//	layers/diff-HEX/fs/           that of an image's layer; HEX is its diff id
//	layers/stack-HEX/fs/          that of several layers in one
//	layers/….erofs/fs.erofs       any of these as an EROFS image, instead of fs
//	layers/…/meta.json            what it was made from
//	layers/…/sums                 a checksum of each file, or of the image
//	layers/…/lock                 shared lock: in use; exclusive: being removed
//	images/sha256-HEX/image.json  an image, by the digest of its configuration
//	images/sha256-HEX/run.json    as much of it as a start needs
//	images/sha256-HEX/lock        as above
//	names/HOST%NAME:TAG           symbolic link: the image's sha256-HEX
//	index/FILE-IDENTITY           symbolic link: the layer's sha256-HEX
//	index/img-FILE-IDENTITY       symbolic link: the image's sha256-HEX
//	blocks/NAME                   a block image of a tree; its lock is its own
//	tmp/RANDOM/                   an entry in the making, its lock held
//
// An image pins its layers: a layer goes when its exclusive lock is held and,
// looked for after that, no image is there that stacks it. Who makes an image
// holds its layers' shared locks until the image is in its place.
//
// An entry is made in tmp and renamed, so it is there whole or not at all,
// and many processes may do so at once: the first to rename wins. Locks are
// flock(2)'s, which a killed process lets go of.
//
// The directory is 0700: a set-user-ID file of root's in a tree must not be
// reached by other users of the host.
//
// A change of this layout raises storeVersion and renames index and names, which
// are all that the start-up path looks at before it takes an entry.
const storeVersion = "1\n"

const (
	layersDir = "layers"
	imagesDir = "images"
	namesDir  = "names"
	indexDir  = "index"
	tmpDir    = "tmp"
)

// DefaultStore is /var/lib/hutch for root, and $XDG_DATA_HOME/hutch or
// ~/.local/share/hutch for others.
func DefaultStore() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/hutch", nil
	}
	if d := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "hutch"), nil
	}
	if d := os.Getenv("HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, ".local/share/hutch"), nil
	}
	return "", errors.New("no place for the store: HOME is no absolute path; set HOME or XDG_DATA_HOME to one")
}

// A store is a directory in that layout; "" is resolved already.
type store struct{ dir string }

func storeAt(dir string) (store, error) {
	var err error
	if dir == "" {
		dir, err = DefaultStore()
	}
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	return store{dir}, err
}

func (s store) path(elem ...string) string {
	return s.dir + "/" + strings.Join(elem, "/")
}

// create makes the store's directories, or checks those that are there. It is
// not on the path of a start that finds its entry.
func (s store) create() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("store %s: %w", s.dir, bare(err))
	}
	var st unix.Stat_t
	if err := unix.Lstat(s.dir, &st); err != nil {
		return fmt.Errorf("store %s: %w", s.dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("store %s: must be a directory of the user who runs hutch (uid %d, not %d); choose another with XDG_DATA_HOME",
			s.dir, os.Geteuid(), st.Uid)
	}
	if st.Mode&0o077 != 0 {
		if err := unix.Chmod(s.dir, 0o700); err != nil {
			return fmt.Errorf("store %s: must not be open to others: %w", s.dir, err)
		}
	}
	if err := s.checkVersion(); err != nil {
		return err
	}
	for _, d := range [...]string{layersDir, imagesDir, namesDir, indexDir, tmpDir} {
		if err := os.Mkdir(s.path(d), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("store %s: %w", s.path(d), bare(err))
		}
	}
	return nil
}

func (s store) checkVersion() error {
	path := s.path("version")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.writeVersion(path); err != nil {
			return fmt.Errorf("store %s: %w", s.dir, bare(err))
		}
		b, err = os.ReadFile(path)
	}
	if err != nil {
		return fmt.Errorf("store %s: %w", path, bare(err))
	}
	if string(b) != storeVersion {
		return fmt.Errorf("store %s: has version %s, and this hutch knows version %s; use a newer hutch, or another store",
			s.dir, quote(strings.TrimSpace(string(b))), strings.TrimSpace(storeVersion))
	}
	return nil
}

// writeVersion links the file into place, so that nobody sees it half written.
func (s store) writeVersion(path string) error {
	part, err := os.CreateTemp(s.dir, ".version-")
	if err != nil {
		return err
	}
	defer os.Remove(part.Name())
	_, err = part.WriteString(storeVersion)
	if err = errors.Join(err, part.Close()); err == nil {
		err = os.Link(part.Name(), path)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// entryName turns "sha256:HEX" into a file name.
func entryName(digest string) string { return strings.Replace(digest, ":", "-", 1) }

// errGone says that an entry is not there, or is being removed.
var errGone = errors.New("not in the store")

// use takes the shared lock of an entry and marks it as used now.
func (s store) use(name string) (*Root, error) {
	fd, err := s.hold(layersDir, name)
	if err != nil {
		return nil, err
	}
	return s.root(name, fd), nil
}

// hold takes the shared lock of an entry of layers or images.
func (s store) hold(dir, name string) (int, error) {
	fd, err := unix.Open(s.path(dir, name, "lock"), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, errGone
	}
	err = holdShared(fd)
	if err == nil && !written(fd) {
		err = s.checkWritten(dir, name, fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (s store) root(name string, lock int) *Root {
	return &Root{
		Kind: KindTar, Lowers: []string{s.lower(name)}, entries: []string{name},
		Digest: entryDigest(name), lock: lock,
	}
}

// holdShared locks without waiting: who holds it exclusively removes the
// entry. Afterwards the file may be one that was removed just before.
func holdShared(lock int) error {
	if err := unix.Flock(lock, unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return errGone
	}
	var st unix.Stat_t
	if err := unix.Fstat(lock, &st); err != nil || st.Nlink == 0 {
		return errGone
	}
	// For gc, which removes what was used least recently.
	now := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
	_ = unix.UtimesNanoAt(lock, "", now, unix.AT_EMPTY_PATH)
	return nil
}

// A draft is an entry in the making.
type draft struct {
	dir  string
	lock int
}

// draft makes a directory under tmp and locks it. The lock of tmp itself
// keeps gc from seeing the one without the other.
func (s store) draft() (*draft, error) {
	guard, err := lockDir(s.path(tmpDir), unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer unix.Close(guard)
	dir, err := os.MkdirTemp(s.path(tmpDir), "")
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", s.path(tmpDir), explain(bare(err)))
	}
	d := &draft{dir: dir}
	d.lock, err = unix.Open(dir+"/lock", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err == nil {
		err = unix.Flock(d.lock, unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil {
		err = markBoot(d.lock)
	}
	if err == nil {
		err = unix.Mkdir(dir+"/fs", 0o700)
	}
	if err != nil {
		d.discard()
		return nil, fmt.Errorf("store %s: %w", dir, explain(err))
	}
	return d, nil
}

// discard removes the draft. What cannot be removed now, gc removes.
func (d *draft) discard() {
	_ = removePath(d.dir)
	if d.lock > 0 {
		unix.Close(d.lock)
	}
}

// keep moves the draft to its place in dir, layers or images, or takes the entry that another process
// has put there meanwhile.
func (s store) keep(d *draft, dir, name string) (*Root, error) {
	for range 100 {
		err := unix.Renameat2(unix.AT_FDCWD, d.dir, unix.AT_FDCWD, s.path(dir, name), unix.RENAME_NOREPLACE)
		if err == nil {
			if err := holdShared(d.lock); err != nil {
				unix.Close(d.lock)
				return nil, fmt.Errorf("store %s: %s was removed as soon as it was made: %w", s.dir, name, err)
			}
			return s.root(name, d.lock), nil
		}
		if !errors.Is(err, unix.EEXIST) {
			d.discard()
			return nil, fmt.Errorf("store %s: %w", s.path(dir, name), err)
		}
		if fd, err := s.hold(dir, name); err == nil {
			d.discard()
			return s.root(name, fd), nil
		}
		// It is being removed.
		time.Sleep(10 * time.Millisecond)
	}
	d.discard()
	return nil, fmt.Errorf("store %s: another process keeps %s locked; try again", s.dir, name)
}

func lockDir(path string, how int) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("store %s: %w", path, err)
	}
	for {
		err := unix.Flock(fd, how)
		if err == nil {
			return fd, nil
		}
		if !errors.Is(err, unix.EINTR) {
			unix.Close(fd)
			return -1, fmt.Errorf("store %s: lock: %w", path, err)
		}
	}
}

// removePath removes a path of the store's and all below it.
func removePath(path string) error {
	dir, err := unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return removeAt(dir, filepath.Base(path))
}
