package runner

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// The exit statuses of hutch's own, as env(1) and timeout(1) have them.
const (
	ExitTimeout       = 124
	ExitHutch         = 125 // hutch itself failed
	ExitNotExecutable = 126
	ExitNotFound      = 127
)

// The stages of a run at which an Error can come about.
const (
	StageResolve = "resolve" // flags, profile and image do not make a Spec
	StagePrepare = "prepare" // the root or a host resource is not there
	StageStart   = "start"   // a step between clone and execve was refused
	StageExec    = "exec"    // the application could not be executed
	StageRun     = "run"     // hutch lost its hold on a running box
)

// An Error is hutch's own failure, never the application's. It unwraps to
// the errno where there is one.
type Error struct {
	Stage string // one of the Stage constants
	Step  string // what was being done, naming the object
	Err   error
	Hint  string // what to do about it; may be empty
	// Exit is the exit status that stands for it; 0 means ExitHutch.
	Exit int
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Step)
	if e.Err != nil {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// ExitStatus is the exit status that stands for err: the one it carries, or
// ExitHutch.
func ExitStatus(err error) int {
	var e *Error
	if errors.As(err, &e) && e.Exit != 0 {
		return e.Exit
	}
	return ExitHutch
}

// Hint is the advice that err carries, or "". Where err is that a limit of the
// caller's is reached, in whatever was being done, that is what it is about.
func Hint(err error) string {
	switch {
	case errors.Is(err, unix.EMFILE):
		return "raise the limit of open files: ulimit -n 1024"
	case errors.Is(err, unix.ENFILE):
		return "the machine has too many open files: close some, or as root raise the sysctl fs.file-max"
	case errors.Is(err, unix.EFBIG):
		return "raise the limit of the size of files: ulimit -f unlimited"
	}
	if p := (*os.PathError)(nil); errors.As(err, &p) && strings.HasPrefix(p.Path, "/proc/self/") && unix.Access("/proc/self", unix.F_OK) != nil {
		return "mount /proc"
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}
