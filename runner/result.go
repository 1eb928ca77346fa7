package runner

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ResultVersion is the version of the Result's JSON form.
const ResultVersion = 1

// A Cause says why a run ended.
type Cause string

// The causes.
const (
	Exited        Cause = "exited"
	Signaled      Cause = "signaled"
	Timeout       Cause = "timeout"
	CPUTime       Cause = "cpu-time"
	OutOfMemory   Cause = "out-of-memory"
	OutputLimit   Cause = "output-limit"
	DiskLimit     Cause = "disk-limit"
	SeccompKilled Cause = "seccomp-killed"
	NotStarted    Cause = "not-started"
)

// A Result says what became of the application. A pointer that is nil, and a
// null in the JSON, stands for what the engine could not measure.
type Result struct {
	Version int    `json:"version"`
	Engine  string `json:"engine"`
	Cause   Cause  `json:"cause"`
	// ExitCode is the application's own, nil unless it exited.
	ExitCode *int `json:"exit_code"`
	// Signal is the name of the signal that ended it, such as "SIGKILL".
	Signal string `json:"signal"`
	// Message says in words what happened when that is more than an exit.
	Message  string   `json:"message"`
	Usage    Usage    `json:"usage"`
	Timing   Timing   `json:"timing"`
	Enforced Enforced `json:"enforced"`
	// Denied is nil where nobody counted: without Spec.Explain.
	Denied []Denial `json:"denied"`
	// Used is what a learning run saw; it is nothing that a result tells.
	Used []Use `json:"-"`

	signal int
}

// Usage is what the box used, all its processes together.
type Usage struct {
	WallSeconds     *float64 `json:"wall_seconds"`
	UserSeconds     *float64 `json:"user_seconds"`
	SystemSeconds   *float64 `json:"system_seconds"`
	MemoryPeakBytes *int64   `json:"memory_peak_bytes"`
	ReadBytes       *int64   `json:"read_bytes"`
	WrittenBytes    *int64   `json:"written_bytes"`
	ProcessesPeak   *int64   `json:"processes_peak"`
	ContextSwitches *int64   `json:"context_switches"`
	// Stalled is not written: a run that its timeout ended tells of it in Message.
	Stalled Stalled `json:"-"`
}

// Stalled says for how long, in seconds, some process of the box could have run
// and waited for a processor, for memory, for a disk; nil is unknown. Only
// control groups of version 2 tell, package cgroup.
type Stalled struct{ CPU, Memory, IO *float64 }

// words tells of what a run spent a tenth or more of its time on, "" for nothing.
func (s Stalled) words(wall float64) string {
	var parts []string
	for _, p := range [...]struct {
		seconds *float64
		what    string
	}{{s.CPU, "for a processor"}, {s.Memory, "for memory"}, {s.IO, "for a disk"}} {
		if p.seconds != nil && wall > 0 && *p.seconds >= wall/10 {
			parts = append(parts, fmt.Sprintf("%.1f s %s", *p.seconds, p.what))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "; of that it waited " + strings.Join(parts, ", ")
}

// Timing is where the wall time went: preparing the root, starting the box up
// to the application's execve, running it, and cleaning up.
type Timing struct {
	PrepareSeconds float64 `json:"prepare_seconds"`
	StartSeconds   float64 `json:"start_seconds"`
	RunSeconds     float64 `json:"run_seconds"`
	CleanupSeconds float64 `json:"cleanup_seconds"`
}

// Enforced lists what stood around the application.
type Enforced struct {
	// Seccomp is NAME@sha256:…, or "" without a filter.
	Seccomp string `json:"seccomp"`
	// LandlockABI is the kernel's, or 0 where no Landlock layer is on.
	LandlockABI int `json:"landlock_abi"`
	// Cgroup is "v2", "v1", "hybrid" or "" where no limit needed one.
	Cgroup        string   `json:"cgroup"`
	UserNamespace bool     `json:"user_namespace"`
	Limits        []string `json:"limits"`
	// Missing names the layers that were preferred and could not be had.
	Missing []string `json:"missing"`
}

// A Denial is a refusal that the application met.
type Denial struct {
	// What refused: "syscall", the filter; "limit"; "kill", the filter too; or of
	// ExplainAll "path", a mount or Landlock; "capability", one that lacks;
	// "network"; "process", another one.
	What string `json:"what"`
	// Name is the system call's, the limit's, the path, the capability, or the
	// address.
	Name string `json:"name"`
	// Args are the arguments of the first such call, in words; of a path, a
	// capability or an address the system call that was made.
	Args  []string `json:"args,omitempty"`
	Count int64    `json:"count"`
	// FirstSeconds is when it was first met, counted from the box's start.
	FirstSeconds float64 `json:"first_seconds"`
	// Program is the file that ran, Caller the function in it that made the
	// call, as "libc.so.6: mount+0xe"; "" where that could not be seen.
	Program string `json:"program,omitempty"`
	Caller  string `json:"caller,omitempty"`
	Errno   string `json:"errno"`
	// Hint is the shortest line of a profile that would allow it, Warning what
	// that would open.
	Hint    string `json:"hint"`
	Warning string `json:"warning,omitempty"`
	// Number holds the arguments as numbers.
	Number [6]uint64 `json:"-"`
}

// A Use is something that a learning run saw the application use.
type Use struct {
	// Kind is the key of the profile's landlock table: "read", "list", "write",
	// "execute", "connect" or "bind".
	Kind string
	// Name is a path inside the root, without links, that was there when the run
	// began; or an address, with "/udp" behind it where Landlock does not see it.
	Name string
}

// ExitStatus is the status that hutch itself exits with: the application's,
// 128+N for a signal, or 124 for a timeout. A run that a limit ended never
// passes for a good one, even if the application had just finished.
func (r *Result) ExitStatus() int {
	switch {
	case r.Cause == Timeout:
		return ExitTimeout
	case r.Cause == NotStarted:
		return ExitHutch
	case r.ExitCode != nil && (r.Cause == OutputLimit || r.Cause == CPUTime):
		return 128 + 9 // as if SIGKILL had met it
	case r.ExitCode != nil:
		return *r.ExitCode
	default:
		return 128 + r.signal
	}
}

// SetExit says that the application exited with code.
func (r *Result) SetExit(code int) {
	r.Cause, r.ExitCode = Exited, &code
}

// SetSignal says that the signal number, called name, ended the application.
func (r *Result) SetSignal(number int, name string) {
	r.Cause, r.Signal, r.signal = Signaled, name, number
}

// Seconds is d as the Result writes it.
func Seconds(d time.Duration) *float64 {
	s := d.Seconds()
	return &s
}

// NotStartedResult is the Result of a run that err kept from starting.
func NotStartedResult(err error) Result {
	return Result{
		Version: ResultVersion, Engine: "native", Cause: NotStarted, Message: err.Error(),
		Enforced: Enforced{Limits: []string{}, Missing: []string{}},
		Denied:   []Denial{}, // nothing ran, so nothing was denied
	}
}

// Restore sets what the JSON form leaves out, for a Result that was read from
// it.
func (r *Result) Restore() {
	if r.Signal != "" {
		r.signal = int(unix.SignalNum(r.Signal))
	}
}
