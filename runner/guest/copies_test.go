package guest

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/transfer"
)

// What is packed arrives byte for byte, with all its zeros, and those take no
// room on the way.
func TestCopies(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 3<<20+17)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	hole := append(make([]byte, 64<<20+5), noise...)
	bodies := [][]byte{nil, {0}, noise, hole, make([]byte, 8192), append(noise[:4096:4096], make([]byte, 4096)...)}
	var stream bytes.Buffer
	for _, body := range bodies {
		err := SendCopy(&stream, func(w io.Writer) error {
			for rest := body; len(rest) > 0; {
				n := min(len(rest), 1+rand.IntN(1<<20))
				if _, err := w.Write(rest[:n]); err != nil {
					return err
				}
				rest = rest[n:]
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, most := stream.Len(), 2*len(noise)+1<<20; got > most {
		t.Errorf("%d bytes were sent, more than %d", got, most)
	}
	c := NewCopyReader(&stream)
	for i, want := range bodies {
		var got []byte
		err := c.Next(1<<30, func(r io.Reader) (err error) {
			got, err = io.ReadAll(r)
			return err
		})
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("copy %d: %d bytes for %d, %v", i, len(got), len(want), err)
		}
	}
}

// Whoever fails first is told, and the next copy is read all the same.
func TestCopyThatFails(t *testing.T) {
	t.Parallel()
	var stream bytes.Buffer
	SendCopy(&stream, func(w io.Writer) error { w.Write([]byte("half")); return errors.New("is a FIFO") })
	SendCopy(&stream, func(w io.Writer) error { _, err := w.Write(make([]byte, 1<<20)); return err })
	SendCopy(&stream, func(w io.Writer) error { _, err := w.Write([]byte("whole")); return err })
	c := NewCopyReader(&stream)
	cut := func(r io.Reader) error {
		io.Copy(io.Discard, r)
		return transfer.ErrCutOff
	}
	if err := c.Next(1<<30, cut); err == nil || err.Error() != "is a FIFO" {
		t.Errorf("the packer's: %v", err)
	}
	full := errors.New("no space left on device")
	if err := c.Next(1<<30, func(io.Reader) error { return full }); err != full {
		t.Errorf("the placer's: %v", err)
	}
	var got []byte
	if err := c.Next(1<<30, func(r io.Reader) (err error) { got, err = io.ReadAll(r); return err }); err != nil || string(got) != "whole" {
		t.Errorf("the last: %q, %v", got, err)
	}
	if err := c.Next(1<<30, cut); err == nil {
		t.Error("a copy that was never sent is whole")
	}
}

// lies are what no packer of ours sends.
func lies(t *testing.T) map[string][]byte {
	t.Helper()
	whole := func(headers ...*tar.Header) []byte {
		var b bytes.Buffer
		err := SendCopy(&b, func(w io.Writer) error {
			a := tar.NewWriter(w)
			for _, h := range headers {
				if err := a.WriteHeader(h); err != nil {
					return err
				}
				if _, err := io.CopyN(a, zeroReader{}, h.Size); err != nil {
					return err
				}
			}
			return a.Close()
		})
		if err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	dir := &tar.Header{Name: "top/", Typeflag: tar.TypeDir, Mode: 0o755}
	file := func(name string, size int64) *tar.Header {
		return &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size}
	}
	last := file("end", 0)
	link := &tar.Header{Name: "top/l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}
	return map[string][]byte{
		"above":         whole(dir, file("top/../../escaped", 1), last),
		"absolute":      whole(dir, file("/escaped", 1), last),
		"another":       whole(dir, file("escaped", 1), last),
		"a link":        whole(dir, link, file("top/l/escaped", 1), last),
		"a device":      whole(dir, &tar.Header{Name: "top/d", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}, last),
		"a hard link":   whole(dir, &tar.Header{Name: "top/h", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}, last),
		"too large":     whole(dir, file("top/big", 2<<20), last),
		"no end":        whole(dir, file("top/f", 1)),
		"cut off":       whole(dir, file("top/f", 1), last)[:1000],
		"nothing":       nil,
		"strange":       []byte("xxxxxxxxxxxxxxxxxxxxx"),
		"endless data":  {pieceData, 0xff, 0xff, 0xff, 0xff},
		"no data":       {pieceData, 0, 0, 0, 0},
		"endless zeros": bytes.Repeat([]byte{pieceZeros, 0, 0, 0, 0x40}, 16),
		"endless words": {pieceEnd, 0xff, 0xff, 0xff, 0x7f},
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A guest can say what it likes: nothing of it is at the target, nor anywhere
// else, and the run ends.
func TestLyingGuest(t *testing.T) {
	t.Parallel()
	for name, lie := range lies(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			at := filepath.Join(dir, "at")
			if err := os.Mkdir(at, 0o755); err != nil {
				t.Fatal(err)
			}
			s, err := meet(t, &Config{Spec: &runner.Spec{CopyOut: []runner.Copy{{Source: "/x", Target: "x"}}}}, 0, func(g *strangeGuest) {
				g.conn.Send(Close, Stdout, nil)
				g.conn.Send(Close, Stderr, nil)
				g.conn.SendMessage(Ended, exited(0))
				g.conn.CopyIn(CopiesOut, bytes.NewReader(lie))
			})
			if err != nil {
				t.Fatal(err)
			}
			if r, err := s.Wait(); err != nil || r.ExitCode == nil || *r.ExitCode != 0 {
				t.Fatalf("%+v, %v", r, err)
			}
			if err := placeOne(t, s, at); err == nil {
				t.Error("was placed")
			}
			left, _ := filepath.Glob(dir + "/*")
			inside, _ := os.ReadDir(at)
			if len(left) != 1 || len(inside) != 0 {
				t.Errorf("left behind: %v, %v", left, inside)
			}
		})
	}
}

// placeOne places what s has as the name x in dir.
func placeOne(t *testing.T, s *Session, dir string) error {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	c := s.Copies()
	if c == nil {
		t.Fatal("there are no copies")
	}
	defer c.Close()
	return c.Next(1<<20, func(r io.Reader) error {
		_, err := transfer.Place(r, fd, "x", transfer.PlaceOptions{Bytes: 1 << 20})
		return err
	})
}

// A guest that promises files and sends none is given up, and a signal gives
// it up at once.
func TestSilentCopies(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]bool{"silent": false, "signal": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := time.Second
			if signal {
				answer = time.Minute
			}
			s, err := meet(t, &Config{Spec: &runner.Spec{CopyOut: []runner.Copy{{Source: "/x", Target: "x"}}}}, answer, func(g *strangeGuest) {
				g.conn.Send(Close, Stdout, nil)
				g.conn.Send(Close, Stderr, nil)
				g.conn.SendMessage(Ended, exited(0))
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Wait(); err != nil {
				t.Fatal(err)
			}
			if signal {
				time.AfterFunc(100*time.Millisecond, func() { s.Signal(unix.SIGINT) })
			}
			began := time.Now()
			err = placeOne(t, s, t.TempDir())
			want := "hung"
			if signal {
				want = ErrInterrupted.Error()
			}
			if err == nil || !strings.Contains(err.Error(), want) || time.Since(began) > 20*time.Second {
				t.Errorf("%v after %v, want %q", err, time.Since(began), want)
			}
		})
	}
}

// Whatever comes, a CopyReader ends, and gives no more than it may.
func FuzzCopyReader(f *testing.F) {
	var b bytes.Buffer
	SendCopy(&b, func(w io.Writer) error { _, err := w.Write(make([]byte, 10000)); return err })
	SendCopy(&b, func(w io.Writer) error { return errors.New("why") })
	f.Add(b.Bytes())
	f.Add([]byte{pieceZeros, 0, 0, 0, 0x40, pieceEnd, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		c := NewCopyReader(bytes.NewReader(data))
		for range 3 {
			err := c.Next(0, func(r io.Reader) error {
				n, err := io.CopyN(io.Discard, r, 1<<16)
				if n > 1<<16 {
					t.Error(n)
				}
				if err != nil {
					return transfer.ErrCutOff
				}
				return err
			})
			if err == nil && c.dead == nil && len(data) < pieceHead {
				t.Error("a copy of nothing")
			}
		}
	})
}
