package rootfs

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A segment is a part of a file's data, in the chunk that holds it.
type segment struct {
	c *chunk
	b []byte
}

// A fileJob is one regular file to be made. dir stays open until the next
// barrier.
type fileJob struct {
	dir  int
	name string
	h    *header
	segs []segment
	more chan segment // nil when segs is all
}

// drop gives the data back without using it.
func (j *fileJob) drop() {
	for _, s := range j.segs {
		s.c.release()
	}
	j.segs = nil
	if j.more != nil {
		for s := range j.more {
			s.c.release()
		}
	}
}

// A crew is the goroutines that make files.
type crew struct {
	jobs    chan *fileJob
	pending sync.WaitGroup // jobs
	ended   sync.WaitGroup // writers
	bad     atomic.Bool
	mu      sync.Mutex
	err     error
	total   Stats
	own     owners
	umask   uint32
}

// errWriter stands for the error that a writer had, until stop tells it.
var errWriter = errors.New("a file could not be written")

func startCrew(n int, own owners, umask uint32) *crew {
	c := &crew{jobs: make(chan *fileJob, 128), own: own, umask: umask}
	c.ended.Add(n)
	for range n {
		go c.work()
	}
	return c
}

func (c *crew) give(j *fileJob) {
	c.pending.Add(1)
	c.jobs <- j
}

func (c *crew) wait() { c.pending.Wait() }

func (c *crew) failed() bool { return c.bad.Load() }

// stop lets the writers finish and gives the first error.
func (c *crew) stop() error {
	close(c.jobs)
	c.ended.Wait()
	return c.err
}

func (c *crew) stats() Stats { return c.total }

func (c *crew) work() {
	defer c.ended.Done()
	w := writer{own: c.own, umask: c.umask}
	for j := range c.jobs {
		if !c.failed() {
			if err := w.file(j); err != nil {
				c.fail(fmt.Errorf("%s: %w", quoteOdd(j.h.name), err))
			}
		}
		j.drop()
		c.pending.Done()
	}
	c.mu.Lock()
	c.total.add(w.stats)
	c.mu.Unlock()
}

func (c *crew) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	c.bad.Store(true)
}

// A writer makes one file after the other.
type writer struct {
	own   owners
	umask uint32
	stats Stats

	fd   int
	h    *header
	pos  int64 // in a sparse file: where the next byte goes
	ext  int   // and in which extent
	left int64 // of that extent
}

// file makes one regular file. The name is new, or was a file before.
func (w *writer) file(j *fileJob) (err error) {
	mode, changed := w.own.mode(j.h.mode, 0o400)
	early := mode & 0o777
	if len(j.h.xattrs) > 0 {
		early |= 0o600 // user attributes need write permission
	}
	w.fd, err = createFile(j.dir, j.name, early)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := unix.Close(w.fd); err == nil {
			err = cerr
		}
	}()
	w.h, w.pos, w.ext, w.left = j.h, 0, -1, 0
	if err := w.data(j); err != nil {
		return err
	}
	chowned, err := w.own.chown(w.fd, j.h, &w.stats)
	if err != nil {
		return err
	}
	setUserXattrs(w.fd, j.h, &w.stats)
	if mode&0o7000 != 0 || mode&w.umask != 0 || early != mode || chowned {
		if err := unix.Fchmod(w.fd, mode); err != nil {
			return err
		}
	}
	if changed {
		w.stats.Modes++
	}
	setOtherXattrs(w.fd, j.h, &w.stats)
	return unix.UtimesNanoAt(j.dir, j.name, times(j.h), unix.AT_SYMLINK_NOFOLLOW)
}

func createFile(dir int, name string, mode uint32) (int, error) {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	for {
		fd, err := unix.Openat(dir, name, flags, mode)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EEXIST):
			// An earlier entry of that name; it is unlinked, not opened, for it
			// may be a FIFO, or have other names.
			if err := unix.Unlinkat(dir, name, 0); err != nil {
				return -1, err
			}
		default:
			return fd, err
		}
	}
}

// data writes what the job holds, and what comes after.
func (w *writer) data(j *fileJob) error {
	for len(j.segs) > 0 {
		s := j.segs[0]
		j.segs = j.segs[1:]
		err := w.write(s.b)
		s.c.release()
		if err != nil {
			return err
		}
	}
	if j.more != nil {
		for s := range j.more {
			err := w.write(s.b)
			s.c.release()
			if err != nil {
				return err
			}
		}
	}
	if w.pos != j.h.size {
		return unix.EIO // the parser stopped in the middle, and has the reason
	}
	w.stats.Bytes += j.h.size
	if j.h.isSparse {
		return unix.Ftruncate(w.fd, j.h.realSize)
	}
	return nil
}

// write puts b where the sparse map says, or at the end.
func (w *writer) write(b []byte) error {
	if !w.h.isSparse {
		w.pos += int64(len(b))
		return writeAll(b, func(p []byte) (int, error) { return unix.Write(w.fd, p) })
	}
	for len(b) > 0 {
		for w.left == 0 {
			w.ext++
			if w.ext >= len(w.h.sparse) {
				return unix.EIO // checkSparse has seen that it fits
			}
			w.left = w.h.sparse[w.ext].len
		}
		e := w.h.sparse[w.ext]
		n := min(w.left, int64(len(b)))
		at := e.off + e.len - w.left
		err := writeAll(b[:n], func(p []byte) (int, error) {
			m, err := unix.Pwrite(w.fd, p, at)
			at += int64(max(m, 0))
			return m, err
		})
		if err != nil {
			return err
		}
		b = b[n:]
		w.left -= n
		w.pos += n
	}
	return nil
}

func writeAll(b []byte, write func([]byte) (int, error)) error {
	for len(b) > 0 {
		n, err := write(b)
		if n > 0 {
			b = b[n:]
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return nil
}
