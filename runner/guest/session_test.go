package guest

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hutch/runner"
)

// A strangeGuest is a guest whose process 1 is the test: what it says is real,
// on real pipes, and what it does may be what no guest of ours would.
type strangeGuest struct {
	conn *Conn
	ends []*os.File // of the guest
	once sync.Once
	dead chan struct{}
	// session is what it speaks with, once met is closed.
	met     chan struct{}
	session atomic.Pointer[Session]
}

func (g *strangeGuest) PID() int               { return 1 }
func (g *strangeGuest) Signal(os.Signal) error { return nil }

func (g *strangeGuest) Kill() error {
	g.once.Do(func() {
		for _, f := range g.ends {
			f.Close()
		}
		close(g.dead)
	})
	return nil
}

func (g *strangeGuest) Wait() (runner.Result, error) {
	<-g.dead
	return runner.Result{}, nil
}

// visit starts a session with a guest that, when it has been told what to do,
// does as act says, and gives what the session's Wait gives.
func visit(t *testing.T, stdout *os.File, act func(*strangeGuest)) (runner.Result, error) {
	t.Helper()
	s, g := start(t, &Config{Spec: &runner.Spec{}}, stdout, 0, act)
	type end struct {
		r   runner.Result
		err error
	}
	done := make(chan end, 1)
	go func() {
		r, err := s.Wait()
		done <- end{r, err}
	}()
	select {
	case e := <-done:
		return e.r, e.err
	case <-time.After(60 * time.Second):
		g.Kill()
		t.Fatal("the run does not end")
		return runner.Result{}, nil
	}
}

// meet starts a session whose output nobody wants.
func meet(t *testing.T, config *Config, answer time.Duration, act func(*strangeGuest)) (*Session, error) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { null.Close() })
	s, _ := start(t, config, null, answer, act)
	return s, nil
}

// start starts a session with a guest that does as act says.
func start(t *testing.T, config *Config, stdout *os.File, answer time.Duration, act func(*strangeGuest)) (*Session, *strangeGuest) {
	t.Helper()
	var ends [6]*os.File
	for i := 0; i < len(ends); i += 2 {
		var err error
		if ends[i], ends[i+1], err = os.Pipe(); err != nil {
			t.Fatal(err)
		}
	}
	g := &strangeGuest{
		conn: NewConn(ends[0], ends[3]), ends: []*os.File{ends[0], ends[3], ends[5]}, dead: make(chan struct{}), met: make(chan struct{}),
	}
	g.conn.Acknowledge()
	go func() {
		if err := g.conn.Greet(); err != nil {
			t.Error(err)
			return
		}
		if f, err := g.conn.Receive(); err != nil || f.Type != Setup {
			t.Error(f.Type, err)
			return
		}
		g.conn.Send(Started, 0, nil)
		<-g.met
		act(g)
	}()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	m := Machine{Engine: "strange", Process: g, To: ends[1], From: ends[2], Console: ends[4], Terminal: true, Boot: 10 * time.Second, Answer: answer}
	s, err := Start(context.Background(), m, config, runner.Stdio{In: null, Out: stdout, Err: stdout})
	if err != nil {
		t.Fatal(err)
	}
	g.session.Store(s)
	close(g.met)
	return s, g
}

// closedReader is a pipe that nobody reads.
func closedReader(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	t.Cleanup(func() { w.Close() })
	return w
}

// flood sends standard output without end, as far as there is credit, and has
// the guest's own side of the stream told when nobody reads it.
func flood(g *strangeGuest, shut func()) (copied chan error) {
	r, w := io.Pipe()
	g.conn.OnShut = func(uint8) { shut(); r.CloseWithError(errors.New("shut")) }
	go func() {
		for line := []byte("y\n"); ; {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	}()
	copied = make(chan error, 1)
	go func() { copied <- g.conn.CopyIn(Stdout, r) }()
	return copied
}

func exited(code int) *runner.Result {
	r := &runner.Result{Version: runner.ResultVersion}
	r.SetExit(code)
	return r
}

// A run whose reader is gone ends, wherever the guest's own copy of the stream
// was when it was told so, and whether or not it says that the stream is over.
func TestClosedReader(t *testing.T) {
	t.Parallel()
	for name, closes := range map[string]bool{"the stream is closed": true, "the stream is left open": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := visit(t, closedReader(t), func(g *strangeGuest) {
				shut := make(chan struct{})
				var once sync.Once
				copied := flood(g, func() { once.Do(func() { close(shut) }) })
				go drain(g.conn)
				<-shut
				if closes {
					<-copied
					g.conn.Send(Close, Stderr, nil)
				}
				g.conn.SendMessage(Ended, exited(141))
			})
			if err != nil || r.ExitCode == nil || *r.ExitCode != 141 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// The end of a shut stream is said exactly once, also by a copy that waits for
// credit when it is told.
func TestShutWithoutCredit(t *testing.T) {
	t.Parallel()
	host, inside := pair(t, true)
	go drain(host)
	go drain(inside)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		w.Write(make([]byte, Window+4096)) // more than there is credit for
	}()
	defer w.Close()
	done := make(chan error, 1)
	go func() { done <- inside.CopyIn(Stdout, r) }()
	s := &host.sinks[Stdout]
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		full := s.unread == Window
		s.mu.Unlock()
		if full {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the window is never used up")
		}
	}
	out := make(chan error, 1)
	broken := errors.New("broken")
	go func() { out <- host.CopyOut(writerFunc(func([]byte) (int, error) { return 0, broken }), Stdout) }()
	for _, c := range []chan error{done, out} {
		select {
		case <-c:
		case <-time.After(60 * time.Second):
			t.Fatal("a copy does not end")
		}
	}
	if !s.ended {
		t.Error("the end of the stream was not said")
	}
}

// A guest that dies in the middle of its output ends the run.
func TestGuestGoneWhileItWrites(t *testing.T) {
	t.Parallel()
	_, err := visit(t, closedReader(t), func(g *strangeGuest) {
		flood(g, func() { g.Kill() })
		drain(g.conn)
	})
	if err == nil {
		t.Error("no error")
	}
}

// A run that is killed ends, whether or not anybody takes its output.
func TestKilledWithStuckReader(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	killed := make(chan func() error, 1)
	go func() {
		kill := <-killed
		time.Sleep(100 * time.Millisecond) // the pipe is full
		kill()
	}()
	result, err := visit(t, w, func(g *strangeGuest) {
		flood(g, func() {})
		killed <- g.session.Load().Kill
		drain(g.conn)
	})
	if err != nil || result.Signal != "SIGKILL" {
		t.Errorf("%+v, %v", result, err)
	}
}
