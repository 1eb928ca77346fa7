package guest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"hutch/runner"
	"hutch/runner/transfer"
)

// The copies of a run follow each other in one stream, CopiesIn or CopiesOut, in
// the order of the Spec. A piece of a copy is a byte that says what it is, the
// length, and, but for zeros, that many bytes:
//
//	d  at most 1 MiB of what transfer.Pack writes
//	z  so many zero bytes of it, which are not sent: holes are large
//	e  the end of this copy, and why the packer did not get further, if it did not
const (
	pieceData  = 'd'
	pieceZeros = 'z'
	pieceEnd   = 'e'

	pieceHead = 5
	maxData   = 1 << 20
	maxZeros  = 1 << 30
	maxWhy    = 8 << 10
)

// zeroBlock is the least that counts as zeros.
const zeroBlock = 4 << 10

var zeros [zeroBlock]byte

// SendCopy writes what pack packs as one copy. An error of pack goes to the
// other side and is returned too.
func SendCopy(w io.Writer, pack func(io.Writer) error) error {
	p := &pieces{w: w, buf: make([]byte, pieceHead, pieceHead+maxData/4)}
	err := pack(p)
	if p.err != nil {
		return p.err
	}
	why := ""
	if err != nil {
		why = err.Error()
		why = why[:min(len(why), maxWhy)]
	}
	if serr := p.flush(); serr != nil {
		return serr
	}
	if _, serr := w.Write(append(head(pieceEnd, len(why)), why...)); serr != nil {
		return serr
	}
	return err
}

func head(kind byte, n int) []byte {
	return binary.LittleEndian.AppendUint32([]byte{kind}, uint32(n))
}

// A pieces makes pieces of what is written.
type pieces struct {
	w     io.Writer
	buf   []byte // of data, behind room for its head
	zeros int    // after what is in buf
	err   error  // of w
}

func (p *pieces) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		n := min(len(rest), zeroBlock)
		if n == zeroBlock && bytes.Equal(rest[:n], zeros[:]) {
			if p.zeros += n; p.zeros > maxZeros-zeroBlock {
				if err := p.flush(); err != nil {
					return 0, err
				}
			}
		} else if err := p.data(rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(b), nil
}

func (p *pieces) data(b []byte) error {
	if p.zeros > 0 || len(p.buf)+len(b) > cap(p.buf) {
		if err := p.flush(); err != nil {
			return err
		}
	}
	p.buf = append(p.buf, b...)
	return nil
}

func (p *pieces) flush() error {
	out := p.buf[:0]
	if n := len(p.buf) - pieceHead; n > 0 {
		copy(p.buf, head(pieceData, n))
		out = p.buf
	}
	if p.zeros > 0 {
		out = append(out, head(pieceZeros, p.zeros)...)
	}
	if len(out) > 0 {
		_, p.err = p.w.Write(out)
	}
	p.buf, p.zeros = p.buf[:pieceHead], 0
	return p.err
}

// A CopyReader reads the copies of a stream, which the other side may have made
// up: it allocates nothing by what that says.
type CopyReader struct {
	r    io.Reader
	kind byte // of the piece that is being read, 0 for none
	left int  // of it
	why  string
	// total is what may still come of this copy.
	total int64
	dead  error // why nothing can be read any more
}

// NewCopyReader reads what SendCopy wrote.
func NewCopyReader(r io.Reader) *CopyReader { return &CopyReader{r: r} }

// copySlack is what a copy's stream may have besides the bytes of its files:
// headers, with the longest of names.
const copySlack = 2 << 30

