package guest

import (
	"strings"

	"hutch/runner"
)

// lost says what became of a guest that ended without a report: it was killed
// by us, hung, panicked, ran out of memory, or powered itself off.
func (s *Session) lost(end runner.Result, err error) (runner.Result, error) {
	s.mu.Lock()
	killed, hung := s.killed, s.hung
	s.mu.Unlock()
	switch {
	case hung:
		return runner.Result{}, s.explain("the guest hung: it did not answer for " + s.m.Answer.String())
	case killed:
		r := runner.Result{Version: runner.ResultVersion, Engine: s.m.Engine}
		r.SetSignal(9, "SIGKILL")
		r.Message = "the guest was ended before it could report"
		return r, nil
	case runner.Hint(s.broken) != "":
		return runner.Result{}, s.broken
	case s.broken != nil && s.broken != errGone:
		return runner.Result{}, &runner.Error{Stage: runner.StageRun, Step: "the guest's report", Err: s.broken, Hint: s.hint()}
	case err != nil:
		return runner.Result{}, err
	}
	return runner.Result{}, s.explain("the guest " + s.fate(end))
}

// fate is how the guest ended, by its kernel's last words and its process's
// end.
func (s *Session) fate(end runner.Result) string {
	switch {
	case s.console.Says("Out of memory and no killable processes", "System is deadlocked on memory", "Out of memory: compulsory panic_on_oom"):
		return "ran out of memory"
	case s.console.Says("Kernel panic - not syncing"):
		return "panicked"
	case end.Signal == "SIGBUS" || end.Signal == "SIGKILL":
		return "was killed on the host, by " + end.Signal
	case end.Signal != "":
		return "crashed with " + end.Signal
	default:
		return "powered itself off"
	}
}

// explain is an error with the last lines of the console.
func (s *Session) explain(what string) error {
	return &runner.Error{Stage: runner.StageRun, Step: what, Hint: s.hint()}
}

func (s *Session) hint() string {
	lines := s.console.Tail()
	if len(lines) == 0 {
		return "its console said nothing"
	}
	return "the last lines of its console:\n  " + strings.Join(lines, "\n  ")
}
