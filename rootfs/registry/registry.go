// Package registry is what hutch and its fetching program, hutch-pull, say to
// each other. Talking to a registry takes HTTP, TLS and much else whose
// package init every start of hutch would pay for, and reads what strangers
// send: so it is done by a program of its own, which has no privileges, may
// write no file, and hands over bytes that hutch verifies.
//
//	hutch                         hutch-pull
//	  │ Request{open}                │
//	  ├─────────────────────────────▶│  credentials; then it confines itself
//	  │                     Reply{}  │
//	  │◀─────────────────────────────┤
//	  │ Request{manifest} + pipe     │
//	  ├─────────────────────────────▶│
//	  │ Request{blob} + pipe         │
//	  ├─────────────────────────────▶│
//	  │       bytes through the pipes│
//	  │◀═════════════════════════════┤
//	  │         Reply{}, in any order│  when a pipe is at its end
//	  │◀─────────────────────────────┤
//
// Requests and replies are JSON, one a packet of a SOCK_SEQPACKET socket,
// unix(7). Either end notices by the socket that the other is gone.
package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SocketFD is the descriptor on which hutch-pull finds the socket.
const SocketFD = 3

// The things to ask for.
const (
	OpOpen     = "open"     // first and once
	OpManifest = "manifest" // by tag or digest
	OpBlob     = "blob"     // by digest
)

// A Request asks for one thing.
type Request struct {
	ID   int    `json:"id"`
	Op   string `json:"op"`
	Open *Open  `json:"open,omitempty"`
	// Reference is a manifest's tag or digest, or a blob's digest.
	Reference string `json:"reference,omitempty"`
	// Size is a blob's, 0 when unknown; no more is sent.
	Size int64 `json:"size,omitempty"`
}

// Open says which repository is talked about.
type Open struct {
	Host       string `json:"host"` // with its port
	Repository string `json:"repository"`
	// PlainHTTP allows HTTP without TLS to a host that is not this machine.
	PlainHTTP bool `json:"plain_http,omitempty"`
	// Stall is how long a connection may be silent; 0 means half a minute.
	Stall time.Duration `json:"stall_ns,omitempty"`
	// Pause is before the second attempt, and doubles; 0 means half a second.
	Pause time.Duration `json:"pause_ns,omitempty"`
}

// A Reply says how a request ended.
type Reply struct {
	ID        int    `json:"id"`
	MediaType string `json:"media_type,omitempty"` // of a manifest
	Error     string `json:"error,omitempty"`
	Hint      string `json:"hint,omitempty"`
	Status    int    `json:"status,omitempty"` // of HTTP, when that was the trouble
}

// An Error is what hutch-pull could not do.
type Error struct {
	Text, Hint string
	Status     int
}

func (e *Error) Error() string {
	if e.Hint != "" {
		return e.Text + "; " + e.Hint
	}
	return e.Text
}

// maxPacket bounds a request or a reply.
const maxPacket = 32 << 10

// A Conn is one end of the socket.
type Conn struct{ f *os.File }

// NewConn takes over the socket with this descriptor.
func NewConn(fd int) (*Conn, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	return &Conn{os.NewFile(uintptr(fd), "socket")}, nil
}

// Close ends the conversation.
func (c *Conn) Close() error { return c.f.Close() }

// Send sends v, and with it a descriptor unless that is nil.
func (c *Conn) Send(v any, with *os.File) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(data) > maxPacket {
		return fmt.Errorf("a message of %d bytes", len(data))
	}
	var rights []byte
	if with != nil {
		raw, err := with.SyscallConn()
		if err != nil {
			return err
		}
		if err := raw.Control(func(fd uintptr) { rights = unix.UnixRights(int(fd)) }); err != nil {
			return err
		}
	}
	raw, err := c.f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = raw.Write(func(fd uintptr) bool {
		serr = retried(func() error { return unix.Sendmsg(int(fd), data, rights, nil, unix.MSG_NOSIGNAL) })
		return !errors.Is(serr, unix.EAGAIN)
	})
	return errors.Join(err, serr)
}

// Receive fills v, and gives the descriptor that came along, or nil. At the
// other end's close it returns io.EOF.
func (c *Conn) Receive(v any) (*os.File, error) {
	raw, err := c.f.SyscallConn()
	if err != nil {
		return nil, err
	}
	data, oob := make([]byte, maxPacket+1), make([]byte, unix.CmsgSpace(4*4))
	var n, oobn int
	var rerr error
	err = raw.Read(func(fd uintptr) bool {
		rerr = retried(func() (err error) {
			n, oobn, _, _, err = unix.Recvmsg(int(fd), data, oob, unix.MSG_CMSG_CLOEXEC)
			return err
		})
		return !errors.Is(rerr, unix.EAGAIN)
	})
	if err = errors.Join(err, rerr); err != nil {
		return nil, err
	}
	file, err := received(oob[:oobn])
	switch {
	case err != nil:
	case n == 0:
		err = io.EOF
	case n > maxPacket:
		err = errors.New("a message is too long")
	default:
		err = json.Unmarshal(data[:n], v)
	}
	if err != nil && file != nil {
		file.Close()
		file = nil
	}
	return file, err
}

// received takes the descriptor out of a control message; more than one are
// closed and an error.
func received(oob []byte) (*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var all []int
	for i := range list {
		if fds, err := unix.ParseUnixRights(&list[i]); err == nil {
			all = append(all, fds...)
		}
	}
	if len(all) == 1 {
		return os.NewFile(uintptr(all[0]), "pipe"), nil
	}
	for _, fd := range all {
		unix.Close(fd)
	}
	return nil, fmt.Errorf("%d descriptors in a message", len(all))
}

func retried(f func() error) error {
	for {
		if err := f(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
