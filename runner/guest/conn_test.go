package guest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"hutch/runner"
)

// pair is two ends of a channel of real pipes.
func pair(t *testing.T, paced bool) (host, inside *Conn) {
	t.Helper()
	hr, gw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	gr, hw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range []*os.File{hr, gw, gr, hw} {
			f.Close()
		}
	})
	host, inside = NewConn(hr, hw), NewConn(gr, gw)
	if paced {
		host.Pace()
		inside.Acknowledge()
	}
	greeted := make(chan error, 1)
	go func() { greeted <- inside.Greet() }()
	if err := host.AwaitHello(); err != nil {
		t.Fatal(err)
	}
	if err := host.Send(Hello, 0, helloBody()); err != nil {
		t.Fatal(err)
	}
	if err := <-greeted; err != nil {
		t.Fatal(err)
	}
	return host, inside
}

// drain receives until the channel ends.
func drain(c *Conn) {
	for {
		if _, err := c.Receive(); err != nil {
			c.Fail(err)
			return
		}
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

// Every stream arrives byte for byte, all at once, in both directions.
func TestStreams(t *testing.T) {
	t.Parallel()
	for _, paced := range []bool{false, true} {
		host, inside := pair(t, paced)
		go drain(host)
		go drain(inside)
		var all sync.WaitGroup
		for stream := range uint8(Streams) {
			from, to := inside, host
			if stream == Stdin || stream == CopiesIn {
				from, to = host, inside
			}
			data := noise(3*Window + int(stream)*1000)
			want := sha256.Sum256(data)
			all.Go(func() {
				if err := from.CopyIn(stream, bytes.NewReader(data)); err != nil {
					t.Errorf("stream %d: %v", stream, err)
				}
			})
			all.Go(func() {
				h := sha256.New()
				if err := to.CopyOut(h, stream); err != nil {
					t.Errorf("stream %d: %v", stream, err)
				}
				if !bytes.Equal(h.Sum(nil), want[:]) {
					t.Errorf("stream %d, paced %v: other bytes than were sent", stream, paced)
				}
			})
		}
		all.Wait()
	}
}

// A stream that nobody reads stops its sender and no other stream.
func TestWindow(t *testing.T) {
	t.Parallel()
	host, inside := pair(t, false)
	go drain(host)
	go drain(inside)
	sent := make(chan int, 1)
	pr, pw := io.Pipe()
	go inside.CopyIn(Stdout, pr)
	go func() {
		n := 0
		for range 3 * Window / 4096 {
			k, err := pw.Write(make([]byte, 4096))
			if n += k; err != nil {
				break
			}
		}
		sent <- n
	}()
	go inside.CopyIn(Stderr, strings.NewReader("beside"))
	var out bytes.Buffer
	if err := host.CopyOut(&out, Stderr); err != nil || out.String() != "beside" {
		t.Errorf("stderr: %q, %v", out.String(), err)
	}
	select {
	case n := <-sent:
		t.Errorf("%d bytes were taken with a window of %d", n, Window)
	default:
	}
	pw.Close()
	<-sent
}

// The other side is told when a writer fails, and its copy ends.
func TestShut(t *testing.T) {
	t.Parallel()
	host, inside := pair(t, false)
	shut := make(chan uint8, 1)
	inside.OnShut = func(s uint8) { shut <- s }
	go drain(host)
	go drain(inside)
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- inside.CopyIn(Stdout, pr) }()
	broken := errors.New("broken")
	go host.CopyOut(writerFunc(func([]byte) (int, error) { return 0, broken }), Stdout)
	pw.Write([]byte("x"))
	if s := <-shut; s != Stdout {
		t.Errorf("stream %d was shut", s)
	}
	// The copy may have ended already and take no more: nobody waits for this write.
	go pw.Write([]byte("y"))
	if err := <-done; !errors.Is(err, ErrShut) {
		t.Errorf("the copy ended with %v", err)
	}
	pr.Close()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A message longer than a frame arrives whole.
func TestLongMessage(t *testing.T) {
	t.Parallel()
	host, inside := pair(t, true)
	go drain(host)
	long := strings.Repeat("é", MaxBody)
	go host.SendMessage(Setup, &Config{Spec: &runner.Spec{Command: []string{long}}})
	f, err := inside.Receive()
	if err != nil || f.Type != Setup {
		t.Fatalf("%v, %v", f.Type, err)
	}
	var c Config
	if err := decode(Setup, f.Body, &c); err != nil || c.Spec.Command[0] != long {
		t.Errorf("another message than was sent: %v", err)
	}
}

// Whoever breaks the rules is found out, and by name.
func TestProtocolErrors(t *testing.T) {
	t.Parallel()
	frame := func(t Type, stream uint8, body ...byte) []byte {
		return AppendFrame(nil, Frame{Type: t, Stream: stream, Body: body})
	}
	tests := []struct {
		name string
		in   []byte
		want string
	}{
		{"no frame", []byte("login: root\n"), "a frame of type 108"},
		{"type 0", make([]byte, 8), "a frame of type 0"},
		{"too long", []byte{byte(Data), 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, "4294967295 bytes"},
		{"flags", []byte{byte(Data), 0, 2, 0, 0, 0, 0, 0}, "flags"},
		{"stream", frame(Data, Streams), "stream 6"},
		{"stream of a signal", frame(Signal, 1, 0, 0, 0, 0), "stream 1"},
		{"length", frame(Signal, 0, 9), "expected 4"},
		{"second hello", frame(Hello, 0, helloBody()...), "a second hello"},
		{"after the end", append(frame(Close, 1), frame(Data, 1, 'x')...), "after the end"},
		{"ends twice", append(frame(Close, 1), frame(Close, 1)...), "ends twice"},
		{"credit", bytes.Repeat(frame(Credit, 1, 0xff, 0xff, 0xff, 0x3f), 3), "credit for"},
		{"acknowledged", frame(Ack, 0, 1, 0, 0, 0), "not sent"},
		{"beyond the window", bytes.Repeat(frame(Data, 1, make([]byte, MaxBody)...), 3), "more data than"},
		{"message within another", append(
			AppendFrame(nil, Frame{Type: Failed, More: true, Body: []byte("{")}),
			frame(Ended, 0, '}')...), "within"},
	}
	for _, tt := range tests {
		c := NewConn(bytes.NewReader(tt.in), io.Discard)
		for {
			f, err := c.Receive()
			if err == nil {
				if f.Type == Ended {
					t.Errorf("%s: taken", tt.name)
					break
				}
				continue
			}
			if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			}
			break
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"hutchgst\x01\x00", "hutchgsT\x02\x00"} {
		in := AppendFrame(nil, Frame{Type: Hello, Body: []byte(body)})
		if err := NewConn(bytes.NewReader(in), io.Discard).AwaitHello(); !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// An error keeps its stage, errno, hint and exit status on the way.
func TestFailure(t *testing.T) {
	t.Parallel()
	e := &runner.Error{Stage: runner.StageExec, Step: "/nope", Err: os.ErrNotExist, Hint: "look", Exit: 127}
	got := NewFailure(e).Err()
	if got.Error() != e.Error() || runner.Hint(got) != "look" || runner.ExitStatus(got) != 127 {
		t.Errorf("%v, %q, %d", got, runner.Hint(got), runner.ExitStatus(got))
	}
}

// No bytes make a reader panic, take more than a message's memory, or accept
// a frame that would be written otherwise.
func FuzzConn(f *testing.F) {
	f.Add([]byte{})
	for t := Hello; t <= Stopped; t++ {
		n, _ := fixed(t)
		f.Add(AppendFrame(nil, Frame{Type: t, Body: make([]byte, n)}))
	}
	f.Add(AppendFrame(nil, Frame{Type: Ended, More: true, Body: []byte("{}")}))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewFrameReader(bytes.NewReader(in))
		var again []byte
		for {
			fr, err := r.Next()
			if err != nil {
				break
			}
			again = AppendFrame(again, fr)
		}
		if !bytes.HasPrefix(in, again) {
			t.Errorf("%x was read as %x", in, again)
		}
		c := NewConn(bytes.NewReader(in), io.Discard)
		for {
			if _, err := c.Receive(); err != nil {
				break
			}
		}
	})
}
