package pid1

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hutch/rootfs"
	"hutch/runner"
	"hutch/runner/guest"
	"hutch/runner/native"
)

// serve is the whole order of a guest's life. It only returns when that came
// to another end than the host's, with the reason.
func serve(channel string) error {
	if err := mountAll(early[:], ""); err != nil {
		return err
	}
	// The channel may be there all the same, and whoever waits at it is to know.
	unloaded, wait := loadModules(), portWait
	if unloaded != nil {
		wait = unloadedWait
	}
	c, err := openChannel(channel, wait)
	if err != nil {
		return errors.Join(unloaded, err)
	}
	// What is the same in every run is done before the greeting: in a guest that
	// was saved it has been.
	furnished := switchRoot()
	rehearse()
	conn := guest.NewConn(c, c)
	if !strings.HasPrefix(channel, virtioPrefix) {
		conn.Acknowledge()
	}
	if err := conn.Greet(); err != nil {
		return err
	}
	config, err := receiveConfig(conn)
	if err != nil {
		return err
	}
	s := &session{conn: conn, config: config, started: make(chan struct{})}
	if unloaded != nil {
		return s.fail(unloaded)
	}
	if err := s.prepare(furnished); err != nil {
		return s.fail(err)
	}
	go s.listen()
	if err := s.start(); err != nil {
		return s.fail(err)
	}
	go s.watchStops()
	return s.finish()
}

// sample is a config as most are, in JSON.
const sample = `{"spec":{"env":[""],"root":{"lowers":[""]},"mounts":[{}],"hidden":[""],"limits":{},"landlock":{"read":[""]},"seccomp":{"filter":""}},` +
	`"disks":[{}],"shares":[{}],"time":"2006-01-02T15:04:05Z"}`

// rehearse decodes a config once: the types that it is made of are learned then.
func rehearse() {
	var c guest.Config
	_ = json.Unmarshal([]byte(sample), &c) // TestSample
}

// receiveConfig waits for Setup.
func receiveConfig(conn *guest.Conn) (*guest.Config, error) {
	for {
		f, err := conn.Receive()
		if err != nil {
			return nil, err
		}
		switch f.Type {
		case guest.Setup:
			c := &guest.Config{}
			if err := json.Unmarshal(f.Body, c); err != nil {
				return nil, err
			}
			if c.Spec == nil {
				return nil, fmt.Errorf("the host sent no spec")
			}
			return c, nil
		case guest.Ping:
			if err := conn.Send(guest.Pong, 0, nil); err != nil {
				return nil, err
			}
		case guest.Kill:
			return nil, fmt.Errorf("ended by the host")
		default:
			return nil, fmt.Errorf("%w: %s before setup", guest.ErrProtocol, f.Type)
		}
	}
}

// A session is one run.
type session struct {
	conn    *guest.Conn
	config  *guest.Config
	sandbox *runner.Sandbox
	// input is the application's standard input, outputs what it writes to.
	input   *os.File
	outputs [3]*os.File
	copies  sync.WaitGroup
	// started is closed when there is a box; what the host sends before is for
	// its files.
	started chan struct{}
	// after is closed when the application has its own, or, where it has a
	// terminal, when that has ended.
	after []*os.File
}

// prepare makes the guest a machine on which the Spec can run; furnished is what
// became of that which is the same for all.
func (s *session) prepare(furnished error) error {
	for _, step := range []func() error{s.reseed, func() error { return furnished }, s.setClock, s.mountDisks, s.mountShares} {
		if err := step(); err != nil {
			return &runner.Error{Stage: runner.StagePrepare, Step: "prepare the guest", Err: err}
		}
	}
	return nil
}

// reseed gives the kernel of a guest that was saved randomness of its own,
// random(4), before anything is made of what it has. No number that was drawn in
// advance is given out after it.
func (s *session) reseed() error {
	if len(s.config.Seed) == 0 {
		return nil
	}
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(s.config.Seed); err != nil {
		return err
	}
	if err := unix.IoctlSetInt(int(f.Fd()), unix.RNDRESEEDCRNG, 0); err != nil {
		return fmt.Errorf("reseed the random numbers: %w", err)
	}
	return nil
}

// setClock corrects the guest's clock where it is far off, or stood still.
func (s *session) setClock() error {
	d := time.Until(s.config.Time)
	if s.config.Time.IsZero() || d.Abs() < 2*time.Second && len(s.config.Seed) == 0 {
		return nil
	}
	t := unix.NsecToTimeval(s.config.Time.UnixNano())
	return unix.Settimeofday(&t)
}

