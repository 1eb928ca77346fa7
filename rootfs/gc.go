package rootfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// GCOptions say what GC removes besides abandoned temporaries.
type GCOptions struct {
	// Keep is how many bytes of unpacked files and of their block images may
	// stay; images go first, and what was used least recently. Negative: all may stay.
	Keep int64
}

// GCStats say what GC removed.
type GCStats struct {
	Temporaries int
	Entries     int
	Bytes       int64 // of those entries
	Busy        int   // entries that would have gone, but are in use
}

// GC removes from a store ("" is the default one) what processes that died
// left behind, and entries that nobody uses until the others fit into Keep.
// It may run beside any number of other processes.
func GC(dir string, opt GCOptions) (GCStats, error) {
	s, err := storeAt(dir)
	if err != nil {
		return GCStats{}, err
	}
	if _, err := os.Lstat(s.dir); errors.Is(err, os.ErrNotExist) {
		return GCStats{}, nil
	}
	if err := s.create(); err != nil {
		return GCStats{}, err
	}
	st := GCStats{Temporaries: s.sweep()}
	if opt.Keep < 0 {
		return st, nil
	}
	list, total, err := s.entries()
	if err != nil {
		return st, err
	}
	total = s.gcImages(total, opt.Keep, &st)
	for _, e := range list {
		if total <= opt.Keep {
			break
		}
		switch err := s.removeEntry(e.name); {
		case err == nil:
			st.Entries++
			st.Bytes += e.bytes
			total -= e.bytes
		case errors.Is(err, errGone):
			total -= e.bytes
		case errors.Is(err, errBusy):
			st.Busy++
		default:
			return st, err
		}
	}
	s.dropDangling()
	return st, nil
}

// Remove removes the entry with this digest, unless it is in use.
func Remove(dir, digest string) error {
	s, err := storeAt(dir)
	if err != nil {
		return err
	}
	if !validDigest(digest) {
		return fmt.Errorf("store entry %s: a digest is sha256: and 64 hexadecimal digits", quote(digest))
	}
	if err := s.removeEntry(entryName(digest)); err != nil {
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
			e.bytes = m.Bytes
		}
		total += e.bytes
		list = append(list, e)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].used.Before(list[j].used) })
	return list, total, nil
}

var errBusy = errors.New("is in use")

// removeEntry moves the entry out of sight first, under its exclusive lock,
// so that a kill leaves a temporary and never half an entry.
func (s store) removeEntry(name string) error {
	lock, err := unix.Open(s.path(layersDir, name, "lock"), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return errGone
	}
	if err != nil {
		return err
	}
	defer unix.Close(lock)
	if err := unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errBusy
	}
	// Another process may have removed the entry since the lock was opened, and
	// a third may have made it anew: then this is the lock of no entry.
	var st unix.Stat_t
	if err := unix.Fstat(lock, &st); err != nil || st.Nlink == 0 {
		return errGone
	}
	gone := s.path(tmpDir, fmt.Sprintf("gc-%d-%s", os.Getpid(), name))
	if err := unix.Rename(s.path(layersDir, name), gone); err != nil {
		return err
	}
	return removePath(gone)
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
	names, err := os.ReadDir(s.path(indexDir))
	if err != nil {
		return
	}
	for _, n := range names {
		path := s.path(indexDir, n.Name())
		to, err := os.Readlink(path)
		if err != nil {
			continue
		}
		_, err = os.Lstat(s.path(layersDir, to))
		if errors.Is(err, os.ErrNotExist) || strings.HasPrefix(n.Name(), ".new-") {
			_ = os.Remove(path)
		}
	}
}
