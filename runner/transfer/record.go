package transfer

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tempPrefix begins the names of what is being placed.
const tempPrefix = ".hutch-"

// Records is a directory with a file for each copy that is being made under
// another name than its own. Who makes the copy holds that file's lock,
// flock(2): a file that can be locked tells of a copy that was killed. Without
// Dir nothing is recorded.
type Records struct{ Dir string }

// A record is what such a file says.
type record struct {
	Dir  string `json:"dir"`  // of the host
	Name string `json:"name"` // in it
}

// recordAge is how long a record is kept whose directory cannot be reached: it
// may be on a disk that is not there today.
const recordAge = 30 * 24 * time.Hour

// note writes the record of a copy, and is what ends it. A copy that cannot be
// recorded is made all the same: the record matters only when hutch is killed.
func (r *Records) note(dir int, name string) (done func()) {
	at, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(dir))
	if err != nil || !filepath.IsAbs(at) {
		return nil
	}
	text, err := json.Marshal(record{at, name})
	if err != nil || r.Dir == "" || os.MkdirAll(r.Dir, 0o700) != nil {
		return nil
	}
	file := filepath.Join(r.Dir, strings.TrimPrefix(name, tempPrefix))
	f, err := locked(file)
	if err != nil {
		return nil
	}
	done = func() {
		os.Remove(file)
		f.Close()
	}
	if _, err := f.Write(text); err != nil {
		done()
		return nil
	}
	return done
}

// locked makes a file and locks it. Sweep may have found it before it was
// locked, and removed it.
func locked(file string) (*os.File, error) {
	for {
		f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, err
		}
		var st unix.Stat_t
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err == nil {
			err = unix.Fstat(int(f.Fd()), &st)
		}
		if err == nil && st.Nlink > 0 {
			return f, nil
		}
		f.Close()
		if err != nil {
			os.Remove(file)
			return nil, err
		}
	}
}

// Sweep removes what killed copies left behind, and says what that was. What a
// living one makes stays.
func (r *Records) Sweep() (removed []string, err error) {
	entries, err := os.ReadDir(r.Dir)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return nil, err
	}
	var errs []error
	for _, e := range entries {
		path, err := sweep(filepath.Join(r.Dir, e.Name()))
		if path != "" {
			removed = append(removed, path)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return removed, errors.Join(errs...)
}

// sweep removes what one record tells of, and then the record.
func sweep(file string) (removed string, err error) {
	f, err := os.OpenFile(file, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", nil // somebody else was faster
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return "", nil // it is being made
	}
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	var r record
	// A half-written record is of a copy that has not begun.
	if json.NewDecoder(f).Decode(&r) == nil && r.valid() {
		switch removed, err = r.remove(); {
		case err == nil:
		case unreachable(err) && time.Since(info.ModTime()) < recordAge:
			return "", nil
		case !unreachable(err):
			return "", fmt.Errorf("%s: %w", filepath.Join(r.Dir, r.Name), err)
		}
	}
	return removed, os.Remove(file)
}

// valid says that the record names what a copy may make, and nothing else.
func (r record) valid() bool {
	return filepath.IsAbs(r.Dir) && strings.HasPrefix(r.Name, tempPrefix) && r.Name == filepath.Base(r.Name)
}

func unreachable(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}

// remove removes the copy. Its name is random, so that no other directory at
// the same path has it.
func (r record) remove() (removed string, err error) {
	root, err := os.OpenRoot(r.Dir)
	if err != nil {
		return "", bare(err)
	}
	defer root.Close()
	if _, err := root.Lstat(r.Name); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err := removeAll(root, r.Name); err != nil {
		return "", bare(err)
	}
	return filepath.Join(r.Dir, r.Name), nil
}

// removeAll also removes directories that have their modes already, which may
// forbid it.
func removeAll(root *os.Root, name string) error {
	err := root.RemoveAll(name)
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	open(root, name)
	return root.RemoveAll(name)
}

// open makes the directories below name the caller's to change.
func open(root *os.Root, name string) {
	info, err := root.Lstat(name)
	if err != nil || !info.IsDir() || root.Chmod(name, 0o700) != nil {
		return
	}
	f, err := root.Open(name)
	if err != nil {
		return
	}
	entries, _ := f.ReadDir(-1)
	f.Close()
	for _, e := range entries {
		if e.IsDir() {
			open(root, name+"/"+e.Name())
		}
	}
}
