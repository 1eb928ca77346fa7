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

// A TerminalMaker is an Engine whose Process has the master of the terminal
// that a Spec asks for. Others take what goes to a terminal and comes from it
// as standard input and output.
type TerminalMaker interface{ MakesTerminal() }

// A TerminalProcess is a Process with a terminal of its own.
type TerminalProcess interface {
	// Terminal is the master, nil where the Spec asked for none. A read of it
	// fails when the box has ended and all is read. Who asks for it closes it.
	Terminal() *os.File
	// Stopped is told each time that the application has been stopped, as by
	// Ctrl-Z; Signal with SIGCONT has it go on.
	Stopped() <-chan struct{}
}

// A Resizer is a Process that can be told that its terminal has another size.
type Resizer interface{ Resize(Size) error }

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
