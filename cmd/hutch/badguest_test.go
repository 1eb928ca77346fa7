package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// moments is how often a guest is interrupted, from its start up to a little
// after the application's: once in each part of that time, at random there, so
// that few are enough to leave no part out.
const moments = 6

// Wherever in a guest's start and run hutch is killed, or interrupted with
// Ctrl-C, nothing is left: no process, no temporary file, no control group.
func TestGuestInterruptedAnywhere(t *testing.T) {
	bin, err := filepath.Abs("../../bin/hutch")
	if err != nil {
		t.Fatal(err)
	}
	for engine := range guestPrograms {
		for _, sig := range []unix.Signal{unix.SIGKILL, unix.SIGINT} {
			name, _, _ := strings.Cut(engine, " ")
			t.Run(name+"/"+unix.SignalName(sig), func(t *testing.T) {
				if name == "kvm" {
					needsKernel(t)
				}
				t.Parallel()
				g := brokenOff{bin: bin, args: append([]string{"run", "--engine"}, strings.Fields(engine)...), root: sleeperRoot(t)}
				g.base = t.TempDir()
				ready := g.run(t, 0, 0)
				for i := range moments {
					part := ready * 6 / 5 / moments
					g.run(t, sig, time.Duration(i)*part+rand.N(part))
				}
				if !g.seen {
					t.Error("no process of a guest was ever seen: this test sees nothing")
				}
				g.groups(t)
			})
		}
	}
}

// A run that is broken off is made again and again, with a home of its own.
type brokenOff struct {
	bin, root, base string
	args            []string
	seen            bool // a process of a guest, before the signal
	pids            []int
}

// run starts a guest and interrupts it after a time; with no signal it gives
// how long the application's start took.
func (g *brokenOff) run(t *testing.T, sig unix.Signal, after time.Duration) time.Duration {
	t.Helper()
	for _, dir := range []string{"tmp", "cache", "data"} {
		if err := os.MkdirAll(filepath.Join(g.base, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// What every start reads anew: also the building of it is interrupted.
	os.RemoveAll(filepath.Join(g.base, "cache/hutch/guest"))
	cmd := exec.Command(g.bin, append(g.args, g.root, "/bin/sh", "-c", "echo ready; sleep 100")...)
	cmd.Env = append(os.Environ(), "TMPDIR="+g.base+"/tmp", "XDG_CACHE_HOME="+g.base+"/cache", "XDG_DATA_HOME="+g.base+"/data")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	late := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	g.pids = append(g.pids, cmd.Process.Pid)
	if sig == 0 {
		sig = unix.SIGKILL
		if n, err := out.Read(make([]byte, 6)); n == 0 {
			t.Fatalf("%v: %s", err, &stderr)
		}
		after = time.Since(began)
	} else {
		time.Sleep(after)
	}
	guests := guestsOf(cmd.Process.Pid)
	g.seen = g.seen || len(guests) > 0
	cmd.Process.Signal(sig)
	cmd.Wait()
	if !late.Stop() {
		t.Errorf("%v after %v: hutch did not end within a minute: %s", sig, after, &stderr)
	}
	ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if code := cmd.ProcessState.ExitCode(); code != 130 && !(ws.Signaled() && ws.Signal() == sig) {
		t.Errorf("%v after %v: %v: %s", sig, after, cmd.ProcessState, &stderr)
	}
	g.nothingLeft(t, guests, fmt.Sprintf("%v after %v", sig, after))
	return after
}

// nothingLeft looks for the processes that were there, and for those that
// have been shown a file of this run's, which the mounts of a box name.
func (g *brokenOff) nothingLeft(t *testing.T, guests []int, when string) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var left []int
		for _, pid := range guests {
			if !ended(pid) {
				left = append(left, pid)
			}
		}
		left = append(left, showing(g.base)...)
		if len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Errorf("%s: processes left behind: %v", when, left)
			break
		}
	}
	if files, err := os.ReadDir(g.base + "/tmp"); err != nil || len(files) != 0 {
		t.Errorf("%s: files left behind: %v, %v", when, files, err)
	}
}

// showing lists the processes whose mounts name a directory.
func showing(dir string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/mountinfo")
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil && bytes.Contains(data, []byte(filepath.Base(filepath.Dir(dir)))) {
			var pid int
			fmt.Sscanf(f, "/proc/%d/", &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}

// groups looks for control groups of the runs. One that was killed leaves empty
// ones, which the next run with limits removes.
func (g *brokenOff) groups(t *testing.T) {
	t.Helper()
	if !canLimitMemory() {
		return // there are no groups then
	}
	next := exec.Command(g.bin, "run", "--memory", "64M", "--pids", "100", g.root, "/bin/sh", "-c", "true")
	if out, err := next.CombinedOutput(); err != nil {
		t.Errorf("the next run: %v: %s", err, out)
	}
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		for _, pid := range g.pids {
			if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), "hutch-") && strings.Contains(d.Name(), fmt.Sprintf("-%d-", pid)) {
				t.Errorf("left behind: %s", path)
			}
		}
		return nil
	})
}
