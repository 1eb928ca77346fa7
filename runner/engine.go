package runner

import (
	"context"
	"os"

	"hutch/runner/host"
)

// An Engine runs a Spec in one kind of isolation.
type Engine interface {
	Name() string
	// Probe says whether the engine can run here; if not, why, and what to do.
	Probe(host.Facts) Support
	// Start runs s. Whatever was asked for and cannot be enforced is an *Error
	// before the application's first instruction.
	Start(ctx context.Context, s *Spec, io Stdio) (Process, error)
}

// Support is the answer to Probe.
type Support struct {
	OK     bool
	Reason string
	Remedy string
}

// Stdio holds the three standard streams. None may be nil.
type Stdio struct {
	In, Out, Err *os.File
}

// A Process is a started run.
type Process interface {
	// PID is the host's id of the box's first process.
	PID() int
	// Signal passes sig to the application.
	Signal(sig os.Signal) error
	// Kill ends the whole box.
	Kill() error
	// Wait returns when nothing of the box is left. It must be called once.
	Wait() (Result, error)
}
