package guest

import (
	"errors"
	"io"
	"math"
	"sync"
)

// A source is the sending end of a stream: what may still be sent of it.
type source struct {
	mu     sync.Mutex
	change sync.Cond
	credit int64
	err    error
}

func (s *source) init() { s.change.L, s.credit = &s.mu, Window }

// take waits until some of n bytes may be sent, and is how many.
func (s *source) take(n int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.credit == 0 && s.err == nil {
		s.change.Wait()
	}
	if s.err != nil {
		return 0, s.err
	}
	got := min(int64(n), s.credit)
	s.credit -= got
	return int(got), nil
}

func (s *source) grant(n uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.credit += int64(n); s.credit > math.MaxInt32 {
		return protocolError("credit for %d bytes", s.credit)
	}
	s.change.Broadcast()
	return nil
}

func (s *source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.change.Broadcast()
}

// A sink is the receiving end: a ring of Window bytes.
type sink struct {
	mu     sync.Mutex
	change sync.Cond
	ring   []byte
	start  int // of the unread bytes
	unread int
	owed   int // read, and not granted again
	ended  bool
	err    error
}

func (s *sink) init() { s.change.L = &s.mu }

// put takes in what came. It never waits: the window is the sender's to keep.
func (s *sink) put(data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return protocolError("data after the end of its stream")
	}
	if s.unread+s.owed+len(data) > Window {
		return protocolError("more data than there was credit for")
	}
	if s.ring == nil {
		s.ring = make([]byte, Window)
	}
	at := (s.start + s.unread) % Window
	n := copy(s.ring[at:], data)
	copy(s.ring, data[n:])
	s.unread += len(data)
	s.change.Broadcast()
	return nil
}

func (s *sink) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return protocolError("a stream that ends twice")
	}
	s.ended = true
	s.change.Broadcast()
	return nil
}

func (s *sink) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.change.Broadcast()
}

// next waits for bytes and is the longest piece of them that is in one. They
// stay until they are consumed.
func (s *sink) next() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.unread == 0 && !s.ended && s.err == nil {
		s.change.Wait()
	}
	switch {
	case s.unread > 0:
		return s.ring[s.start:min(s.start+s.unread, Window)], nil
	case s.ended:
		return nil, io.EOF
	default:
		return nil, s.err
	}
}

// consume gives n bytes back, and is what the sender is to be granted: in
// large pieces, as every grant is a frame.
func (s *sink) consume(n int) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start = (s.start + n) % Window
	s.unread -= n
	s.owed += n
	if s.owed < Window/4 || s.ended {
		return 0
	}
	n, s.owed = s.owed, 0
	return uint32(n)
}

// ErrShut ends CopyIn of a stream that the other side reads no more.
var ErrShut = errors.New("nobody reads the stream any more")

// CopyIn sends what r has, up to its end, as a stream, and then its end. With
// the window used up it does not read.
func (c *Conn) CopyIn(stream uint8, r io.Reader) error {
	buf := make([]byte, headerSize+MaxBody)
	s := &c.sources[stream]
	for {
		allowed, err := s.take(MaxBody)
		if err != nil {
			if err == ErrShut {
				c.Send(Close, stream, nil)
			}
			return err
		}
		n, err := r.Read(buf[headerSize : headerSize+allowed])
		if n > 0 {
			if err := c.sendData(stream, buf, n); err != nil {
				return err
			}
		}
		if n < allowed {
			s.grant(uint32(allowed - n))
		}
		if err != nil {
			cerr := c.Send(Close, stream, nil)
			if err == io.EOF {
				err = cerr
			}
			return err
		}
	}
}

// CopyOut writes a stream to w up to its end. When w fails the other side is
// told, and what is still on its way is thrown away.
func (c *Conn) CopyOut(w io.Writer, stream uint8) error {
	s := &c.sinks[stream]
	var failed error
	for {
		piece, err := s.next()
		if err == io.EOF {
			return failed
		}
		if err != nil {
			return err
		}
		if failed == nil {
			if _, failed = w.Write(piece); failed != nil {
				if err := c.Send(Shut, stream, nil); err != nil {
					return err
				}
			}
		}
		if grant := s.consume(len(piece)); grant > 0 {
			if err := c.SendNumber(Credit, stream, grant); err != nil {
				return err
			}
		}
	}
}
