package guest

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

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
		return runner.Result{}, s.explain("the guest hung: it did not answer for "+s.m.Answer.String(), otherKernel)
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
	if err := s.complaint(); err != nil {
		return runner.Result{}, err
	}
	what, remedy := s.fate(end)
	return runner.Result{}, s.explain("the guest "+what, remedy)
}

// Unloaded begins the name of the step in which a guest loads a module. Where
// that was the channel's, only the console can tell.
const Unloaded = "load module "

// otherKernel is what to do about a guest that fails by itself.
const otherKernel = "another kernel may do better: --kernel FILE; hutch doctor says which one is taken"

// fate is how the guest ended, by its kernel's last words and its process's
// end, and what to do about it.
func (s *Session) fate(end runner.Result) (what, remedy string) {
	switch {
	case s.console.Says(Unloaded):
		return "could not load its modules", "they must be those of exactly its kernel: install them anew, or name another kernel with --kernel"
	case s.console.Says("Out of memory and no killable processes", "System is deadlocked on memory", "Out of memory: compulsory panic_on_oom"):
		return "ran out of memory", s.given("it had %d MiB for its kernel, process 1 and the application: --memory gives more")
	case s.console.Says("start_userspace : clone failed"):
		return "had no process left on the host, where a User Mode Linux guest has one for each of its own", "raise ulimit -u, or pids.max of the control group around hutch"
	case s.console.Says("check_ptrace :", "ptrace: Operation not permitted"):
		return "could not trace its own processes, as User Mode Linux does",
			"whoever traces hutch, strace -f or a debugger, keeps it from that; or the sysctl kernel.yama.ptrace_scope is 3: use --engine native"
	case s.console.Says("Kernel panic - not syncing"):
		return "panicked", otherKernel
	case end.Signal == "SIGXFSZ":
		return "was ended by the limit on the size of files", s.given("its memory of %d MiB is a file: ulimit -f unlimited")
	case end.Signal == "SIGBUS" || end.Signal == "SIGKILL":
		return "was killed on the host, by " + end.Signal,
			s.given("most likely there was no memory for its %d MiB: free some, raise the limit of the control group that hutch runs in, or give it less with --memory")
	case end.Signal != "":
		if low := lowLimit(); low != "" {
			return "crashed with " + end.Signal, low
		}
		return "crashed with " + end.Signal, otherKernel
	case end.ExitCode != nil && *end.ExitCode != 0:
		return fmt.Sprintf("ended itself with status %d", *end.ExitCode), otherKernel
	default:
		return "powered itself off", otherKernel
	}
}

// lowLimit is what to do where the caller limits the memory of programs, which
// those of guests cannot tell themselves.
func lowLimit() string {
	for _, l := range [...]struct {
		resource int
		flag     string
	}{{unix.RLIMIT_DATA, "-d"}, {unix.RLIMIT_AS, "-v"}} {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.resource, &now); err == nil && now.Cur != unix.RLIM_INFINITY {
			return fmt.Sprintf("most likely it had no memory: it may use %d MiB, ulimit %s; ulimit %[2]s unlimited", now.Cur>>20, l.flag)
		}
	}
	return ""
}

// complaint is why the emulator did not start the guest, or nil.
func (s *Session) complaint() error {
	if s.m.Complaint == nil {
		return nil
	}
	why := s.m.Complaint(s.console.text())
	if why == "" {
		return nil
	}
	return s.explain("the emulator did not start the guest: "+why,
		s.given("it was to have %d MiB: give it less with --memory, or use --engine uml, which needs no emulator"))
}

// given is text with the guest's memory in MiB.
func (s *Session) given(text string) string { return fmt.Sprintf(text, s.m.Memory>>20) }

// explain is an error with the remedy and the last lines of the console.
func (s *Session) explain(what, remedy string) error {
	return &runner.Error{Stage: runner.StageRun, Step: what, Hint: remedy + "; " + s.hint()}
}

func (s *Session) hint() string {
	lines := s.console.Tail()
	if len(lines) == 0 {
		return "its console said nothing"
	}
	return "the last lines of its console:\n  " + strings.Join(lines, "\n  ")
}
