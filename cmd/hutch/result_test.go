package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// result runs hutch with --result and returns what it wrote.
func result(t *testing.T, args ...string) (r runner.Result, status int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "result.json")
	cmd := exec.Command("hutch", append([]string{"run", "--result", file}, args...)...)
	out, err := cmd.CombinedOutput()
	var e *exec.ExitError
	if err != nil && !errors.As(err, &e) {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; hutch said %s", err, out)
	}
	fitsSchema(t, data)
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return r, cmd.ProcessState.ExitCode()
}

// The exit status alone cannot tell an application's 124 from a timeout; the
// cause can.
func TestResult(t *testing.T) {
	t.Parallel()
	root := smallRoot(t)
	code := func(n int) *int { return &n }
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		cause  runner.Cause
		code   *int
		signal string
	}{
		{"0", []string{root, "true"}, 0, runner.Exited, code(0), ""},
		{"124 of its own", []string{root, "sh", "-c", "exit 124"}, 124, runner.Exited, code(124), ""},
		{"125 of its own", []string{root, "sh", "-c", "exit 125"}, 125, runner.Exited, code(125), ""},
		{"126 of its own", []string{root, "sh", "-c", "exit 126"}, 126, runner.Exited, code(126), ""},
		{"127 of its own", []string{root, "sh", "-c", "exit 127"}, 127, runner.Exited, code(127), ""},
		{"130 of its own", []string{root, "sh", "-c", "exit 130"}, 130, runner.Exited, code(130), ""},
		{"255", []string{root, "sh", "-c", "exit 255"}, 255, runner.Exited, code(255), ""},
		{"without init", []string{"--no-init", root, "sh", "-c", "exit 9"}, 9, runner.Exited, code(9), ""},
		{"killed", []string{root, "sh", "-c", "kill -9 $$"}, 137, runner.Signaled, nil, "SIGKILL"},
		{"terminated", []string{root, "sh", "-c", "kill $$"}, 143, runner.Signaled, nil, "SIGTERM"},
		{"fault", []string{root, "sh", "-c", "kill -SEGV $$"}, 139, runner.Signaled, nil, "SIGSEGV"},
		{"timeout", []string{"--timeout", "100ms", root, "sleep", "100"}, 124, runner.Timeout, nil, "SIGTERM"},
		{
			"timeout that is ignored",
			[]string{"--timeout", "100ms", "--grace", "100ms", root, "sh", "-c", `trap "" TERM; while :; do sleep 1; done`},
			124, runner.Timeout, nil, "SIGKILL",
		},
		{
			"timeout that is obeyed",
			[]string{"--timeout", "300ms", root, "sh", "-c", `trap "exit 3" TERM; while :; do sleep 0.01; done`},
			124, runner.Timeout, code(3), "",
		},
		{"not found", []string{root, "nope"}, 127, runner.NotStarted, nil, ""},
		{"not executable", []string{root, "/etc/passwd"}, 126, runner.NotStarted, nil, ""},
		{"no root", []string{"./nope", "true"}, 125, runner.NotStarted, nil, ""},
		{"no user", []string{"--user", "nope", root, "true"}, 125, runner.NotStarted, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, status := result(t, tt.args...)
			if status != tt.status || r.Cause != tt.cause || r.Signal != tt.signal {
				t.Errorf("status %d, cause %s, signal %q; want %d, %s, %q", status, r.Cause, r.Signal, tt.status, tt.cause, tt.signal)
			}
			if (r.ExitCode == nil) != (tt.code == nil) || tt.code != nil && *r.ExitCode != *tt.code {
				t.Errorf("exit code %v, want %v", text(r.ExitCode), text(tt.code))
			}
			started := tt.cause != runner.NotStarted
			if got := r.Timing.RunSeconds > 0 && r.Usage.WallSeconds != nil; got != started {
				t.Errorf("timing %+v, usage %+v", r.Timing, r.Usage)
			}
			if got := strings.HasPrefix(r.Enforced.Seccomp, "default@sha256:") && r.Enforced.UserNamespace; got != started {
				t.Errorf("enforced %+v", r.Enforced)
			}
			if r.Message == "" && (!started || r.Cause == runner.Timeout) {
				t.Error("no message")
			}
		})
	}
}

func text(n *int) string {
	if n == nil {
		return "null"
	}
	return strconv.Itoa(*n)
}

// A filter's kill is told from any other SIGSYS, or at least not called an exit.
func TestResultSeccompKilled(t *testing.T) {
	t.Parallel()
	profile := filepath.Join(t.TempDir(), "kill.toml")
	const text = "version = 1\nextends = [\"default\"]\n\n[[seccomp.rules]]\ncalls = [\"sethostname\"]\naction = \"kill\"\nreason = \"the test\"\n"
	if err := os.WriteFile(profile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, status := result(t, "--profile", profile, smallRoot(t), "hostname", "other")
	if status != 128+int(unix.SIGSYS) || r.Cause != runner.SeccompKilled || r.Signal != "SIGSYS" {
		t.Errorf("status %d, cause %s, signal %q", status, r.Cause, r.Signal)
	}
}

// The result goes where it is told to, and nowhere else.
func TestResultDescriptor(t *testing.T) {
	t.Parallel()
	root := smallRoot(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command("hutch", "run", "--result", "fd:3", root, "sh", "-c", "echo out; test ! -e /proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{w}
	out, err := cmd.CombinedOutput()
	w.Close()
	if err != nil || string(out) != "out\n" {
		t.Errorf("%v: %s", err, out)
	}
	var res runner.Result
	if err := json.NewDecoder(r).Decode(&res); err != nil || res.Cause != runner.Exited {
		t.Errorf("result %+v, %v", res, err)
	}
}

// A Spec survives its round trip, and every built-in profile makes one.
func TestDryRunSpec(t *testing.T) {
	t.Parallel()
	root := smallRoot(t)
	for _, profile := range []string{"default", "strict", "ci", "tenant", "judge"} {
		out, err := exec.Command("hutch", "run", "-p", profile, "--dry-run=spec", "--tmpfs", "/s:1M", "-m", "64M", "--env", "A=b c", root, "true").Output()
		if err != nil {
			t.Fatalf("%s: %v", profile, err)
		}
		var s runner.Spec
		d := json.NewDecoder(strings.NewReader(string(out)))
		d.DisallowUnknownFields()
		if err := d.Decode(&s); err != nil {
			t.Fatalf("%s: %v", profile, err)
		}
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", profile, err)
		}
		again, err := json.MarshalIndent(&s, "", "  ")
		if err != nil || string(again)+"\n" != string(out) {
			t.Errorf("%s: not the same after a round trip, %v:\n%s\n%s", profile, err, out, again)
		}
		if s.Limits.MemoryBytes != 64<<20 || s.Profile != profile || !slices.Contains(s.Env, "A=b c") || len(s.Seccomp.Filter) == 0 {
			t.Errorf("%s: spec %+v", profile, s)
		}
	}
}
