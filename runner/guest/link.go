package guest

import (
	"io"
	"math"
	"sync"
)

// LinkWindow is how many bytes may be on their way to a guest whose channel is
// a terminal device: its line discipline holds 4096, and User Mode Linux never
// reads on once it had to be throttled.
const LinkWindow = 3 << 10

// ackEvery is how many bytes the guest takes before it says so.
const ackEvery = LinkWindow / 3

// A link paces what is written to a channel that can hold little. Without a
// window it does nothing.
type link struct {
	mu     sync.Mutex
	change sync.Cond
	paced  bool
	room   int64
	err    error

	acks  bool // the receiving side says what it took
	taken int
}

func (l *link) init() { l.change.L = &l.mu }

// Pace has the sender keep to LinkWindow; the other side must acknowledge.
func (c *Conn) Pace() { c.link.paced, c.link.room = true, LinkWindow }

// Acknowledge has the receiver say what it has taken.
func (c *Conn) Acknowledge() { c.link.acks = true }

// write writes all of p, no faster than it is taken.
func (l *link) write(w io.Writer, p []byte) error {
	for {
		n, err := l.take(len(p))
		if err != nil {
			return err
		}
		if _, err := w.Write(p[:n]); err != nil {
			return err
		}
		if p = p[n:]; len(p) == 0 {
			return nil
		}
	}
}

func (l *link) take(n int) (int, error) {
	if !l.paced {
		return n, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.room == 0 && l.err == nil {
		l.change.Wait()
	}
	if l.err != nil {
		return 0, l.err
	}
	got := min(int64(n), l.room)
	l.room -= got
	return int(got), nil
}

func (l *link) acked(n uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.room += int64(n); !l.paced || l.room > LinkWindow || int64(n) > math.MaxInt32 {
		return protocolError("%d bytes acknowledged that were not sent", n)
	}
	l.change.Broadcast()
	return nil
}

func (l *link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.change.Broadcast()
}

// An ackReader counts what is taken from the channel. What is taken and not
// yet acknowledged is always less than the window, so that the sender goes on.
type ackReader struct {
	c *Conn
	r io.Reader
}

func (a ackReader) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	l := &a.c.link
	if !l.acks || n == 0 {
		return n, err
	}
	if l.taken += n; l.taken >= ackEvery {
		taken := l.taken
		l.taken = 0
		if serr := a.c.SendNumber(Ack, 0, uint32(taken)); err == nil {
			err = serr
		}
	}
	return n, err
}
