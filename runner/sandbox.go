package runner

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// A Sandbox is one run, used like an exec.Cmd: set the fields, then Start and
// Wait, or Run. It cannot be used again.
type Sandbox struct {
	// Engine carries the run out. Required.
	Engine Engine
	// Spec says everything about it. Required; Start validates it.
	Spec *Spec
	// Stdin is the application's standard input; nil is the null device. An
	// *os.File is handed over as it is; anything else is copied through a pipe.
	Stdin io.Reader
	// Stdout and Stderr take its output; nil is the null device. They are
	// handed over or copied as Stdin is.
	Stdout, Stderr io.Writer
	// Process is there once Start has succeeded.
	Process Process

	ctx     context.Context
	began   time.Time
	started time.Duration
	copies  sync.WaitGroup
	close   []io.Closer
	output  *OutputCap // nil without a limit
	stop    chan struct{}
	watched sync.WaitGroup
	// unwritten is of what is copied here.
	unwritten Unwritten
	// ended and why are the limit that ended the run, if one did.
	ended Cause
	why   string
}

// NewSandbox is a Sandbox that is killed when ctx ends.
func NewSandbox(ctx context.Context, e Engine, s *Spec) *Sandbox {
	return &Sandbox{Engine: e, Spec: s, ctx: ctx}
}

// Run starts the application and waits for its end.
func (s *Sandbox) Run() (Result, error) {
	if err := s.Start(); err != nil {
		return Result{}, err
	}
	return s.Wait()
}

// Start starts the application. When it returns nil, the application has been
// executed; otherwise nothing of it is left.
func (s *Sandbox) Start() (err error) {
	if s.Process != nil {
		return errors.New("sandbox has been started already")
	}
	if s.ctx == nil {
		s.ctx = context.Background()
	}
	if err := s.Spec.Validate(); err != nil {
		return err
	}
	s.began = time.Now()
	if n := s.Spec.Limits.OutputBytes; n > 0 {
		s.output = NewOutputCap(n)
	}
	var io Stdio
	var after []*os.File
	own := false // the terminal is copied here, not by the engine
	if s.Spec.Terminal != nil {
		_, own = s.Engine.(TerminalMaker)
	}
	defer func() {
		for _, f := range after {
			f.Close()
		}
		if err != nil {
			s.closeAll()
			s.copies.Wait()
		}
	}()
	if own {
		io.In, err = null(os.O_RDWR, &after)
		io.Out, io.Err = io.In, io.In
	} else {
		err = s.streams(&io, &after)
	}
	if err != nil {
		return err
	}
	if s.Process, err = s.Engine.Start(s.ctx, s.Spec, io); err != nil {
		return err
	}
	if own {
		s.attach()
	}
	s.started = time.Since(s.began)
	s.watch()
	return nil
}

// streams are the three of an application without a terminal.
func (s *Sandbox) streams(io *Stdio, after *[]*os.File) (err error) {
	if io.In, err = s.input(after); err != nil {
		return err
	}
	if io.Out, err = s.outputTo(s.Stdout, after); err != nil {
		return err
	}
	// One writer for both keeps their order, as exec.Cmd does.
	if io.Err = io.Out; !s.oneOutput() {
		io.Err, err = s.outputTo(s.Stderr, after)
	}
	return err
}

// oneOutput says whether standard output and error are the same. A limit makes
// pipes of them, so that it must look below the descriptors.
func (s *Sandbox) oneOutput() bool {
	return sameWriter(s.Stdout, s.Stderr) || s.output != nil && sameFile(s.Stdout, s.Stderr)
}

func sameWriter(a, b io.Writer) bool {
	defer func() { _ = recover() }() // writers of a type that cannot be compared differ
	return a != nil && a == b
}

func (s *Sandbox) input(after *[]*os.File) (*os.File, error) {
	if f, ok := s.Stdin.(*os.File); ok {
		return f, nil
	}
	if s.Stdin == nil {
		return null(os.O_RDONLY, after)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, &Error{Stage: StageStart, Step: "make a pipe for standard input", Err: err}
	}
	*after = append(*after, r)
	s.close = append(s.close, w)
	// Not waited for: the reader may block for ever after the application ended.
	go func() {
		io.Copy(w, s.Stdin)
		w.Close()
	}()
	return r, nil
}