// start starts the Spec in a box.
func (s *session) start() error {
	stdio, after, err := s.stdio()
	if err != nil {
		return err
	}
	engine := native.NewInGuest()
	engine.Fill(s.fill)
	s.sandbox = runner.NewSandbox(context.Background(), engine, s.spec())
	s.sandbox.Stdin, s.sandbox.Stdout, s.sandbox.Stderr = stdio.In, stdio.Out, stdio.Err
	err = s.sandbox.Start()
	if s.after = after; err != nil || s.config.Spec.Terminal == nil {
		s.closeAfter()
	}
	if err != nil {
		return err
	}
	close(s.started)
	if err := s.conn.Send(guest.Started, 0, nil); err != nil {
		return err
	}
	go func() {
		s.conn.CopyOut(s.input, guest.Stdin)
		s.input.Close()
	}()
	for _, stream := range [...]uint8{guest.Stdout, guest.Stderr} {
		s.copies.Go(func() { s.conn.CopyIn(stream, s.outputs[stream]) })
	}
	return nil
}

// spec is the Spec as it is run here. The host keeps the time, and counts what
// it is sent. A memory limit there always is: when the guest runs out of
// memory, that is to end the application and not whatever the kernel finds.
func (s *session) spec() *runner.Spec {
	spec := *s.config.Spec
	spec.Limits.Timeout, spec.Limits.OutputBytes = 0, 0
	if free := available(); spec.Limits.MemoryBytes == 0 && free > 0 {
		spec.Limits.MemoryBytes = free - free/16
	}
	return &spec
}

// available is the memory, in bytes, that this machine can still give.
func available() int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemAvailable:" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// stdio makes a pipe for each stream. What is to be closed when the box has
// its own is returned too.
func (s *session) stdio() (streams runner.Stdio, after []*os.File, err error) {
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
		}
		return r, w
	}
	streams.In, s.input = pipe()
	s.outputs[guest.Stdout], streams.Out = pipe()
	s.outputs[guest.Stderr], streams.Err = pipe()
	if err == nil {
		// What a guest pays for is the number of system calls, not the bytes.
		unix.FcntlInt(s.outputs[guest.Stdout].Fd(), unix.F_SETPIPE_SZ, guest.MaxBody)
	}
	return streams, []*os.File{streams.In, streams.Out, streams.Err}, err
}

// listen does what the host asks for until the channel ends.
func (s *session) listen() {
	s.conn.OnShut = func(stream uint8) {
		if f := s.outputs[stream]; f != nil {
			f.Close() // the application's next write is its SIGPIPE
		}
	}
	for {
		f, err := s.conn.Receive()
		if err != nil {
			s.conn.Fail(err)
		}
		<-s.started // or the session has failed, and this is its end as well
		if err != nil {
			s.sandbox.Process.Kill()
			return
		}
		switch f.Type {
		case guest.Signal:
			s.sandbox.Signal(syscall.Signal(f.Number()))
		case guest.Resize:
			s.sandbox.Resize(f.Size())
		case guest.Kill:
			s.sandbox.Process.Kill()
		case guest.Ping:
			s.conn.Send(guest.Pong, 0, nil)
		}
	}
}

func (s *session) closeAfter() {
	for _, f := range s.after {
		f.Close()
	}
	s.after = nil
}

// watchStops tells the host when the application has been stopped.
func (s *session) watchStops() {
	if p, ok := s.sandbox.Process.(runner.TerminalProcess); ok && s.config.Spec.Terminal != nil {
		for range p.Stopped() {
			s.conn.Send(guest.Stopped, 0, nil)
		}
	}
}

// finish waits for the end and reports it.
func (s *session) finish() error {
	result, err := s.sandbox.Wait()
	s.closeAfter()
	s.copies.Wait()
	if err != nil {
		return s.fail(err)
	}
	if err := s.sendLayer(); err != nil {
		return s.fail(err)
	}
	if err := s.conn.SendMessage(guest.Ended, result); err != nil {
		return err
	}
	if err := s.sendCopies(); err != nil {
		return err
	}
	return await()
}

// sendLayer sends what was written, as a tar, where the host wants it. The
// box is gone: nothing changes any more.
func (s *session) sendLayer() error {
	if !s.config.Spec.Root.Diff {
		return nil
	}
	var dir *os.File
	if p, ok := s.sandbox.Process.(interface{ Upper() *os.File }); ok {
		dir = p.Upper()
	}
	if dir == nil {
		return &runner.Error{Stage: runner.StageRun, Step: "what was written is gone with the box"}
	}
	defer dir.Close()
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		_, err := rootfs.Pack(context.Background(), w, int(dir.Fd()), rootfs.PackLimits{Exact: s.config.Keep})
		w.CloseWithError(err)
		packed <- err
	}()
	sent := s.conn.CopyIn(guest.FilesOut, r)
	r.CloseWithError(sent)
	if err := <-packed; err != nil {
		return &runner.Error{Stage: runner.StageRun, Step: "pack what was written", Err: err}
	}
	return sent
}

// fail reports err.
func (s *session) fail(err error) error {
	if serr := s.conn.SendMessage(guest.Failed, guest.NewFailure(err)); serr != nil {
		return fmt.Errorf("%w, when it was to be told: %w", serr, err)
	}
	return await()
}

// await gives the host the time to read the last word and end the guest.
func await() error {
	time.Sleep(time.Minute)
	return fmt.Errorf("the host did not end the guest")
}
