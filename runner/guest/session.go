package guest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"hutch/runner"
)

// A Machine is a guest that an engine has started.
type Machine struct {
	// Engine names the engine in results and errors.
	Engine string
	// Process is the kernel's or the emulator's.
	Process runner.Process
	// To and From are the host's ends of the channel, Console that of the
	// console. The Session closes them.
	To, From, Console *os.File
	// Terminal says that the guest's end of the channel is a terminal device.
	Terminal bool
	// Memory is the guest's, in bytes, to be told when it was too little.
	Memory int64
	// Complaint, if not nil, finds in the console why an emulator did not
	// start the guest; "" is for none.
	Complaint func(console string) string
	// Restored says that the guest has said hello before it was saved, and has
	// to be asked whether it goes on.
	Restored bool
	// Release, if not nil, is called once when the guest is gone.
	Release func() error
	// Boot bounds the time up to the application's start; 0 means 60 s.
	// Answer bounds how long a guest may be silent when asked; 0 means 30 s.
	Boot, Answer time.Duration
}

const (
	defaultBoot = 60 * time.Second
	// A guest that hangs is told from one that is busy by its process 1, which
	// always gets some processor time.
	defaultAnswer = 30 * time.Second
)

// A Session is the host's side of a run in a guest; it is a runner.Process.
type Session struct {
	m       Machine
	conn    *Conn
	console Console
	stdio   runner.Stdio
	limits  runner.Limits // as they were asked for
	layer   *layerFile    // what was written, nil when nobody wants it
	began   time.Time

	ended   chan struct{} // the guest has spoken its last word, or is gone
	result  *runner.Result
	broken  error // why the channel ended
	hung    bool
	killed  bool
	greeted bool // the guest speaks with us
	mu      sync.Mutex
	pong    chan struct{}
	stopped chan struct{}
	copies  sync.WaitGroup
	reading sync.WaitGroup

	unwritten runner.Unwritten
	// out says that files are to be copied out, waiting that the guest is there
	// for them; interrupted, that nobody wants them any more.
	out, waiting bool
	interrupted  atomic.Bool
}

// Start speaks with a guest that is booting, hands it the config, and returns
// when the application has been executed. When it fails nothing of the guest
// is left. It owns the machine from its call on.
func Start(ctx context.Context, m Machine, config *Config, stdio runner.Stdio) (*Session, error) {
	if m.Boot == 0 {
		m.Boot = defaultBoot
	}
	if m.Answer == 0 {
		m.Answer = defaultAnswer
	}
	stdio, err := own(stdio)
	if err != nil {
		m.end()
		return nil, err
	}
	layer, err := newLayerFile(config.Spec)
	if err != nil {
		closeStdio(stdio)
		m.end()
		return nil, err
	}
	s := &Session{
		layer: layer, out: len(config.Spec.CopyOut) > 0,
		m: m, stdio: stdio, limits: config.Spec.Limits, began: time.Now(), conn: NewConn(m.From, m.To),
		ended: make(chan struct{}), pong: make(chan struct{}, 1), stopped: make(chan struct{}, 1),
	}
	if m.Terminal {
		s.conn.Pace()
	}
	s.reading.Go(func() { s.console.follow(m.Console) })
	started := make(chan error, 1)
	late := time.NewTimer(s.m.Boot)
	defer late.Stop()
	s.reading.Go(func() { s.receive(config, started, func() { late.Reset(s.m.Boot) }) })
	select {
	case err = <-started:
		if err == nil {
			s.began = time.Now()
			s.pump()
			return s, nil
		}
	case <-ctx.Done():
		err = &runner.Error{Stage: runner.StageStart, Step: "start the guest", Err: ctx.Err()}
	case <-late.C:
		err = s.explain("the guest did not report within "+s.m.Boot.String(), otherKernel)
	}
	if layer != nil {
		layer.Close()
	}
	return nil, s.abandon(err)
}

// end ends a machine that nobody speaks with yet.
func (m *Machine) end() {
	m.Process.Kill()
	m.Process.Wait()
	m.close()
}

// close gives back what the machine holds.
func (m *Machine) close() {
	for _, f := range []*os.File{m.To, m.From, m.Console} {
		f.Close()
	}
	if m.Release != nil {
		m.Release()
	}
}

// endWithin is how long a guest whose channel has ended may take to end too,
// so that it can be told how.
const endWithin = 3 * time.Second

// ErrNotRestored is about a saved guest that did not go on. Nothing has been
// asked of it, and another one may do.
var ErrNotRestored = errors.New("the saved guest does not go on")

