package rootfs

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"sync/atomic"
)

// The archive goes through two goroutines before it is parsed: one reads and
// hashes, one decompresses.
//
//	source ─ read, sha256 ─ raw chunks ─ decompress ─ chunks ─ parse ─ jobs ─ writers
//
// Chunks come from fixed pools, which bounds the memory: whoever wants one
// waits until one is given back.
const (
	rawSize   = 256 << 10
	rawCount  = 4
	dataSize  = 256 << 10 // a multiple of blockSize, so that a block never straddles two
	dataCount = 40
	dataLeast = 16 // a file's first chunks, and some for the others
)

// A chunk is a buffer of a pool. It goes back when the last holder releases it.
type chunk struct {
	buf  []byte
	n    int
	refs atomic.Int32
	home chan *chunk
}

func (c *chunk) release() {
	if c.refs.Add(-1) == 0 {
		c.home <- c // never blocks: the pool has room for all its chunks
	}
}

// A pool makes its chunks when they are first wanted: a small archive needs
// few.
type pool struct {
	free       chan *chunk
	size, left int
}

func newPool(count, size int) *pool {
	return &pool{free: make(chan *chunk, count), size: size, left: count}
}

// get is called from one goroutine only; nil means that ctx ended.
func (p *pool) get(ctx context.Context) *chunk {
	var c *chunk
	select {
	case c = <-p.free:
	default:
		if p.left > 0 {
			p.left--
			c = &chunk{buf: make([]byte, p.size), home: p.free}
			break
		}
		select {
		case c = <-p.free:
		case <-ctx.Done():
			return nil
		}
	}
	c.n = 0
	c.refs.Store(1)
	return c
}

// A feed is the reading end of a stage.
type feed struct {
	ctx  context.Context
	data chan *chunk
	err  error // valid once data is closed: why it ended
}

// pump fills chunks from r until it ends. note is called for each.
func (f *feed) pump(r io.Reader, p *pool, note func([]byte)) {
	defer close(f.data)
	for {
		c := p.get(f.ctx)
		if c == nil {
			f.err = f.ctx.Err()
			return
		}
		// Not io.ReadFull, which would take a reader's own "unexpected EOF"
		// and an early end for the same.
		var err error
		for c.n < len(c.buf) && err == nil {
			var n int
			n, err = r.Read(c.buf[c.n:])
			c.n += n
		}
		if c.n > 0 {
			note(c.buf[:c.n])
			select {
			case f.data <- c:
			case <-f.ctx.Done():
				f.err = f.ctx.Err()
				return
			}
		}
		if err != nil {
			f.err = err
			return
		}
	}
}

// next gives the next chunk; the error is io.EOF at the end.
func (f *feed) next() (*chunk, error) {
	select {
	case c, ok := <-f.data:
		if !ok {
			return nil, f.err
		}
		return c, nil
	case <-f.ctx.Done():
		return nil, f.ctx.Err()
	}
}

// A feedReader is a feed as an io.Reader, for the decompressors.
type feedReader struct {
	feed *feed
	cur  *chunk
	pos  int
}

func (r *feedReader) Read(p []byte) (int, error) {
	if r.cur == nil {
		c, err := r.feed.next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				err = &sourceError{err}
			}
			return 0, err
		}
		r.cur, r.pos = c, 0
	}
	n := copy(p, r.cur.buf[r.pos:r.cur.n])
	if r.pos += n; r.pos == r.cur.n {
		r.cur.release()
		r.cur = nil
	}
	return n, nil
}

// A stream is the unpacked archive, block by block. It belongs to the parser.
type stream struct {
	raw, data  *feed
	sum, plain hash.Hash // of what was read, and of what that unpacked to (nil: not wanted)
	read       atomic.Int64
	Format     string

	cur   *chunk
	pos   int
	total int64 // bytes given by data so far
	lim   UnpackLimits
	tick  func() // called for each chunk
}

// errNoMore is the end of the stream where an entry should begin.
var errNoMore error = noMore{}

