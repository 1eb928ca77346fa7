package runner

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// An OutputCap counts what a run writes to its standard streams, all of them
// together, and says when that is more than its limit. Whatever copies the
// output of a run that has a limit asks it first.
type OutputCap struct {
	left atomic.Int64
	once sync.Once
	over chan struct{}
}

// NewOutputCap lets limit bytes pass.
func NewOutputCap(limit int64) *OutputCap {
	c := &OutputCap{over: make(chan struct{})}
	c.left.Store(limit)
	return c
}

// Take says how many of the next n bytes may pass; the others are dropped.
func (c *OutputCap) Take(n int) int {
	before := c.left.Add(-int64(n)) + int64(n)
	if before >= int64(n) {
		return n
	}
	c.once.Do(func() { close(c.over) })
	// Counted down to nothing for good: a flood must not make it wrap.
	c.left.Store(0)
	return int(max(before, 0))
}

// Over is closed when something was dropped.
func (c *OutputCap) Over() <-chan struct{} { return c.over }

// Exceeded says whether something was dropped.
func (c *OutputCap) Exceeded() bool {
	select {
	case <-c.over:
		return true
	default:
		return false
	}
}

// relay copies what comes out of from to the descriptor of to, as far as c
// lets it pass, and drops the rest, so that the writer never waits. It ends
// when nobody can write any more, or when the reader has gone: then the
// writer's next write ends in SIGPIPE, as in a pipe of the shell's. It says what
// ended it but the end of what comes.
func (c *OutputCap) relay(to *os.File, from *os.File) error {
	defer from.Close()
	buf := make([]byte, 64<<10) // a pipe's own size, pipe(7)
	fd := int(to.Fd())
	for {
		n, err := from.Read(buf)
		if m := c.Take(n); m > 0 {
			if werr := writeAll(fd, buf[:m]); werr != nil {
				return werr
			}
		}
		if err != nil {
			return nil
		}
	}
}

// writeAll writes to a descriptor that may be non-blocking. Not through
// os.File, which ends the whole process when standard output is a pipe that
// nobody reads (package os/signal, "SIGPIPE").
func writeAll(fd int, data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		switch err {
		case nil:
			data = data[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
		default:
			return err
		}
	}
	return nil
}

// Unwritten keeps what has kept output from being written.
type Unwritten struct {
	mu  sync.Mutex
	err error
}

// Note takes the error of a write. That nobody reads any more, EPIPE, that a
// terminal has gone, EIO, or the run is over, is no mistake.
func (u *Unwritten) Note(err error) {
	if err == nil || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.EIO) || errors.Is(err, os.ErrClosed) {
		return
	}
	if p := (*os.PathError)(nil); errors.As(err, &p) {
		err = p.Err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.err = err
	}
}

// Err is the first that was noted, or nil.
func (u *Unwritten) Err() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// capped is a writer that counts.
type capped struct {
	cap *OutputCap
	to  interface{ Write([]byte) (int, error) }
}

func (w capped) Write(p []byte) (int, error) {
	m := w.cap.Take(len(p))
	if m > 0 {
		if n, err := w.to.Write(p[:m]); err != nil {
			return n, err
		}
	}
	return len(p), nil
}

// sameFile says whether two writers are the same open file, as after 2>&1, so
// that one pipe must take both or their order is lost.
func sameFile(a, b any) bool {
	f, ok := a.(*os.File)
	g, ok2 := b.(*os.File)
	if !ok || !ok2 {
		return false
	}
	i, err := f.Stat()
	if err != nil {
		return false
	}
	j, err := g.Stat()
	return err == nil && os.SameFile(i, j)
}

// cappedPipe is a pipe whose read end Go can wait for and whose write end is
// an ordinary, blocking one.
func cappedPipe() (r, w *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	if err := unix.SetNonblock(p[0], true); err != nil {
		unix.Close(p[0])
		unix.Close(p[1])
		return nil, nil, err
	}
	return os.NewFile(uintptr(p[0]), "output"), os.NewFile(uintptr(p[1]), "output"), nil
}