// abandon ends a guest that has not started an application, and says why.
func (s *Session) abandon(err error) error {
	err = s.bury(err)
	if s.m.Restored && !s.greeted {
		return fmt.Errorf("%w: %w", ErrNotRestored, err)
	}
	return err
}

// bury ends the guest, and gives what is known of its end for an err that says
// nothing of that.
func (s *Session) bury(err error) error {
	gone := errors.Is(err, errGone)
	patience := time.Duration(0)
	if gone {
		patience = endWithin
	}
	late := time.AfterFunc(patience, func() { s.m.Process.Kill() })
	end, _ := s.m.Process.Wait()
	itself := late.Stop()
	s.close()
	switch {
	case gone && !itself:
		return s.explain("the guest closed its channel before it reported, and ran on", otherKernel)
	case gone:
		if err := s.complaint(); err != nil {
			return err
		}
		what, remedy := s.fate(end)
		return s.explain("the guest "+what+" before it reported", remedy)
	case errors.Is(err, ErrProtocol):
		return &runner.Error{Stage: runner.StageStart, Step: "the guest's report", Err: err, Hint: s.hint()}
	default:
		return err
	}
}

// errGone stands for a channel that ended.
var errGone = errors.New("the guest is gone")

// receive is the only reader of the channel.
func (s *Session) receive(config *Config, started chan<- error, alive func()) {
	err := s.greet(config, alive)
	for err == nil {
		var f Frame
		if f, err = s.conn.Receive(); err != nil {
			break
		}
		switch f.Type {
		case Started:
			started <- nil
		case Failed:
			var failure Failure
			if err = decode(Failed, f.Body, &failure); err == nil {
				err = failure.Err()
			}
		case Ended:
			r := &runner.Result{}
			if s.result != nil {
				err = protocolError("%s twice", f.Type)
			} else if err = decode(Ended, f.Body, r); err == nil {
				s.result = r
			}
		case Pong:
			tell(s.pong)
		case Stopped:
			tell(s.stopped)
		default:
			err = protocolError("%s from the guest", f.Type)
		}
		if s.result != nil && f.Type == Ended && err == nil {
			if !s.out {
				break
			}
			close(s.ended) // and the files are to come
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EIO) {
		err = errGone
	}
	if s.result == nil || !s.out {
		s.broken = err
		close(s.ended)
	}
	// What has come can still be read; no more will.
	s.conn.Fail(errGone)
	select {
	case started <- err:
	default:
	}
}

// tell does not wait: what has not been seen yet is seen once.
func tell(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// greet answers the guest's hello, and tells it what to do.
func (s *Session) greet(config *Config, alive func()) error {
	if err := s.meet(config); err != nil {
		return err
	}
	s.greeted = true
	config.Time = time.Now()
	// Beside the reader, which must see the acknowledgements.
	go func() {
		if s.conn.SendMessage(Setup, config) == nil && len(config.Sources) > 0 {
			s.fill(config.Sources, alive)
		}
	}()
	return nil
}

// meet exchanges greetings. A guest that was saved has said its own.
func (s *Session) meet(config *Config) error {
	if !s.m.Restored {
		if err := s.conn.AwaitHello(); err != nil {
			return err
		}
		return s.conn.Send(Hello, 0, helloBody())
	}
	config.Seed = make([]byte, 64)
	rand.Read(config.Seed)
	if err := s.conn.Send(Hello, 0, helloBody()); err != nil {
		return err
	}
	if err := s.conn.Send(Ping, 0, nil); err != nil {
		return err
	}
	f, err := s.conn.Receive()
	if err == nil && f.Type != Pong {
		err = protocolError("%s before pong", f.Type)
	}
	return err
}

// pump moves the standard streams.
func (s *Session) pump() {
	// Not waited for: whoever writes to our standard input may never end.
	go s.conn.CopyIn(Stdin, s.stdio.In)
	s.copies.Go(func() { s.conn.CopyOut(noting{s.stdio.Out, &s.unwritten}, Stdout) })
	s.copies.Go(func() { s.conn.CopyOut(noting{s.stdio.Err, &s.unwritten}, Stderr) })
	if s.layer != nil {
		s.copies.Go(func() { s.layer.failed = s.conn.CopyOut(s.layer, FilesOut) })
	}
	go s.watch()
}

// noting is a stream that notes what goes wrong with it.
type noting struct {
	*os.File
	unwritten *runner.Unwritten
}

func (n noting) Write(p []byte) (int, error) {
	written, err := n.File.Write(p)
	n.unwritten.Note(err)
	return written, err
}

// Unwritten is why output did not arrive, see runner.Sandbox.
func (s *Session) Unwritten() error { return s.unwritten.Err() }

// watch asks the guest from time to time whether it still runs.
func (s *Session) watch() {
	for {
		select {
		case <-s.ended:
			return
		case <-time.After(s.m.Answer / 6):
		}
		go s.conn.Send(Ping, 0, nil)
		select {
		case <-s.ended:
			return
		case <-s.pong:
		case <-time.After(s.m.Answer):
			s.mu.Lock()
			s.hung = true
			s.mu.Unlock()
			s.m.Process.Kill()
			return
		}
	}
}

// PID is that of the guest's first process on the host.
func (s *Session) PID() int { return s.m.Process.PID() }

// Signal passes sig to the application.
func (s *Session) Signal(sig os.Signal) error {
	n, ok := sig.(syscall.Signal)
	if !ok {
		return &runner.Error{Stage: runner.StageRun, Step: "signal " + sig.String() + " is not one of this system"}
	}
	select {
	case <-s.ended:
		// Nothing but files are to come, and whoever signals does not want them.
		if s.out && stops(n) {
			s.interrupt()
		}
		return nil
	default:
	}
	return s.conn.SendNumber(Signal, 0, uint32(n))
}

// stops says whether a signal is one that people stop programs with.
func stops(n syscall.Signal) bool {
	return n == syscall.SIGINT || n == syscall.SIGTERM || n == syscall.SIGHUP || n == syscall.SIGQUIT
}

// Resize tells the application's terminal its size.
func (s *Session) Resize(size runner.Size) error { return s.conn.SendSize(size) }

// Terminal is nil: what goes to the guest's terminal and comes from it are the
// standard streams.
func (s *Session) Terminal() *os.File { return nil }

// Stopped is told each time that the application has been stopped.
func (s *Session) Stopped() <-chan struct{} { return s.stopped }

// killWithin is how long the guest has to end the box by itself and report.
const killWithin = 2 * time.Second

// saveWithin is how long it may take in all where what was written is wanted.
const saveWithin = time.Minute

// Kill ends the box: first the guest is asked to, so that it can say what the
// application used, then the guest itself is ended.
func (s *Session) Kill() error {
	s.mu.Lock()
	first := !s.killed
	s.killed = true
	s.mu.Unlock()
	if !first {
		return s.m.Process.Kill()
	}
	go s.conn.Send(Kill, 0, nil)
	go s.killLate()
	return nil
}

// killLate kills the guest when it does not report in time. While what the
// application has written comes, it has some more.
func (s *Session) killLate() {
	last := time.After(saveWithin)
	for seen := int64(0); ; {
		select {
		case <-s.ended:
			return
		case <-last:
		case <-time.After(killWithin):
			if now := s.layer.arrived(); now > seen {
				seen = now
				continue
			}
		}
		s.m.Process.Kill()
		return
	}
}

// drainPatience is how long a run that was killed waits for a reader.
const drainPatience = 500 * time.Millisecond

// Wait returns when nothing of the guest is left; where files are to be copied
// out of it, when its application has ended: Copies are then to be closed.
func (s *Session) Wait() (runner.Result, error) {
	<-s.ended
	ran := time.Now()
	s.drain()
	if s.out && s.result != nil {
		s.waiting = true
		r := s.told()
		r.Timing.RunSeconds = ran.Sub(s.began).Seconds()
		return r, nil
	}
	// There is nothing to be shut down: what had to be written is.
	s.m.Process.Kill()
	end, err := s.m.Process.Wait()
	s.close()
	if s.result == nil {
		return s.lost(end, err)
	}
	r := s.told()
	r.Timing.RunSeconds = ran.Sub(s.began).Seconds()
	r.Timing.CleanupSeconds = time.Since(ran).Seconds()
	return r, nil
}

// drain waits until what has come is written. A run that was killed does not wait
// for a reader that takes nothing.
func (s *Session) drain() {
	s.mu.Lock()
	killed := s.killed
	s.mu.Unlock()
	if !killed {
		s.copies.Wait()
		return
	}
	done := make(chan struct{})
	go func() {
		s.copies.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(drainPatience):
	}
}

// told is the guest's report in the host's words.
func (s *Session) told() runner.Result {
	r := *s.result
	r.Restore()
	r.Engine = s.m.Engine
	// Those that the host keeps are not known there, and one of memory is.
	r.Enforced.Limits = s.limits.Names()
	if r.Cause == runner.OutOfMemory && s.limits.MemoryBytes == 0 {
		r.Message = "the application used up the guest's memory, and the kernel killed a process of it; --memory gives more"
	}
	return r
}

// close gives back the channel, of which all is read: nobody is left at its
// other end.
func (s *Session) close() {
	s.reading.Wait()
	closeStdio(s.stdio)
	s.m.close()
}
