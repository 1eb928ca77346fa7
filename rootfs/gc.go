package rootfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// GCOptions say what GC removes besides abandoned temporaries, and layers that
// no image has any more.
type GCOptions struct {
	// Keep is how many bytes of unpacked files and of images of them may
	// stay. Block images go first; then what has no name, or can be fetched again,
	// the least recently used first. An image that was imported or committed
	// under a name never goes. Negative: all may stay.
	Keep int64
}

// GCStats say what GC removed.
type GCStats struct {
	Temporaries int
	Images      int
	Entries     int   // layers, and trees of tars
	Bytes       int64 // of those
	Busy        int   // images and entries that would have gone, but are in use
	Left        int64 // bytes that stay
}

// GC removes from a store ("" is the default one) what nothing needs. It may
// run beside any number of other processes.
func GC(dir string, opt GCOptions) (GCStats, error) {
	s, err := openStore(dir)
	if err != nil || s.dir == "" {
		return GCStats{}, err
	}
	st := GCStats{Temporaries: s.sweep()}
	if err := s.removeUnused(&st, isLayer); err != nil {
		return st, err
	}
	if opt.Keep >= 0 {
		err = s.shrink(&st, opt.Keep)
	}
	s.dropDangling()
	if _, total, terr := s.entries(); err == nil {
		st.Left, err = total, terr
	}
	return st, err
}

// isLayer tells an image's layer from a tar's tree, which needs no image.
func isLayer(entry string) bool { return !strings.HasPrefix(entry, "sha256-") }

// A candidate is what shrink may remove.
type candidate struct {
	dir, name string
	used      time.Time
}

// shrink removes images and trees, the least recently used first, until the
// rest has at most keep bytes.
func (s store) shrink(st *GCStats, keep int64) error {
	list, total, err := s.entries()
	if err != nil {
		return err
	}
	keep -= s.gcBlocks(total, keep, st) - total
	images, err := s.images()
	if err != nil {
		return err
	}
	var may []candidate
	for _, e := range list {
		if !isLayer(e.name) {
			may = append(may, candidate{layersDir, e.name, e.used})
		}
	}
	for _, img := range images {
		if len(img.Names) == 0 || img.Fetched {
			may = append(may, candidate{imagesDir, entryName(img.ID), img.Used})
		}
	}
	sort.SliceStable(may, func(i, j int) bool { return may[i].used.Before(may[j].used) })
	for _, c := range may {
		if total <= keep {
			break
		}
		if c.dir == imagesDir {
			switch err := s.removeEntry(imagesDir, c.name); {
			case err == nil:
				st.Images++
			case errors.Is(err, errBusy):
				st.Busy++
			case !errors.Is(err, errGone):
				return err
			}
		}
		// Of a tar's tree, only this one; of layers, what the image alone had.
		only := isLayer
		if c.dir == layersDir {
			only = func(entry string) bool { return entry == c.name }
		}
		if err := s.removeUnused(st, only); err != nil {
			return err
		}
		if _, total, err = s.entries(); err != nil {
			return err
		}
	}
	return nil
}

// removeUnused removes the entries of layers that are wanted by no image and
// by nobody who runs; only says which come into question. An entry's exclusive
// lock is taken first and the images are looked at after it: who makes an image
// holds the shared lock until the image is there.
func (s store) removeUnused(st *GCStats, only func(entry string) bool) error {
	list, _, err := s.entries()
	if err != nil {
		return err
	}
	locked := map[string]int{}
	defer func() {
		for _, fd := range locked {
			unix.Close(fd)
		}
	}()
	wanted, err := s.wanted()
	if err != nil {
		return err
	}
	for _, e := range list {
		if !only(e.name) || wanted[e.name] {
			continue
		}
		fd, err := s.lockOut(layersDir, e.name)
		if errors.Is(err, errBusy) {
			st.Busy++
		}
		if err == nil {
			locked[e.name] = fd
		}
	}
	if len(locked) == 0 {
		return nil
	}
	if wanted, err = s.wanted(); err != nil {
		return err
	}
	for _, e := range list {
		if _, ok := locked[e.name]; !ok || wanted[e.name] {
			continue
		}
		if err := s.moveOut(layersDir, e.name); err != nil {
			return err
		}
		st.Entries++
		st.Bytes += e.bytes
	}
	return nil
}

// wanted gives the entries that images stack or consist of.
func (s store) wanted() (map[string]bool, error) {
	images, err := s.imageEntries()
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, img := range images {
		lowers, err := s.lowersOf(img)
		if errors.Is(err, os.ErrNotExist) {
			continue // just removed
		}
		for _, l := range lowers {
			wanted[l] = true
		}
	}
	return wanted, nil
}

// Remove removes the tree of the tar with this digest, unless it is in use.
func Remove(dir, digest string) error {
	s, err := openStore(dir)
	if err != nil {
		return err
	}
	if !validDigest(digest) {
		return fmt.Errorf("store entry %s: a digest is sha256: and 64 hexadecimal digits", quote(digest))
	}
	if s.dir == "" {
		return fmt.Errorf("store entry %s: %w", digest, errGone)
	}
	err = errGone
	for _, f := range [...]Format{FormatDir, FormatErofs} {
		if ferr := s.removeSurely(layersDir, f.in(entryName(digest))); !errors.Is(ferr, errGone) && (err == nil || errors.Is(err, errGone)) {
			err = ferr
		}
	}
	if err != nil {
		return fmt.Errorf("store entry %s: %w", digest, err)
	}
	s.dropDangling()
	return nil
}

