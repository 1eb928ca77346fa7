package native

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// Every exit status and every deadly signal arrives as it was.
func TestStatus(t *testing.T) {
	for _, init := range []bool{true, false} {
		for code := 0; code < 256; code++ {
			if !init && code > 4 && code < 220 {
				code += 31 // a spot check: the kernel alone is at work here
			}
			s := newSpec(t, "exit", fmt.Sprint(code))
			s.Init = init
			o, err := tryBox(s, "")
			if err != nil || o.result.Cause != runner.Exited || o.result.ExitCode == nil || *o.result.ExitCode != code || o.result.ExitStatus() != code {
				t.Fatalf("init %v: exit %d: %s %s %v: %s", init, code, o.result.Cause, o.result.Signal, err, o.errs)
			}
		}
	}
	ignored := map[int]bool{
		int(unix.SIGCHLD): true, int(unix.SIGCONT): true, int(unix.SIGURG): true, int(unix.SIGWINCH): true,
		int(unix.SIGSTOP): true, int(unix.SIGTSTP): true, int(unix.SIGTTIN): true, int(unix.SIGTTOU): true,
	}
	for sig := 1; sig < 32; sig++ {
		if ignored[sig] {
			continue
		}
		o, err := tryBox(newSpec(t, "die", fmt.Sprint(sig)), "")
		want := runner.Signaled
		if sig == int(unix.SIGSYS) {
			want = runner.SeccompKilled
		}
		if err != nil || o.result.Cause != want || o.result.ExitCode != nil || o.result.ExitStatus() != 128+sig || o.result.Signal != unix.SignalName(unix.Signal(sig)) {
			t.Errorf("signal %d: %s %s %d %v: %s", sig, o.result.Cause, o.result.Signal, o.result.ExitStatus(), err, o.errs)
		}
	}
}

// Without a reaper the application is process 1, and signals without a
// handler do nothing to it, pid_namespaces(7); SIGKILL from outside does.
func TestWithoutReaper(t *testing.T) {
	s := newSpec(t, "cat", "/proc/self/status")
	s.Init = false
	f := fields(runBox(t, s, "").out)
	if f["Pid"] != "1" || f["NSsid"] != "1" || f["Seccomp"] != "2" || f["NoNewPrivs"] != "1" || f["CapBnd"] != "00000000a00405fb" {
		t.Errorf("%v", f)
	}
	s = newSpec(t, "stay", "100")
	s.Init = false
	b := startBox(t, s)
	if err := b.Signal(unix.SIGTERM); err != nil {
		t.Error(err)
	}
	b.end(t)
}

// The reaper passes on what it is sent, and the application sees each once.
func TestSignalsArePassedOn(t *testing.T) {
	signals := []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCONT, unix.SIGALRM}
	args := []string{"signals"}
	for _, sig := range signals {
		args = append(args, fmt.Sprint(int(sig)))
	}
	for _, init := range []bool{true, false} {
		s := newSpec(t, args...)
		s.Init = init
		b := startBox(t, s)
		for _, sig := range signals {
			if err := b.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if line, err := b.out.ReadString('\n'); err != nil || line != fmt.Sprintln(int(sig)) {
				t.Errorf("init %v: %v arrived as %q: %v", init, sig, line, err)
			}
		}
		if r, err := b.Wait(); err != nil || r.ExitCode == nil || *r.ExitCode != 0 {
			t.Errorf("%s %s: %v", r.Cause, r.Signal, err)
		}
	}
	// One without a handler ends it, which it would not if it were process 1.
	b := startBox(t, newSpec(t, "stay", "100"))
	if err := b.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r, err := b.Wait(); err != nil || r.Signal != "SIGTERM" || r.ExitStatus() != 128+15 {
		t.Errorf("%s %s: %v", r.Cause, r.Signal, err)
	}
}

// Orphans that ended are reaped; without a reaper they stay.
func TestOrphansAreReaped(t *testing.T) {
	if out := runBox(t, newSpec(t, "zombies", "100"), "").out; out != "0\n" {
		t.Errorf("%s zombies are left", strings.TrimSpace(out))
	}
	s := newSpec(t, "zombies", "3")
	s.Init = false
	o, err := tryBox(s, "")
	if err != nil || o.out == "0\n" {
		t.Errorf("it does not bite: %q %v", o.out, err)
	}
}

// The program in the repository is what the source makes. Another compiler
// may write it another way; then it must at least behave like it, which the
// tests above see when they run with it.
func TestReaperIsBuiltFromItsSource(t *testing.T) {
	for arch, cc := range map[string]string{"amd64": "x86_64-linux-gnu-gcc", "arm64": "aarch64-linux-gnu-gcc"} {
		if _, err := exec.LookPath(cc); err != nil {
			if arch == runtime.GOARCH {
				t.Errorf("no compiler for the reaper: %v", err)
			}
			continue
		}
		dir := t.TempDir()
		if out, err := exec.Command("sh", "reaper/build.sh", arch, dir).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", arch, err, out)
		}
		built, err := os.ReadFile(filepath.Join(dir, "reaper_"+arch+".elf"))
		if err != nil {
			t.Fatal(err)
		}
		kept, err := os.ReadFile("reaper/reaper_" + arch + ".elf")
		if err != nil {
			t.Fatal(err)
		}
		if string(built) == string(kept) {
			continue
		}
		version, _ := exec.Command(cc, "-dumpfullversion").Output()
		if strings.HasPrefix(string(version), "12.2.") {
			t.Errorf("%s: run reaper/build.sh %[1]s: the source has changed", arch)
		} else if len(built) > 2*len(kept) {
			t.Errorf("%s: built anew it has %d bytes, was %d", arch, len(built), len(kept))
		}
	}
}
