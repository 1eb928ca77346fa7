package pid1

import (
	"io"
	"os"
	"time"

	"hutch/runner"
	"hutch/runner/guest"
	"hutch/runner/native"
	"hutch/runner/transfer"
)

// In a guest the box's ids are the guest's own, and nobody else is there: what
// a helper does on a host, process 1 does itself, with the same code.

// fill takes what is copied in, before the application starts.
func (s *session) fill(root *os.File, owner native.Owner) error {
	defer root.Close()
	r, err := s.copiesIn()
	if err != nil {
		return err
	}
	defer r.Close()
	spec := s.config.Spec
	var tmpfs []string
	for _, m := range spec.Mounts {
		if m.Type == runner.MountTmpfs {
			tmpfs = append(tmpfs, m.Target)
		}
	}
	o := transfer.PlaceOptions{Bytes: s.config.CopyLimit, Links: true, Chown: !owner.One, UID: int(owner.UID), GID: int(owner.GID)}
	in := guest.NewCopyReader(r)
	for _, c := range spec.CopyIn {
		err := in.Next(o.Bytes, func(r io.Reader) error {
			n, err := transfer.In(r, int(root.Fd()), c.Target, c.Source, tmpfs, o)
			o.Bytes -= n
			return err
		})
		if err != nil {
			return guest.CopyError(runner.StageStart, "copy in", c, err)
		}
	}
	return nil
}

// copiesIn is the stream of what is copied in.
func (s *session) copiesIn() (io.ReadCloser, error) {
	if s.config.CopyDisk != "" {
		return openDisk(s.config.CopyDisk)
	}
	r, w := io.Pipe()
	go func() {
		err := s.conn.CopyOut(w, guest.CopiesIn)
		if err == nil {
			err = io.EOF
		}
		w.CloseWithError(err)
	}()
	return r, nil
}

// openDisk opens a disk that has no file system, when it shows up.
func openDisk(device string) (*os.File, error) {
	for end := time.Now().Add(deviceWait); ; time.Sleep(time.Millisecond) {
		f, err := os.Open(findDisk(device))
		if err == nil || time.Now().After(end) {
			return f, err
		}
	}
}

// sendCopies sends what is copied out, when the host has been told how the run
// ended: it takes them one after the other, and then ends the guest.
func (s *session) sendCopies() error {
	if len(s.config.Spec.CopyOut) == 0 {
		return nil
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(s.packCopies(w)) }()
	err := s.conn.CopyIn(guest.CopiesOut, r)
	r.CloseWithError(err)
	return err
}

func (s *session) packCopies(w io.Writer) error {
	b, ok := s.sandbox.Process.(interface {
		Tree() *os.File
		Owner() native.Owner
	})
	var tree *os.File
	if ok {
		tree = b.Tree()
	}
	if tree == nil {
		return io.ErrUnexpectedEOF // which the host tells as files that are gone
	}
	defer tree.Close()
	o := transfer.PackOptions{Bytes: s.config.CopyLimit, Owner: int(b.Owner().UID)}
	for _, c := range s.config.Spec.CopyOut {
		// What it cannot pack it says there, and the others are packed all the same.
		var unpacked error
		err := guest.SendCopy(w, func(w io.Writer) error {
			n, err := transfer.Out(w, int(tree.Fd()), c.Source, o)
			o.Bytes, unpacked = o.Bytes-n, err
			return err
		})
		if err != nil && err != unpacked {
			return err
		}
	}
	return nil
}