func (s *Sandbox) outputTo(to io.Writer, after *[]*os.File) (*os.File, error) {
	if s.output != nil {
		return s.cappedOutput(to, after)
	}
	if f, ok := to.(*os.File); ok {
		return f, nil
	}
	if to == nil {
		return null(os.O_WRONLY, after)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, &Error{Stage: StageStart, Step: "make a pipe for the output", Err: err}
	}
	*after = append(*after, w)
	s.copies.Go(func() {
		_, err := io.Copy(to, r)
		s.unwritten.Note(err)
		r.Close() // a writer that fails ends the application with SIGPIPE
	})
	return w, nil
}

// cappedOutput is a pipe out of which at most the limit is copied.
func (s *Sandbox) cappedOutput(to io.Writer, after *[]*os.File) (*os.File, error) {
	r, w, err := cappedPipe()
	if err != nil {
		return nil, &Error{Stage: StageStart, Step: "make a pipe for the output", Err: err}
	}
	*after = append(*after, w)
	s.copies.Go(func() {
		var err error
		switch to := to.(type) {
		case *os.File:
			err = s.output.relay(to, r)
		case nil:
			_, err = io.Copy(capped{s.output, io.Discard}, r)
		default:
			_, err = io.Copy(capped{s.output, to}, r)
		}
		s.unwritten.Note(err)
		r.Close()
	})
	return w, nil
}

func null(flag int, after *[]*os.File) (*os.File, error) {
	f, err := os.OpenFile(os.DevNull, flag, 0)
	if err != nil {
		return nil, &Error{Stage: StageStart, Step: "open the null device", Err: err}
	}
	*after = append(*after, f)
	return f, nil
}

// Wait returns when nothing of the run is left and all output is copied; of a
// run that its timeout ended, as far as the reader takes it at once.
func (s *Sandbox) Wait() (Result, error) {
	if s.Process == nil {
		return Result{}, errors.New("sandbox has not been started")
	}
	r, err := s.Process.Wait()
	close(s.stop)
	s.watched.Wait()
	s.closeAll()
	s.drain()
	// The application may have ended before what it wrote last was counted.
	if s.output != nil && s.output.Exceeded() {
		s.end(OutputLimit)
	}
	r.Timing.StartSeconds = s.started.Seconds()
	if s.ended != "" {
		r.Cause, r.Message = s.ended, s.why
		if s.ended == Timeout && r.Usage.WallSeconds != nil {
			r.Message += r.Usage.Stalled.words(*r.Usage.WallSeconds)
		}
	}
	explainEnd(&r, s.Spec)
	return r, err
}

// Unwritten is why output of the application's that was copied did not arrive,
// after Wait; nil where it did, or where nobody wanted it any more. What was
// handed over the application has written itself, and knows.
func (s *Sandbox) Unwritten() error {
	err := s.unwritten.Err()
	if p, ok := s.Process.(interface{ Unwritten() error }); ok && err == nil {
		err = p.Unwritten()
	}
	if err == nil {
		return nil
	}
	return &Error{Stage: StageRun, Step: "write what the application has written", Err: err, Hint: "have it go where there is room; some of it is lost"}
}

// drainPatience is how long a run that was ended at its time waits for a reader.
const drainPatience = time.Second

// drain waits until what the application wrote is copied. Who reads nothing must
// not hold up a run whose time is over: what is left then is dropped, and the
// copy ends when the reader takes something or goes.
func (s *Sandbox) drain() {
	if s.ended != Timeout && s.ended != CPUTime && s.ctx.Err() == nil {
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

// Signal passes sig to the application.
func (s *Sandbox) Signal(sig os.Signal) error {
	if s.Process == nil {
		return errors.New("sandbox has not been started")
	}
	return s.Process.Signal(sig)
}

func (s *Sandbox) closeAll() {
	for _, c := range s.close {
		c.Close()
	}
	s.close = nil
}
