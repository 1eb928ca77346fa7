package guest

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// diskBlock is what a disk's size is a multiple of.
const diskBlock = 4 << 10

// A Spool is a file with what a Spec copies in: a disk of the guest, for an
// engine whose channel is slow in that direction. It holds the stream of
// CopiesIn, see copies.go.
type Spool struct {
	Path string
	dir  *os.File // locked
}

// spoolPrefix begins the name of a spool's directory. Nobody else can enter it,
// so that the file itself can be readable for the ids of the guest's box.
const spoolPrefix = "copies-"

// Spool packs what is copied in, in a directory of the caller's; nil stands for
// nothing to copy. It is to be closed when the guest's box has started.
func (c *Copy) Spool(s *runner.Spec, cache string) (*Spool, error) {
	if len(c.Sources) == 0 {
		return nil, nil
	}
	fail := func(err error) (*Spool, error) {
		return nil, &runner.Error{Stage: runner.StagePrepare, Step: "keep what is copied in", Err: err, Hint: "there must be room in " + cache + "; XDG_CACHE_HOME names another directory"}
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return fail(err)
	}
	sweepSpools(cache)
	sp, f, err := newSpool(cache)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, maxData)
	for i, pack := range c.Sources {
		var unpacked error
		err := SendCopy(w, func(w io.Writer) error {
			unpacked = pack(w)
			return unpacked
		})
		if err != nil {
			sp.Close()
			if err != unpacked {
				return fail(err)
			}
			return nil, CopyError(runner.StageStart, "copy in", s.CopyIn[i], err)
		}
	}
	err = w.Flush()
	if err == nil {
		err = pad(f)
	}
	if err != nil {
		sp.Close()
		return fail(err)
	}
	return sp, nil
}

// newSpool makes the directory, locked, and the file in it. Between the two
// another hutch may have swept it away.
func newSpool(cache string) (*Spool, *os.File, error) {
	for {
		name, err := os.MkdirTemp(cache, spoolPrefix)
		if err != nil {
			return nil, nil, err
		}
		sp := &Spool{Path: filepath.Join(name, "stream")}
		var f *os.File
		if sp.dir, err = os.Open(name); err == nil {
			if err = unix.Flock(int(sp.dir.Fd()), unix.LOCK_EX); err == nil {
				f, err = os.OpenFile(sp.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			}
		}
		if err == nil {
			err = f.Chmod(0o644) // whatever the umask
		}
		if err == nil {
			return sp, f, nil
		}
		sp.Close()
		if !errors.Is(err, os.ErrNotExist) {
			return nil, nil, err
		}
	}
}

// Close removes the file. A box that shows it goes on doing so.
func (s *Spool) Close() {
	if s == nil {
		return
	}
	os.RemoveAll(filepath.Dir(s.Path))
	if s.dir != nil {
		s.dir.Close()
	}
}

// sweepSpools removes those of a hutch that was killed: nobody holds their lock.
func sweepSpools(cache string) {
	names, _ := filepath.Glob(filepath.Join(cache, spoolPrefix+"*"))
	for _, name := range names {
		dir, err := os.Open(name)
		if err != nil {
			continue
		}
		if unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.RemoveAll(name)
		}
		dir.Close()
	}
}

// pad fills up the last block.
func pad(f *os.File) error {
	n, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	return f.Truncate((n + diskBlock - 1) &^ (diskBlock - 1))
}