// Next hands one copy of at most limit bytes to place, and then reads to its
// end. The error is that of whoever failed first.
func (c *CopyReader) Next(limit int64, place func(io.Reader) error) error {
	c.why, c.total = "", limit+copySlack
	if c.dead != nil {
		return c.dead
	}
	err := place(readerFunc(c.read))
	if c.dead == nil {
		io.CopyBuffer(io.Discard, readerFunc(c.read), make([]byte, 64<<10))
	}
	c.kind = 0
	switch {
	case !errors.Is(err, transfer.ErrCutOff):
		return err
	case c.why != "":
		return errors.New(c.why)
	case c.dead != nil:
		return c.dead
	}
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// read is the rest of one copy.
func (c *CopyReader) read(p []byte) (int, error) {
	for c.left == 0 {
		if c.kind == pieceEnd {
			return 0, io.EOF
		}
		if err := c.piece(); err != nil {
			c.dead = err
			return 0, io.ErrUnexpectedEOF
		}
	}
	n := min(len(p), c.left)
	var err error
	if c.kind == pieceZeros {
		clear(p[:n])
	} else {
		n, err = c.r.Read(p[:n])
	}
	c.left -= n
	if c.total -= int64(n); c.total < 0 {
		err = protocolError("a copy of more bytes than were allowed")
	}
	if err != nil && (c.total < 0 || c.left > 0) {
		c.dead = err
		return n, io.ErrUnexpectedEOF
	}
	return n, nil
}

// piece reads the head of the next one, and of the last all.
func (c *CopyReader) piece() error {
	var h [pieceHead]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint32(h[1:])
	switch {
	case h[0] == pieceData && n > 0 && n <= maxData, h[0] == pieceZeros && n > 0 && n <= maxZeros:
		c.kind, c.left = h[0], int(n)
		return nil
	case h[0] == pieceEnd && n <= maxWhy:
		why := make([]byte, n)
		if _, err := io.ReadFull(c.r, why); err != nil {
			return err
		}
		c.kind, c.why = pieceEnd, string(why)
		return nil
	}
	return protocolError("a piece of %d bytes of kind %#x in a copy", n, h[0])
}

// A Source packs one of the copies that go into the guest.
type Source func(w io.Writer) error

// A Copy says what an engine carries between host and guest in its next run.
type Copy struct {
	// Sources pack what is copied in, in the order of the Spec.
	Sources []Source
	// Limit is how many bytes may be copied in, and how many out.
	Limit int64
}

// fill sends the copies that go in. alive is called for each piece of them.
func (s *Session) fill(sources []Source, alive func()) {
	r, w := io.Pipe()
	go func() {
		var err error
		for _, pack := range sources {
			if err = SendCopy(w, pack); err != nil {
				break // the guest has been told, and says so
			}
		}
		w.CloseWithError(err)
	}()
	err := s.conn.CopyIn(CopiesIn, readerFunc(func(p []byte) (int, error) {
		alive()
		return r.Read(p)
	}))
	r.CloseWithError(err)
}

// Copies are those of a guest whose application has ended. They are read in the
// order of the Spec, and then closed: until then the guest is there.
type Copies struct {
	*CopyReader
	s    *Session
	from *io.PipeReader
}

// ErrInterrupted ends the copies of a run that a signal came for.
var ErrInterrupted = errors.New("interrupted; nothing of it is left")

// Copies is nil where the guest has gone with its files. It is to be called
// once, and only where the Spec has a CopyOut.
func (s *Session) Copies() *Copies {
	if !s.waiting {
		return nil
	}
	r, w := io.Pipe()
	c := &Copies{s: s, from: r}
	c.CopyReader = NewCopyReader(readerFunc(c.patient))
	go func() {
		err := s.conn.CopyOut(w, CopiesOut)
		if err == nil {
			err = io.EOF
		}
		w.CloseWithError(err)
	}()
	return c
}

// patient reads, but not from a guest that says nothing for ever.
func (c *Copies) patient(p []byte) (int, error) {
	var late atomic.Bool
	t := time.AfterFunc(c.s.m.Answer, func() {
		late.Store(true)
		c.s.m.Process.Kill()
		c.from.Close()
	})
	n, err := c.from.Read(p)
	t.Stop()
	switch {
	case err == nil:
	case c.s.interrupted.Load():
		err = ErrInterrupted
	case late.Load():
		err = fmt.Errorf("the guest hung: nothing came for %v", c.s.m.Answer)
	case errors.Is(err, errGone) || errors.Is(err, io.EOF):
		err = errors.New("the guest ended before all was copied")
	}
	return n, err
}

// Interrupt ends the copies, as nobody wants them any more.
func (c *Copies) Interrupt() { c.s.interrupt() }

func (s *Session) interrupt() {
	s.interrupted.Store(true)
	s.m.Process.Kill()
}

// Close ends the guest.
func (c *Copies) Close() error {
	c.from.Close()
	return c.s.end()
}

// end ends a guest that was kept for its files.
func (s *Session) end() error {
	s.waiting = false
	s.m.Process.Kill()
	_, err := s.m.Process.Wait()
	s.close()
	return err
}

// CopyError is the error of one copy, in or out.
func CopyError(stage, what string, c runner.Copy, err error) error {
	return &runner.Error{Stage: stage, Step: what + " " + c.Source + " to " + c.Target, Err: err, Hint: transfer.Hint(err)}
}
