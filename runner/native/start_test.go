package native

import (
	"bufio"
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// A running box, whose application has said its first line.
type running struct {
	*runner.Sandbox
	out *bufio.Reader
}

// startBox starts s and waits for a line of its output.
func startBox(t *testing.T, s *runner.Spec) *running {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	b := &running{runner.NewSandbox(context.Background(), New(), s), bufio.NewReader(r)}
	b.Stdout, b.Stderr = w, os.Stderr
	err = b.Start()
	w.Close()
	if err != nil {
		t.Fatalf("%v (%s)", err, runner.Hint(err))
	}
	if line, err := b.out.ReadString('\n'); err != nil || line != "ready\n" {
		b.Process.Kill()
		t.Fatalf("the box said %q: %v", line, err)
	}
	return b
}

// end kills the box.
func (b *running) end(t *testing.T) {
	t.Helper()
	if err := b.Process.Kill(); err != nil {
		t.Error(err)
	}
	if r, err := b.Wait(); err != nil || r.Signal != "SIGKILL" {
		t.Errorf("a killed box ended by %s: %v", r.Signal, err)
	}
}

// Many boxes may be started at once, and hutch is afterwards what it was.
func TestManyStartsAtOnce(t *testing.T) {
	before := takeTrace(t)
	var group sync.WaitGroup
	errs := make(chan error, 200)
	for i := range 8 {
		group.Go(func() {
			for range 10 {
				o := runner.Override{IDMap: []string{runner.IDMapAuto, runner.IDMapSingle}[i%2]}
				s, err := specOf(probeRoot, o, "exit", "7")
				if err == nil {
					var o outcome
					if o, err = tryBox(s, ""); err == nil && (o.result.ExitCode == nil || *o.result.ExitCode != 7) {
						t.Errorf("ended by %s %s: %s", o.result.Cause, o.result.Signal, o.errs)
					}
				}
				if err != nil {
					errs <- err
				}
			}
		})
	}
	group.Wait()
	close(errs)
	n := 0
	for err := range errs {
		if n++; n < 4 {
			t.Errorf("%v (%s)", err, runner.Hint(err))
		}
	}
	if n > 0 {
		t.Errorf("%d of 80 starts failed", n)
	}
	if d, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || d != 1 {
		t.Errorf("hutch was left with dumpable %d: %v", d, err)
	}
	before.check(t, "80 boxes")
}

// What a box finds when nothing special is asked for.
func TestWhatAnApplicationFinds(t *testing.T) {
	o := runBox(t, newSpec(t, "cat", "/proc/self/status"), "")
	f := fields(o.out)
	for _, want := range []struct{ field, value string }{
		{"Pid", "2"},
		{"PPid", "1"},
		{"NSsid", "2"}, // a session of its own
		{"NSpgid", "2"},
		{"Uid", "0 0 0 0"},
		{"Gid", "0 0 0 0"},
		{"Groups", ""},
		{"NoNewPrivs", "1"},
		{"Seccomp", "2"},
		{"Seccomp_filters", "1"},
		{"CapInh", "0000000000000000"},
		{"CapAmb", "0000000000000000"},
		{"CapEff", "00000000a00405fb"}, // runner's list for images
		{"CapPrm", "00000000a00405fb"},
		{"CapBnd", "00000000a00405fb"},
		{"SigBlk", "0000000000000000"},
		{"SigIgn", "0000000000000000"},
		{"SigCgt", "0000000000000000"},
		// Files that others can write would be no gift to any application.
		{"Umask", "0022"},
	} {
		if got := f[want.field]; got != want.value {
			t.Errorf("%s is %q, want %q", want.field, got, want.value)
		}
	}
}

// fields reads /proc/PID/status, proc_pid_status(5).
func fields(status string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(status) {
		k, v, _ := strings.Cut(line, ":")
		m[k] = strings.Join(strings.Fields(v), " ")
	}
	return m
}
