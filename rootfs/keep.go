package rootfs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Kept writes, in the store:
//
//	keep/NAME/lock        locked while a box or a command uses it; the holder's pid
//	keep/NAME/meta.json   what it was made on
//	keep/NAME/data/       upper and work of the overlay, or
//	keep/NAME/disk.img    an ext4 with the two in it, where that caps them
//	keep/NAME/image       what upper holds, for the guest that is running
//	keep/NAME/merging     what a guest has written is being put in
//
// meta.json comes last, by a rename: what was killed on the way is made anew.
const keepDir = "keep"

// KeepOptions say how writes are kept.
type KeepOptions struct {
	Store string // "" is DefaultStore
	// Lowers is what the writes lie on, as in Root. Kept writes fit no other:
	// overlayfs does not notice, and shows nonsense.
	Lowers []string
	// Source is what Lowers came from, for people; Image is the digest of the
	// image, if it was one.
	Source, Image string
	// Disk and Inodes cap what is kept; 0 means no cap. Where a cap cannot be
	// enforced, it is an error.
	Disk, Inodes int64
}

// keepMeta is meta.json.
type keepMeta struct {
	Source string    `json:"source"`
	Image  string    `json:"image,omitempty"`
	Lowers []string  `json:"lowers"`
	Made   time.Time `json:"made"`
	Disk   int64     `json:"disk,omitempty"`
	Inodes int64     `json:"inodes,omitempty"`
}

// A Keep is writes that are kept from run to run, locked for this process.
type Keep struct {
	Name string
	// Path is where they are, for Spec.Root.Keep.
	Path string
	// Source and Lowers are what they were made on.
	Source string
	Lowers []string
	// Capped says that Disk is enforced.
	Capped bool

	dir  string
	lock int
	meta keepMeta
	// damaged says that meta cannot be read.
	damaged error
}

// OpenKeep takes the writes kept under name, or begins new ones. The error
// unwraps to unix.EBUSY where another process uses them, and names it.
func OpenKeep(name string, opt KeepOptions) (*Keep, error) {
	s, err := storeAt(opt.Store)
	if err == nil {
		err = checkKeepName(name)
	}
	if err == nil && opt.Inodes > 0 && opt.Disk == 0 {
		err = fmt.Errorf("keep %s: its inodes can be capped only with its disk; add --disk", name)
	}
	if err == nil {
		err = s.create()
	}
	if err != nil {
		return nil, err
	}
	for _, dir := range [...]string{s.path(keepDir), s.path(keepDir, name)} {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("keep %s: %w", name, bare(err))
		}
	}
	k, err := s.lockKeep(name)
	if err != nil {
		return nil, err
	}
	if k.damaged != nil {
		err = k.damaged
	} else if k.meta.Lowers != nil {
		err = k.again(opt)
	} else if err = k.begin(opt); err != nil {
		_ = k.Remove() // or the next run makes it anew
	}
	if err != nil {
		k.Close()
		return nil, fmt.Errorf("keep %s: %w", name, err)
	}
	return k, nil
}

// FindKeep takes kept writes that are there. Without Lowers they are damaged,
// and can only be removed.
func FindKeep(store, name string) (*Keep, error) {
	s, err := storeAt(store)
	if err == nil {
		err = checkKeepName(name)
	}
	if err != nil {
		return nil, err
	}
	k, err := s.lockKeep(name)
	if err == nil && k.meta.Lowers == nil && k.damaged == nil {
		k.Close()
		err = unix.ENOENT
	}
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("keep %s: nothing is kept under this name; hutch keep ls lists what is", name)
	}
	return k, err
}

// KeepPath is where writes kept under name are, or will be.
func KeepPath(store, name string) (string, error) {
	s, err := storeAt(store)
	if err == nil {
		err = checkKeepName(name)
	}
	path := s.path(keepDir, name, "disk.img")
	if err == nil && !exists(path) {
		path = s.path(keepDir, name, "data")
	}
	return path, err
}

func checkKeepName(name string) error {
	ok := name != "" && len(name) <= 64 && isAlnum(name[0])
	for i := range len(name) {
		ok = ok && (isAlnum(name[i]) || strings.IndexByte("._-", name[i]) >= 0)
	}
	if !ok {
		return fmt.Errorf("keep %s: cannot be a name; use at most 64 letters, digits, dots, hyphens and underscores, a letter or digit first", quote(name))
	}
	return nil
}

