package native

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"hutch/runner"
)

// The streams of a Sandbox may be files or anything else, and both outputs
// may be one.
func TestSandboxStreams(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 1<<16)
	s := newSpec(t, "cat", "-")
	o := runBox(t, s, big)
	if o.out != big {
		t.Errorf("%d bytes came back of %d", len(o.out), len(big))
	}

	var both bytes.Buffer
	box := runner.NewSandbox(context.Background(), New(), newSpec(t, "nonsense"))
	box.Stdout, box.Stderr = &both, &both
	if r, err := box.Run(); err != nil || r.ExitStatus() != 97 || both.String() != "probe: no such role\n" {
		t.Errorf("%v %v %q", r.ExitStatus(), err, both.String())
	}

	file, err := os.CreateTemp(tempDir(t), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	box = runner.NewSandbox(context.Background(), New(), newSpec(t, "threads"))
	box.Stdout = file
	if _, err := box.Run(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file.Name()); err != nil || string(text) != "8\n" {
		t.Errorf("the file holds %q: %v", text, err)
	}

	// Nothing given is the null device: no input, no descriptor missing.
	box = runner.NewSandbox(context.Background(), New(), newSpec(t, "cat", "-"))
	if r, err := box.Run(); err != nil || r.ExitStatus() != 0 {
		t.Errorf("%v %v", r.ExitStatus(), err)
	}
}

// A reader that never ends does not keep a run from ending, and nothing of it
// is left.
func TestSandboxWithEndlessInput(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	box := runner.NewSandbox(context.Background(), New(), newSpec(t, "exit", "3"))
	box.Stdin = r
	done := make(chan runner.Result, 1)
	go func() {
		result, err := box.Run()
		if err != nil {
			t.Error(err)
		}
		done <- result
	}()
	select {
	case result := <-done:
		if result.ExitStatus() != 3 {
			t.Errorf("%d", result.ExitStatus())
		}
	case <-time.After(60 * time.Second):
		t.Fatal("the run waits for its input")
	}
}

// A writer that fails stops a run that goes on writing.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestSandboxWithFailingOutput(t *testing.T) {
	box := runner.NewSandbox(context.Background(), New(), newSpec(t, "cat", "/dev/zero"))
	box.Stdout = failing{}
	r, err := box.Run()
	if err != nil || r.Signal != "SIGPIPE" && r.ExitStatus() != 1 {
		t.Errorf("%s %d %v", r.Signal, r.ExitStatus(), err)
	}
}

func TestSandboxContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	mark := newMark()
	box := runner.NewSandbox(ctx, New(), newSpec(t, "stay", "100", "deaf", mark))
	began := time.Now()
	if err := box.Start(); err != nil {
		t.Fatal(err)
	}
	for len(processes(mark)) == 0 && time.Since(began) < 10*time.Second {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	r, err := box.Wait()
	if err != nil || r.Signal != "SIGKILL" || r.Cause != runner.Signaled || time.Since(began) > 20*time.Second {
		t.Errorf("%s %s %v after %v", r.Cause, r.Signal, err, time.Since(began))
	}
	if left := processes(mark); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
	// One that is over starts nothing.
	if _, err := runner.NewSandbox(ctx, New(), newSpec(t, "exit", "0")).Run(); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// At its timeout an application gets SIGTERM and time to end; its own exit
// does not hide the timeout.
func TestSandboxTimeout(t *testing.T) {
	tests := []struct {
		name    string
		args    []string
		timeout time.Duration
		signal  string
		code    int
		cause   runner.Cause
		status  int
	}{
		{"in time", []string{"exit", "5"}, time.Minute, "", 5, runner.Exited, 5},
		{"ends by SIGTERM", []string{"stay", "100"}, 50 * time.Millisecond, "SIGTERM", -1, runner.Timeout, runner.ExitTimeout},
		{"exits at SIGTERM", []string{"signals", "15"}, 50 * time.Millisecond, "", 0, runner.Timeout, runner.ExitTimeout},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newSpec(t, test.args...)
			s.Limits.Timeout, s.Limits.Grace = test.timeout, time.Minute
			began := time.Now()
			o, err := tryBox(s, "")
			for o.out != "ready\n" && s.Limits.Timeout < 10*time.Second {
				// On a busy machine the time was over before the application was up.
				s.Limits.Timeout, began = 4*s.Limits.Timeout, time.Now()
				o, err = tryBox(s, "")
			}
			r := o.result
			if err != nil || r.Cause != test.cause || r.Signal != test.signal || r.ExitStatus() != test.status || test.code >= 0 && (r.ExitCode == nil || *r.ExitCode != test.code) {
				t.Errorf("%s %q %v %d: %v", r.Cause, r.Signal, r.ExitCode, r.ExitStatus(), err)
			}
			if time.Since(began) > 40*time.Second {
				t.Error("the grace period was waited out")
			}
		})
	}
}