type noMore struct{}

func (noMore) Error() string { return "no end marker: " + io.ErrUnexpectedEOF.Error() }
func (noMore) Unwrap() error { return io.ErrUnexpectedEOF }

// openStream starts the two goroutines; they end with ctx. The one that reads
// r may hang in r.Read until that returns.
func openStream(ctx context.Context, r io.Reader, lim UnpackLimits, opt UnpackOptions) (*stream, error) {
	s := &stream{sum: sha256.New(), lim: lim, tick: func() {}}
	s.raw = &feed{ctx: ctx, data: make(chan *chunk, rawCount)}
	s.data = &feed{ctx: ctx, data: make(chan *chunk, dataCount)}
	if opt.PlainDigest {
		s.plain = sha256.New()
	}
	go s.raw.pump(r, newPool(rawCount, rawSize), func(b []byte) {
		s.sum.Write(b)
		s.read.Add(int64(len(b)))
	})
	d, format, err := io.ReadCloser(io.NopCloser(&feedReader{feed: s.raw})), "", error(nil)
	if !opt.kept { // no decoder gets to see what a guest sends
		d, format, err = Decompress(&feedReader{feed: s.raw})
	}
	if err != nil {
		return nil, err
	}
	s.Format = format
	go func() {
		defer d.Close()
		s.data.pump(d, newPool(max(dataLeast, dataCount/(1+max(0, opt.Beside))), dataSize), func(b []byte) {
			if s.plain != nil {
				s.plain.Write(b)
			}
		})
	}()
	return s, nil
}

// advance makes the next chunk current. errNoMore at the end.
func (s *stream) advance() error {
	if s.cur != nil {
		s.cur.release()
		s.cur = nil
	}
	c, err := s.data.next()
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return errNoMore
	}
	if err != nil {
		return err
	}
	s.cur, s.pos = c, 0
	s.total += int64(c.n)
	s.tick()
	if s.total > ratioFrom && s.total/s.lim.Ratio > s.read.Load() {
		return &LimitError{What: "ratio", Limit: s.lim.Ratio}
	}
	if s.total/2 > s.lim.Bytes && s.total > ratioFrom {
		return &LimitError{What: "bytes", Limit: s.lim.Bytes}
	}
	return nil
}

// block gives the next 512 bytes, valid until the next call.
func (s *stream) block() ([]byte, error) {
	if s.cur == nil || s.pos == s.cur.n {
		if err := s.advance(); err != nil {
			return nil, err
		}
	}
	if s.cur.n-s.pos < blockSize {
		return nil, io.ErrUnexpectedEOF
	}
	s.pos += blockSize
	return s.cur.buf[s.pos-blockSize : s.pos], nil
}

// take gives some of the next n > 0 bytes, valid until the next call unless
// the caller retains s.cur.
func (s *stream) take(n int64) ([]byte, error) {
	if s.cur == nil || s.pos == s.cur.n {
		if err := s.advance(); err != nil {
			return nil, cutShort(err)
		}
	}
	b := s.cur.buf[s.pos:s.cur.n]
	if int64(len(b)) > n {
		b = b[:n]
	}
	s.pos += len(b)
	return b, nil
}

func (s *stream) skip(n int64) error {
	for n > 0 {
		b, err := s.take(n)
		if err != nil {
			return err
		}
		n -= int64(len(b))
	}
	return nil
}

// drain reads what follows the end marker, so that the digest is that of the
// whole and a writer at the other end of a pipe is not killed.
func (s *stream) drain() error {
	for {
		if err := s.advance(); errors.Is(err, errNoMore) {
			break
		} else if err != nil {
			return err
		}
	}
	for {
		c, err := s.raw.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		c.release()
	}
}

// cutShort drops what errNoMore says beyond io.ErrUnexpectedEOF.
func cutShort(err error) error {
	if errors.Is(err, errNoMore) {
		return io.ErrUnexpectedEOF
	}
	return err
}
