package kvm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A monitor is QEMU's control socket, qemu-qmp-ref(7).
type monitor struct {
	f  *os.File
	in *json.Decoder
}

// newMonitor is a monitor and QEMU's end of it.
func newMonitor() (*monitor, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	unix.SetNonblock(pair[0], true)
	f := os.NewFile(uintptr(pair[0]), "monitor")
	return &monitor{f: f, in: json.NewDecoder(f)}, os.NewFile(uintptr(pair[1]), "monitor"), nil
}

func (q *monitor) close() { q.f.Close() }

// A reply is one of QEMU's: to a command, or about what happened.
type reply struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
}

// ask has QEMU execute a command, and decodes what it returns where into is
// not nil. A file that goes with it is QEMU's then as well.
func (q *monitor) ask(into any, command string, arguments map[string]any, file *os.File) error {
	text, err := json.Marshal(map[string]any{"execute": command, "arguments": arguments})
	if err != nil {
		return err
	}
	if err := q.send(text, file); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	for {
		var r reply
		switch err := q.in.Decode(&r); {
		case err != nil:
			return fmt.Errorf("%s: %w", command, err)
		case r.Error != nil:
			return fmt.Errorf("%s: %s", command, r.Error.Desc)
		case r.Return == nil:
			continue // its greeting, or an event
		case into != nil:
			return json.Unmarshal(r.Return, into)
		default:
			return nil
		}
	}
}

func (q *monitor) send(text []byte, file *os.File) error {
	if file == nil {
		_, err := q.f.Write(text)
		return err
	}
	c, err := q.f.SyscallConn()
	if err != nil {
		return err
	}
	rights := unix.UnixRights(int(file.Fd()))
	werr := c.Write(func(fd uintptr) bool {
		err = unix.Sendmsg(int(fd), text, rights, nil, 0)
		return !errors.Is(err, unix.EAGAIN)
	})
	return errors.Join(werr, err)
}

// save writes the machine, with its memory, to f. It stands still afterwards.
func (q *monitor) save(f *os.File) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(f, r)
		r.Close() // QEMU is not to wait for room that there is not
		copied <- err
	}()
	for _, c := range [...]struct {
		command   string
		arguments map[string]any
		file      *os.File
	}{
		{"qmp_capabilities", nil, nil},
		{"migrate-set-parameters", map[string]any{"max-bandwidth": int64(1) << 40}, nil},
		{"getfd", map[string]any{"fdname": "saved"}, w},
		{"migrate", map[string]any{"uri": "fd:saved"}, nil},
	} {
		if c.arguments == nil {
			c.arguments = map[string]any{}
		}
		if err := q.ask(nil, c.command, c.arguments, c.file); err != nil {
			return err
		}
	}
	w.Close()
	if err := q.completed(); err != nil {
		return err
	}
	return <-copied
}

// completed waits until all is written.
func (q *monitor) completed() error {
	for ; ; time.Sleep(5 * time.Millisecond) {
		var state struct {
			Status string `json:"status"`
			Desc   string `json:"error-desc"`
		}
		if err := q.ask(&state, "query-migrate", map[string]any{}, nil); err != nil {
			return err
		}
		switch state.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return fmt.Errorf("migrate: %s: %s", state.Status, state.Desc)
		}
	}
}
