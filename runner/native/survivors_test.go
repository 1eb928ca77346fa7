package native

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/cgroup"
)

// newMark is a word that no other process has among its arguments.
func newMark() string { return fmt.Sprintf("mark-%d-%d", os.Getpid(), rand.Uint64()) }

// The end of the application is the end of all that it started: double forks,
// sessions of their own, deaf to signals, or forking for ever.
func TestNobodySurvives(t *testing.T) {
	for _, init := range []bool{true, false} {
		mark := newMark()
		s := newSpec(t, "orphans", "20", mark)
		s.Init = init
		before := takeTrace(t)
		if o := runBox(t, s, ""); o.out != "left\n" {
			t.Errorf("%q", o.out)
		}
		// Wait says that nothing is left: so nothing is, already now.
		if left := processes(mark); len(left) != 0 {
			t.Errorf("init %v: left behind: %q", init, left)
		}
		s = newSpec(t, "bomb", "20", mark)
		s.Init = init
		runBox(t, s, "")
		if left := processes(mark); len(left) != 0 {
			t.Errorf("init %v: left of the bomb: %q", init, left)
		}
		before.check(t, "orphans and bomb")
	}
	mark := newMark()
	running := startBox(t, newSpec(t, "stay", "100", "deaf", mark))
	if left := processes(mark); len(left) != 1 {
		t.Errorf("the mark does not show: %q", left)
	}
	running.end(t)
	if left := processes(mark); len(left) != 0 {
		t.Errorf("left of a killed box: %q", left)
	}
}

// hutch is killed at any moment of any start, and nothing is left of a box:
// no process, no mount, and no control group that Sweep would not remove.
func TestHutchIsKilled(t *testing.T) {
	before := takeTrace(t)
	var marks, pids []string
	kills := 60
	if testing.Short() {
		kills = 10
	}
	for i := range kills {
		mark := newMark()
		marks = append(marks, mark)
		cmd := again("repeat", "orphans", "1", mark)
		if isRoot() && i%4 == 0 {
			cmd.Env = append(cmd.Env, "NATIVE_TEST_LIMITED=1")
		}
		errs, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, strconv.Itoa(cmd.Process.Pid))
		line, err := bufio.NewReader(errs).ReadString('\n')
		if err != nil || line != "starting\n" {
			more, _ := io.ReadAll(errs)
			t.Errorf("hutch said %q %q: %v", line, more, err)
		}
		time.Sleep(time.Duration(rand.IntN(8000)) * time.Microsecond)
		cmd.Process.Kill()
		cmd.Wait()
	}
	for _, mark := range marks {
		noProcesses(t, mark)
	}
	if isRoot() {
		if _, err := cgroup.Sweep(false); err != nil {
			t.Error(err)
		}
		removed, err := cgroup.Sweep(false)
		if err != nil {
			t.Error(err)
		}
		for _, path := range removed { // others die beside
			if slices.ContainsFunc(pids, func(pid string) bool { return strings.Contains(filepath.Base(path), "-"+pid+"-") }) {
				t.Errorf("left after a sweep: %s", path)
			}
		}
	}
	before.check(t, "killed")
}

// The end of hutch is the end of the box, whoever the application runs as: a
// change of user takes the parent-death signal back, prctl(2).
func TestBoxDiesWithHutch(t *testing.T) {
	users := []string{"0"}
	if m, err := mapIDs(newSpec(t)); err == nil && maps(m.uid, 33) {
		users = append(users, "33:44")
	}
	for _, role := range []string{"run", "no-init"} {
		for _, user := range users {
			mark := newMark()
			cmd := again(role, "stay", "60", mark)
			cmd.Env = append(cmd.Env, "NATIVE_TEST_USER="+user)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
				t.Errorf("%s: %q %v", role, line, err)
			}
			cmd.Process.Kill()
			cmd.Wait()
			noProcesses(t, mark)
			for _, p := range processes(mark) {
				var pid int
				fmt.Sscanf(p, "/proc/%d/", &pid)
				unix.Kill(pid, unix.SIGKILL)
			}
			if t.Failed() {
				t.Errorf("that was %s as user %s", role, user)
			}
		}
	}
}

// No mount of a box shows on the host, not even one that lies in a directory
// of the host, and no later mount of the host's shows in the box. The host's
// mounts are shared, mount_namespaces(7).
func TestMountsStayInside(t *testing.T) {
	source, below, scratch := tempDir(t), tempDir(t), tempDir(t)
	mkdir(t, source+"/sub")
	mkdir(t, source+"/late")
	write(t, below+"/file", "payload")
	write(t, scratch+"/file", "late")
	s := newSpec(t, "stay", "100")
	s.Mounts = []runner.Mount{
		{Type: runner.MountBind, Source: source, Target: "/data"},
		{Type: runner.MountBind, Source: below, Target: "/data/sub"},
		{Type: runner.MountTmpfs, Target: "/data/new"},
	}
	before := takeTrace(t)
	b := startBox(t, s)
	after := takeTrace(t)
	if after.mounts != before.mounts {
		for line := range strings.Lines(after.mounts) {
			if !strings.Contains(before.mounts, line) {
				t.Errorf("a mount of the box is on the host: %s", line)
				unix.Unmount(strings.Fields(line)[4], unix.MNT_DETACH)
			}
		}
	}
	if list, _ := os.ReadDir(source + "/sub"); len(list) != 0 {
		t.Errorf("the host sees %v", list)
	}
	if isRoot() {
		if err := unix.Mount(scratch, source+"/late", "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(source+"/late", unix.MNT_DETACH)
		inside, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", b.Process.PID()))
		if err != nil || strings.Contains(string(inside), "/data/late") {
			t.Errorf("a mount of the host is in the box: %v", err)
		}
	}
	b.end(t)
}

// A run is stopped by its context and its timeout, whole.
func TestDeafApplicationIsStopped(t *testing.T) {
	mark := newMark()
	s := newSpec(t, "stay", "100", "deaf", mark)
	s.Limits.Timeout, s.Limits.Grace = 100*time.Millisecond, 100*time.Millisecond
	began := time.Now()
	o, err := tryBox(s, "")
	for o.out != "ready\n" && s.Limits.Timeout < 10*time.Second {
		// On a busy machine SIGTERM came before the application was deaf to it.
		s.Limits.Timeout, began = 4*s.Limits.Timeout, time.Now()
		o, err = tryBox(s, "")
	}
	if err != nil || o.result.Cause != runner.Timeout || o.result.Signal != "SIGKILL" || o.result.ExitStatus() != runner.ExitTimeout {
		t.Errorf("%s %s %v", o.result.Cause, o.result.Signal, err)
	}
	if d := time.Since(began); d < 200*time.Millisecond || d > 40*time.Second {
		t.Errorf("took %v", d)
	}
	if left := processes(mark); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}
