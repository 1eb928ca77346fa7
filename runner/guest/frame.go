package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Version is the version of the protocol. Host and guest are the same binary,
// so that another version is always a mistake.
const Version = 2

// magic begins the first frame in either direction.
const magic = "hutchgst"

// A Type says what a frame carries.
type Type uint8

// The types of frame. To add one: a line here, one in names, one in the table
// of the README, and a case in whichever side receives it.
const (
	Hello   Type = 1 + iota // both: magic and version
	Setup                   // to the guest: a Setup as JSON
	Started                 // to the host: the application has been executed
	Failed                  // to the host: a Failure as JSON; nothing runs
	Ended                   // to the host: a runner.Result as JSON; all is written
	Data                    // both: bytes of a stream
	Close                   // both: the end of a stream, from its sender
	Shut                    // both: nobody reads a stream any more, from its receiver
	Ack                     // to the host: how many bytes have been taken from the channel
	Credit                  // both: how many more bytes of a stream may be sent
	Signal                  // to the guest: the number of a signal for the application
	Resize                  // to the guest: rows and columns of the terminal
	Kill                    // to the guest: end the box
	Ping                    // to the guest: are you there
	Pong                    // to the host: yes
	Stopped                 // to the host: the application was stopped, as by Ctrl-Z
)

var names = [...]string{
	Hello: "hello", Setup: "setup", Started: "started", Failed: "failed", Ended: "ended",
	Data: "data", Close: "close", Shut: "shut", Ack: "ack", Credit: "credit", Signal: "signal", Resize: "resize",
	Kill: "kill", Ping: "ping", Pong: "pong", Stopped: "stopped",
}

func (t Type) String() string {
	if int(t) < len(names) && names[t] != "" {
		return names[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// The streams of Data, Close, Shut and Credit.
const (
	Stdin    = 0 // to the guest
	Stdout   = 1 // to the host
	Stderr   = 2 // to the host
	CopiesIn = 3 // to the guest: files to put into the root, see copies.go
	FilesOut = 4 // to the host: what was written to the root, as tar
	// CopiesOut goes to the host: files of the root, see copies.go, after Ended.
	CopiesOut = 5
	Streams   = 6
)

const (
	// headerSize is type, stream, flags, a zero byte and the length of the
	// body, little-endian.
	headerSize = 8
	// MaxBody is the longest body of a frame.
	MaxBody = 512 << 10
	// maxMessage is the longest message that is spread over several frames.
	maxMessage = 16 << 20
	// more says that the message goes on in the next frame of the same type.
	more = 1
)

// A Frame is the unit of the protocol.
type Frame struct {
	Type   Type
	Stream uint8
	More   bool
	// Body is only valid until the next frame is read.
	Body []byte
}

// ErrProtocol is wrapped by every error about bytes that are no frame, or a
// frame that has no place where it came.
var ErrProtocol = errors.New("the other side of the guest's channel does not keep to the protocol")

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// AppendFrame appends f as it is sent.
func AppendFrame(b []byte, f Frame) []byte {
	var flags byte
	if f.More {
		flags = more
	}
	return append(appendHeader(b, f.Type, f.Stream, flags, len(f.Body)), f.Body...)
}

func appendHeader(b []byte, t Type, stream, flags byte, n int) []byte {
	return binary.LittleEndian.AppendUint32(append(b, byte(t), stream, flags, 0), uint32(n))
}

// A FrameReader reads frames from a channel.
type FrameReader struct {
	r    io.Reader
	head [headerSize]byte
	body []byte
}

// NewFrameReader reads from r, which it asks for what it needs and no more.
func NewFrameReader(r io.Reader) *FrameReader { return &FrameReader{r: r} }

// Next is the next frame. io.EOF stands for an end between two frames, and
// io.ErrUnexpectedEOF for one within.
func (r *FrameReader) Next() (Frame, error) {
	if _, err := io.ReadFull(r.r, r.head[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Type: Type(r.head[0]), Stream: r.head[1], More: r.head[2]&more != 0}
	n := binary.LittleEndian.Uint32(r.head[4:])
	if err := check(f, r.head, n); err != nil {
		return Frame{}, err
	}
	if int(n) > len(r.body) {
		r.body = make([]byte, max(int(n), 4<<10))
	}
	f.Body = r.body[:n]
	if _, err := io.ReadFull(r.r, f.Body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return f, nil
}

// fixed is the length of the body of those types that have only one.
func fixed(t Type) (n uint32, ok bool) {
	switch t {
	case Hello:
		return uint32(len(magic) + 2), true
	case Ack, Credit, Signal, Resize:
		return 4, true
	case Started, Close, Shut, Kill, Ping, Pong, Stopped:
		return 0, true
	default:
		return 0, false
	}
}

// check holds a header against what any frame may look like.
func check(f Frame, head [headerSize]byte, n uint32) error {
	if f.Type < Hello || f.Type > Stopped {
		return protocolError("a frame of %s", f.Type)
	}
	if head[2]&^more != 0 || head[3] != 0 {
		return protocolError("flags %#x in a frame of type %s", head[2:4], f.Type)
	}
	if n > MaxBody {
		return protocolError("%d bytes in a frame of type %s", n, f.Type)
	}
	if want, ok := fixed(f.Type); ok && n != want {
		return protocolError("%d bytes in a frame of type %s, expected %d", n, f.Type, want)
	}
	if f.Stream >= Streams || f.Stream != 0 && f.Type != Data && f.Type != Close && f.Type != Shut && f.Type != Credit {
		return protocolError("stream %d in a frame of type %s", f.Stream, f.Type)
	}
	if f.More && f.Type != Setup && f.Type != Failed && f.Type != Ended {
		return protocolError("a frame of type %s that goes on", f.Type)
	}
	return nil
}

// helloBody is what the first frame holds.
func helloBody() []byte {
	return binary.LittleEndian.AppendUint16([]byte(magic), Version)
}

// checkHello says whether the other side speaks as we do.
func checkHello(f Frame) error {
	if f.Type != Hello {
		return protocolError("%s before hello", f.Type)
	}
	if string(f.Body[:len(magic)]) != magic {
		return protocolError("a greeting that is not hutch's")
	}
	if v := binary.LittleEndian.Uint16(f.Body[len(magic):]); v != Version {
		return protocolError("version %d, expected %d", v, Version)
	}
	return nil
}
