package guest

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"sync"

	"hutch/runner"
)

// Window is how many bytes of a stream may be on their way and unread. What
// comes beyond breaks the protocol, so that neither side can fill the other's
// memory.
const Window = 1 << 20

// A Conn is one side's end of the channel. One goroutine receives; any may
// send.
type Conn struct {
	in *FrameReader

	sending sync.Mutex
	out     io.Writer
	buf     []byte

	partial []byte // of a message that is spread over frames
	partOf  Type

	// OnShut, set before the first Receive, is called when the other side reads
	// a stream no more.
	OnShut func(stream uint8)

	link link

	sources [Streams]source
	sinks   [Streams]sink
}

// NewConn is a Conn over a channel that loses and reorders nothing.
func NewConn(in io.Reader, out io.Writer) *Conn {
	c := &Conn{out: out}
	c.in = NewFrameReader(ackReader{c, in})
	c.link.init()
	for i := range c.sources {
		c.sources[i].init()
		c.sinks[i].init()
	}
	return c
}

// Send sends one frame.
func (c *Conn) Send(t Type, stream uint8, body []byte) error {
	return c.send(Frame{Type: t, Stream: stream, Body: body})
}

func (c *Conn) send(f Frame) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	// In one write, so that the channel carries it in as few pieces as it can.
	c.buf = AppendFrame(c.buf[:0], f)
	return c.link.write(c.out, c.buf)
}

// sendData sends the n bytes that stand in buf behind room for a header.
func (c *Conn) sendData(stream uint8, buf []byte, n int) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	appendHeader(buf[:0], Data, stream, 0, n)
	return c.link.write(c.out, buf[:headerSize+n])
}

// SendNumber sends a frame whose body is a number.
func (c *Conn) SendNumber(t Type, stream uint8, n uint32) error {
	return c.Send(t, stream, binary.LittleEndian.AppendUint32(nil, n))
}

// SendSize sends the size of the terminal.
func (c *Conn) SendSize(s runner.Size) error {
	return c.Send(Resize, 0, binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, s.Rows), s.Columns))
}

// SendMessage sends v as JSON, in as many frames as it takes.
func (c *Conn) SendMessage(t Type, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	for {
		n := min(len(data), MaxBody)
		f := Frame{Type: t, Body: data[:n], More: n < len(data)}
		if err := c.send(f); err != nil || !f.More {
			return err
		}
		data = data[n:]
	}
}

// Greet sends hello and waits for the other side's.
func (c *Conn) Greet() error {
	if err := c.Send(Hello, 0, helloBody()); err != nil {
		return err
	}
	return c.AwaitHello()
}

// AwaitHello waits for the other side's hello.
func (c *Conn) AwaitHello() error {
	f, err := c.in.Next()
	if err != nil {
		return err
	}
	return checkHello(f)
}

// Receive is the next frame that is for the caller: streams and their credit
// are seen to. A message that came in parts is whole.
func (c *Conn) Receive() (Frame, error) {
	for {
		f, err := c.in.Next()
		if err != nil {
			return f, err
		}
		if c.partial != nil && f.Type != c.partOf && f.More {
			return f, protocolError("%s within %s", f.Type, c.partOf)
		}
		switch f.Type {
		case Hello:
			return f, protocolError("a second hello")
		case Data:
			err = c.sinks[f.Stream].put(f.Body)
		case Close:
			err = c.sinks[f.Stream].end()
		case Ack:
			err = c.link.acked(f.Number())
		case Shut:
			c.sources[f.Stream].fail(ErrShut)
			if c.OnShut != nil {
				c.OnShut(f.Stream)
			}
		case Credit:
			err = c.sources[f.Stream].grant(binary.LittleEndian.Uint32(f.Body))
		case Setup, Failed, Ended:
			whole, err := c.join(f)
			if err != nil || whole != nil {
				return Frame{Type: f.Type, Body: whole}, err
			}
		default:
			return f, nil
		}
		if err != nil {
			return f, err
		}
	}
}

// join collects the parts of a message and is the whole of it, or nil.
func (c *Conn) join(f Frame) ([]byte, error) {
	if c.partial != nil && c.partOf != f.Type {
		return nil, protocolError("%s within %s", f.Type, c.partOf)
	}
	if len(c.partial)+len(f.Body) > maxMessage {
		return nil, protocolError("%s of more than %d bytes", f.Type, maxMessage)
	}
	c.partOf, c.partial = f.Type, append(c.partial, f.Body...)
	if c.partial == nil {
		c.partial = []byte{}
	}
	if f.More {
		return nil, nil
	}
	whole := c.partial
	c.partial = nil
	return whole, nil
}

// Fail ends every stream with err: nothing more will come or go.
func (c *Conn) Fail(err error) {
	c.link.fail(err)
	for i := range c.sources {
		c.sources[i].fail(err)
		c.sinks[i].fail(err)
	}
}

// Number is the body of Signal or Credit.
func (f Frame) Number() uint32 { return binary.LittleEndian.Uint32(f.Body) }

// Size is the body of Resize.
func (f Frame) Size() runner.Size {
	return runner.Size{Rows: binary.LittleEndian.Uint16(f.Body), Columns: binary.LittleEndian.Uint16(f.Body[2:])}
}