// A Sandbox is for one run, and says so.
func TestSandboxIsForOneRun(t *testing.T) {
	box := runner.NewSandbox(context.Background(), New(), newSpec(t, "exit", "0"))
	if _, err := box.Wait(); err == nil {
		t.Error("Wait before Start")
	}
	if err := box.Signal(os.Interrupt); err == nil {
		t.Error("Signal before Start")
	}
	if _, err := box.Run(); err != nil {
		t.Fatal(err)
	}
	if err := box.Start(); err == nil {
		t.Error("a second Start")
	}
	if err := box.Signal(os.Kill); err == nil {
		t.Error("a signal to a run that is over")
	}
}

// What could not be started leaves nothing, and says what to do.
func TestSandboxThatCannotStart(t *testing.T) {
	dir := tempDir(t)
	write(t, dir+"/text", "hello")
	before := takeTrace(t)
	tests := []struct {
		name   string
		change func(*runner.Spec)
		exit   int
		words  string
	}{
		{"no such program", func(s *runner.Spec) { s.Command = []string{"/bin/nothing"} }, runner.ExitNotFound, "/bin/nothing"},
		{"no such name", func(s *runner.Spec) { s.Command = []string{"nothing"} }, runner.ExitNotFound, "nothing"},
		{"a directory", func(s *runner.Spec) { s.Command = []string{"/bin"} }, runner.ExitNotExecutable, "/bin"},
		{"a text", func(s *runner.Spec) { s.Command = []string{"/etc/passwd"} }, runner.ExitNotExecutable, "/etc/passwd"},
		{"no such directory", func(s *runner.Spec) { s.Workdir = "/nowhere" }, runner.ExitHutch, "/nowhere"},
		{"no such source", func(s *runner.Spec) {
			s.Mounts = []runner.Mount{{Type: runner.MountBind, Source: dir + "/gone", Target: "/x"}}
		}, runner.ExitHutch, dir + "/gone"},
		{"no such layer", func(s *runner.Spec) { s.Root.Lowers = []string{dir + "/gone"} }, runner.ExitHutch, dir + "/gone"},
		{"too many arguments", func(s *runner.Spec) {
			s.Command = append(s.Command, strings.Repeat("x", 200<<10))
		}, runner.ExitNotExecutable, "/bin/probe"},
		{"invalid", func(s *runner.Spec) { s.Hostname = "" }, runner.ExitHutch, "hostname"},
		{"limit above the caller's", func(s *runner.Spec) { s.Limits.OpenFiles = 1 << 40 }, runner.ExitHutch, "open files"},
	}
	for _, test := range tests {
		s := newSpec(t, "exit", "0")
		test.change(s)
		_, err := tryBox(s, "")
		e := asError(t, err)
		if runner.ExitStatus(err) != test.exit || !strings.Contains(e.Error(), test.words) || e.Hint == "" {
			t.Errorf("%s: status %d, %q (%s)", test.name, runner.ExitStatus(err), e, e.Hint)
		}
		before.check(t, test.name)
	}
}

// A limit on open files holds for the application, not for the way to it.
func TestFewOpenFiles(t *testing.T) {
	s := newSpec(t, "cat", "/proc/self/limits")
	s.Limits.OpenFiles = 8
	if out := runBox(t, s, "").out; !strings.Contains(strings.Join(strings.Fields(out), " "), "Max open files 8 8") {
		t.Errorf("%s", out)
	}
}