// lockKeep locks what is there, and reads what it was made on, if it is whole.
func (s store) lockKeep(name string) (*Keep, error) {
	k := &Keep{Name: name, dir: s.path(keepDir, name)}
	var err error
	k.lock, err = unix.Open(k.dir+"/lock", unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep %s: %w", name, err)
	}
	if err := k.takeLock(); err != nil {
		unix.Close(k.lock)
		return nil, err
	}
	var now, have unix.Stat_t
	if unix.Fstat(k.lock, &have) != nil || unix.Lstat(k.dir+"/lock", &now) != nil || now.Ino != have.Ino {
		unix.Close(k.lock)
		return nil, fmt.Errorf("keep %s: was removed just now; try again", name)
	}
	// Of one length: ext4 writes a file that was cut to nothing to the disk when
	// it is closed. The time of the write is that of the last use.
	if _, err = unix.Pwrite(k.lock, fmt.Appendf(nil, "%10d\n", os.Getpid()), 0); err != nil {
		unix.Close(k.lock)
		return nil, fmt.Errorf("keep %s: lock: %w", name, err)
	}
	if b, err := os.ReadFile(k.dir + "/meta.json"); err == nil {
		if err := json.Unmarshal(b, &k.meta); err != nil {
			k.damaged = fmt.Errorf("meta.json is damaged: %w; hutch keep rm %s removes what is kept", err, name)
		}
	}
	k.Source, k.Lowers = k.meta.Source, k.meta.Lowers
	if k.Path = k.dir + "/data"; exists(k.dir + "/disk.img") {
		k.Path = k.dir + "/disk.img"
	}
	k.Capped = k.meta.Disk > 0
	return k, nil
}

func exists(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil
}

// takeLock waits a moment: a list looks at the lock too, and a box that was
// killed holds it until it is dead.
func (k *Keep) takeLock() error {
	var err error
	for range 20 {
		if err = unix.Flock(k.lock, unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		return k.heldBy(err)
	}
	return nil
}

// heldBy names the process that holds the lock. Its box may outlive it for a
// moment.
func (k *Keep) heldBy(err error) error {
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("keep %s: lock: %w", k.Name, err)
	}
	var b [20]byte
	n, _ := unix.Pread(k.lock, b[:], 0)
	who := "another process"
	if n > 0 {
		who = "process " + string(bytes.TrimSpace(b[:n])) + " or its box"
	}
	return &keepBusy{fmt.Sprintf("keep %s: is in use by %s; one box at a time may write there: wait for it, or keep under another name", k.Name, who)}
}

type keepBusy struct{ text string }

func (e *keepBusy) Error() string { return e.text }
func (e *keepBusy) Unwrap() error { return unix.EBUSY }

// begin makes the place, which is whole when meta.json is there.
func (k *Keep) begin(opt KeepOptions) error {
	for _, rest := range [...]string{"/data", "/disk.img"} {
		if err := removePath(k.dir + rest); err != nil {
			return err
		}
	}
	k.Path = k.dir + "/data"
	if err := os.Mkdir(k.Path, 0o700); err != nil {
		return bare(err)
	}
	if opt.Disk > 0 {
		if err := k.cap(opt); err != nil {
			return err
		}
	}
	now := time.Now().UTC()
	k.Source, k.Lowers = opt.Source, opt.Lowers
	k.meta = keepMeta{Source: opt.Source, Image: opt.Image, Lowers: opt.Lowers, Made: now, Disk: opt.Disk, Inodes: opt.Inodes}
	return k.write()
}

// again takes what a run before has kept, if it fits what is asked for now.
func (k *Keep) again(opt KeepOptions) error {
	if !slices.Equal(opt.Lowers, k.meta.Lowers) {
		return fmt.Errorf("was made on %s, and fits no other root; use that one, or another name", k.meta.Source)
	}
	write := opt.Image != "" && opt.Image != k.meta.Image
	if write {
		k.meta.Image, k.meta.Source, k.Source = opt.Image, opt.Source, opt.Source
	}
	if opt.Disk > 0 && (opt.Disk != k.meta.Disk || opt.Inodes > 0 && opt.Inodes != k.meta.Inodes) {
		if strings.HasSuffix(k.Path, ".img") {
			return fmt.Errorf("was made with a disk of %d bytes, which does not change; leave --disk out, or use another name", k.meta.Disk)
		}
		if err := setQuota(k.Path, opt.Disk, opt.Inodes); err != nil {
			return noQuota(err)
		}
		k.meta.Disk, k.meta.Inodes, k.Capped = opt.Disk, opt.Inodes, true
		write = true
	}
	if write {
		return k.write()
	}
	return nil
}

func (k *Keep) write() error {
	b, err := json.MarshalIndent(k.meta, "", "  ")
	if err != nil {
		return err
	}
	part := k.dir + "/meta.json.part"
	if err = os.WriteFile(part, append(b, '\n'), 0o600); err == nil {
		err = os.Rename(part, k.dir+"/meta.json")
	}
	return bare(err)
}

// Lock is the descriptor that holds the lock; it is the Keep's.
func (k *Keep) Lock() int { return k.lock }

