package runner

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
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
	stop    chan struct{}
	watched sync.WaitGroup
	expired bool
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
	var io Stdio
	var after []*os.File
	defer func() {
		for _, f := range after {
			f.Close()
		}
		if err != nil {
			s.closeAll()
			s.copies.Wait()
		}
	}()
	if io.In, err = s.input(&after); err != nil {
		return err
	}
	if io.Out, err = s.output(s.Stdout, &after); err != nil {
		return err
	}
	// One writer for both keeps their order, as exec.Cmd does.
	if io.Err = io.Out; !sameWriter(s.Stdout, s.Stderr) {
		if io.Err, err = s.output(s.Stderr, &after); err != nil {
			return err
		}
	}
	if s.Process, err = s.Engine.Start(s.ctx, s.Spec, io); err != nil {
		return err
	}
	s.started = time.Since(s.began)
	s.watch()
	return nil
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

func (s *Sandbox) output(to io.Writer, after *[]*os.File) (*os.File, error) {
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
		io.Copy(to, r)
		r.Close() // a writer that fails ends the application with SIGPIPE
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

// watch ends the run when its time is up: SIGTERM, and after the grace period
// the end of the whole box.
func (s *Sandbox) watch() {
	s.stop = make(chan struct{})
	limit := s.Spec.Limits.Timeout
	if s.ctx.Done() == nil && limit == 0 {
		return
	}
	s.watched.Go(func() {
		var timeout <-chan time.Time
		if limit > 0 {
			timeout = time.After(limit)
		}
		select {
		case <-s.stop:
			return
		case <-s.ctx.Done():
			s.Process.Kill()
			return
		case <-timeout:
		}
		s.expired = true
		s.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.stop:
		case <-s.ctx.Done():
			s.Process.Kill()
		case <-time.After(s.Spec.Limits.Grace):
			s.Process.Kill()
		}
	})
}

// Wait returns when nothing of the run is left and all output is copied.
func (s *Sandbox) Wait() (Result, error) {
	if s.Process == nil {
		return Result{}, errors.New("sandbox has not been started")
	}
	r, err := s.Process.Wait()
	close(s.stop)
	s.watched.Wait()
	s.closeAll()
	s.copies.Wait()
	r.Timing.StartSeconds = s.started.Seconds()
	if s.expired {
		r.Cause = Timeout
		r.Message = "the run was stopped after its timeout of " + s.Spec.Limits.Timeout.String()
	}
	return r, err
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