type storeEntry struct {
	name  string
	bytes int64
	used  time.Time
}

// entries lists the layers, the least recently used first.
func (s store) entries() (list []storeEntry, total int64, err error) {
	dirs, err := os.ReadDir(s.path(layersDir))
	if err != nil {
		return nil, 0, fmt.Errorf("store %s: %w", s.path(layersDir), bare(err))
	}
	for _, d := range dirs {
		e := storeEntry{name: d.Name()}
		if fi, err := os.Lstat(s.path(layersDir, e.name, "lock")); err == nil {
			e.used = fi.ModTime()
		}
		var m meta
		if b, err := os.ReadFile(s.path(layersDir, e.name, "meta.json")); err == nil && json.Unmarshal(b, &m) == nil {
			if e.bytes = m.Bytes; m.Image > 0 {
				e.bytes = m.Image
			}
		}
		total += e.bytes
		list = append(list, e)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].used.Before(list[j].used) })
	return list, total, nil
}

var errBusy = errors.New("is in use")

// removeSurely is removeEntry for one that somebody wants to be gone: a process
// that was just born has its parent's locks until it executes its program.
func (s store) removeSurely(dir, name string) (err error) {
	for range 20 {
		if err = s.removeEntry(dir, name); !errors.Is(err, errBusy) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return err
}

// removeEntry removes an entry of layers or images that nobody uses.
func (s store) removeEntry(dir, name string) error {
	lock, err := s.lockOut(dir, name)
	if err != nil {
		return err
	}
	defer unix.Close(lock)
	return s.moveOut(dir, name)
}

// lockOut takes the exclusive lock of an entry.
func (s store) lockOut(dir, name string) (int, error) {
	lock, err := unix.Open(s.path(dir, name, "lock"), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return -1, errGone
	}
	if err != nil {
		return -1, err
	}
	if err := unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		unix.Close(lock)
		return -1, errBusy
	}
	// Another process may have removed the entry since the lock was opened, and
	// a third may have made it anew: then this is the lock of no entry.
	var st unix.Stat_t
	if err := unix.Fstat(lock, &st); err != nil || st.Nlink == 0 {
		unix.Close(lock)
		return -1, errGone
	}
	return lock, nil
}

// moveOut moves an entry whose exclusive lock is held out of sight first, so
// that a kill leaves a temporary and never half an entry. An entry of that name
// may have been made anew and be removed once more while the first is.
func (s store) moveOut(dir, name string) error {
	for {
		gone := s.path(tmpDir, fmt.Sprintf("gc-%016x-%s", rand.Uint64(), name))
		err := unix.Renameat2(unix.AT_FDCWD, s.path(dir, name), unix.AT_FDCWD, gone, unix.RENAME_NOREPLACE)
		switch {
		case err == nil:
			return removePath(gone)
		case !errors.Is(err, unix.EEXIST):
			return fmt.Errorf("store %s: %w", s.path(dir, name), err)
		}
	}
}

// sweep removes the temporaries whose makers are dead: nobody holds their
// locks. It gives their number.
func (s store) sweep() int {
	guard, err := lockDir(s.path(tmpDir), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		return 0 // someone is just making one; another time, then
	}
	names, err := os.ReadDir(s.path(tmpDir))
	var dead []string
	var locks []int
	for _, n := range names {
		path := s.path(tmpDir, n.Name())
		lock, lerr := unix.Open(path+"/lock", unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if lerr == nil {
			locks = append(locks, lock)
			if unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB) != nil {
				continue // its maker lives
			}
		}
		dead = append(dead, path)
	}
	unix.Close(guard)
	for _, path := range dead {
		err = errors.Join(err, removePath(path))
	}
	for _, l := range locks {
		unix.Close(l)
	}
	return len(dead)
}

// dropDangling removes what points to entries that are gone, and what a killed
// process did not get to rename.
func (s store) dropDangling() {
	s.dropIn(indexDir)
	// Whoever gives a name holds the lock shared: none of the links can come to
	// point elsewhere after it was looked at.
	if guard, err := lockDir(s.path(namesDir), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		s.dropIn(namesDir)
		unix.Close(guard)
	}
}

func (s store) dropIn(dir string) {
	list, err := os.ReadDir(s.path(dir))
	if err != nil {
		return
	}
	for _, n := range list {
		path, at := s.path(dir, n.Name()), layersDir
		if dir == namesDir || strings.HasPrefix(n.Name(), "img-") {
			at = imagesDir
		}
		to, err := os.Readlink(path)
		if err != nil {
			continue
		}
		_, err = os.Lstat(s.path(at, to))
		if errors.Is(err, os.ErrNotExist) || strings.HasPrefix(n.Name(), ".new-") && (dir == namesDir || isOld(n)) {
			_ = os.Remove(path)
		}
	}
}

// isOld tells what nobody can still be at.
func isOld(e os.DirEntry) bool {
	fi, err := e.Info()
	return err == nil && time.Since(fi.ModTime()) > time.Minute
}