// Close lets others use it. On nil it does nothing.
func (k *Keep) Close() {
	if k == nil || k.lock < 0 {
		return
	}
	unix.Close(k.lock)
	k.lock = -1
}

// Dir is the directory to hand to RemoveKept, open.
func (k *Keep) Dir() (*os.File, error) { return os.Open(k.dir) }

// Remove removes what is kept and closes the Keep. An ordinary user whose box
// had several ids cannot remove what belongs to the others: the error then
// unwraps to unix.EACCES or unix.EPERM, and RemoveKept has to be called before,
// by a process that maps these ids.
func (k *Keep) Remove() error {
	defer k.Close()
	// Without meta.json it is nothing that was begun; a kill leaves no half of it.
	if err := os.Remove(k.dir + "/meta.json"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("keep %s: %w", k.Name, bare(err))
	}
	for _, rest := range [...]string{"/data", "/disk.img", "/disk.img.part", "/image", "/image.part", "/merging", "/meta.json.part", "/lock"} {
		if err := removePath(k.dir + rest); err != nil {
			return fmt.Errorf("keep %s: %w", k.Name, err)
		}
	}
	if err := os.Remove(k.dir); err != nil {
		return fmt.Errorf("keep %s: %w", k.Name, bare(err))
	}
	return nil
}

// NewImage is a new file for KeptImage, which has no place yet.
func (k *Keep) NewImage() (*os.File, error) {
	f, err := os.OpenFile(k.dir+"/image.part", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keep %s: %w", k.Name, bare(err))
	}
	return f, nil
}

// PlaceImage gives what NewImage made its place, where nobody writes to it any
// more: the guest of a hutch that was killed may still be reading the one before.
func (k *Keep) PlaceImage() (path string, err error) {
	part := k.dir + "/image.part"
	if err = os.Chmod(part, 0o400); err == nil {
		err = os.Rename(part, k.dir+"/image")
	}
	if err != nil {
		return "", fmt.Errorf("keep %s: %w", k.Name, bare(err))
	}
	return k.dir + "/image", nil
}

// DropImage removes what the two above have made.
func (k *Keep) DropImage() {
	_ = os.Remove(k.dir + "/image.part")
	_ = os.Remove(k.dir + "/image")
}

// Merging notes that MergeKept is at work, or that it is not any more. A note
// that is found stands for one that was killed.
func (k *Keep) Merging(now bool) error {
	var err error
	if now {
		err = os.WriteFile(k.dir+"/merging", nil, 0o600)
	} else if err = os.Remove(k.dir + "/merging"); errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("keep %s: %w", k.Name, bare(err))
	}
	return nil
}

// WasMerging says that the note is there.
func (k *Keep) WasMerging() bool { return exists(k.dir + "/merging") }

// RemoveKept removes what boxes have written into an open Keep.Dir.
func RemoveKept(dir *os.File) error { return removeAt(int(dir.Fd()), "data") }

// A Kept is a line of the list of what is kept.
type Kept struct {
	Name, Source string
	Used         time.Time
	Bytes        int64 // on disk
	Disk         int64 // the cap, 0 without one
	Busy         bool
}

// Keeps lists what is kept, by name.
func Keeps(store string) ([]Kept, error) {
	s, err := storeAt(store)
	if err != nil {
		return nil, err
	}
	dirs, err := os.ReadDir(s.path(keepDir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", s.path(keepDir), bare(err))
	}
	var list []Kept
	for _, d := range dirs {
		var m keepMeta
		b, err := os.ReadFile(s.path(keepDir, d.Name(), "meta.json"))
		if err != nil || json.Unmarshal(b, &m) != nil {
			continue
		}
		kept := Kept{Name: d.Name(), Source: m.Source, Disk: m.Disk}
		kept.Bytes = diskUse(s.path(keepDir, d.Name()))
		if lock, err := unix.Open(s.path(keepDir, d.Name(), "lock"), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err == nil {
			var st unix.Stat_t
			if unix.Fstat(lock, &st) == nil {
				kept.Used = time.Unix(st.Mtim.Unix())
			}
			kept.Busy = unix.Flock(lock, unix.LOCK_SH|unix.LOCK_NB) != nil
			unix.Close(lock)
		}
		list = append(list, kept)
	}
	return list, nil
}

// diskUse adds up what a tree takes, without following links; what cannot be
// read is not counted.
func diskUse(dir string) int64 {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	return diskUseAt(fd, 0)
}

func diskUseAt(fd, depth int) (sum int64) {
	defer unix.Close(fd)
	names, err := allNames(fd)
	if err != nil || depth > 64 {
		return 0
	}
	for _, name := range names {
		var st unix.Stat_t
		if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			continue
		}
		sum += st.Blocks * blockSize
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			if sub, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err == nil {
				sum += diskUseAt(sub, depth+1)
			}
		}
	}
	return sum
}
