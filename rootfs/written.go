package rootfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Nothing is synced when an entry is made: that would take longer than the
// unpacking. As long as the machine runs, its page cache has all of it. Only a
// power failure can lose some, so an entry's lock file says in which run of the
// kernel it was made; whoever uses it in a later one compares it with its sums
// first, and then notes that it got through (writtenMark).
const (
	writtenMark = "written"
	bootIDFile  = "/proc/sys/kernel/random/boot_id"
	bootIDSize  = 36
)

func bootID() string {
	fd, err := unix.Open(bootIDFile, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var b [bootIDSize]byte
	n, err := unix.Read(fd, b[:])
	if err != nil || n != len(b) {
		return ""
	}
	return string(b[:])
}

// markBoot notes that the entry with this lock was made now.
func markBoot(lock int) error {
	_, err := unix.Pwrite(lock, []byte(bootID()), 0)
	return err
}

// written tells whether an entry needs no look.
func written(lock int) bool {
	var b [bootIDSize]byte
	n, err := unix.Pread(lock, b[:], 0)
	mark := string(b[:max(n, 0)])
	return err == nil && (mark == writtenMark || len(mark) == bootIDSize && mark == bootID())
}

// checkWritten compares an entry that may have suffered with its sums. What is
// damaged is removed, and errGone.
func (s store) checkWritten(dir, name string, lock int) error {
	check := []string{name}
	if dir == imagesDir {
		lowers, err := s.lowersOf(name)
		if err == nil {
			_, err = s.image(name)
		}
		if err != nil {
			return s.suffered(dir, name, lock)
		}
		check = lowers
	}
	for _, l := range check {
		err := checkSums(context.Background(), s.path(layersDir, l))
		if errors.Is(err, errDamaged) {
			if dir == imagesDir {
				_ = s.suffered(layersDir, l, -1)
			}
			return s.suffered(dir, name, lock)
		}
		if err != nil {
			return err
		}
	}
	fd, err := unix.Open(s.path(dir, name, "lock"), unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return errGone
	}
	defer unix.Close(fd)
	if _, err := unix.Pwrite(fd, []byte(writtenMark), 0); err != nil {
		return fmt.Errorf("store %s: %w", s.path(dir, name), err)
	}
	return unix.Ftruncate(fd, int64(len(writtenMark)))
}

// suffered gets an entry out of the way, letting go of our own lock for it.
func (s store) suffered(dir, name string, lock int) error {
	if lock >= 0 {
		_ = unix.Flock(lock, unix.LOCK_UN)
	}
	if err := s.removeEntry(dir, name); err != nil && !errors.Is(err, errGone) {
		return fmt.Errorf("store %s: suffered from a power failure: %w", s.path(dir, name), err)
	}
	return errGone
}

// lowersOf reads which entries an image stacks.
func (s store) lowersOf(entry string) ([]string, error) {
	var r runFile
	b, err := os.ReadFile(s.path(imagesDir, entry, "run.json"))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", s.path(imagesDir, entry), bare(err))
	}
	for _, l := range r.Lowers {
		if l == "" || l[0] == '.' || strings.Contains(l, "/") {
			return nil, fmt.Errorf("store %s: a layer called %s", s.path(imagesDir, entry), quote(l))
		}
	}
	return r.Lowers, nil
}
