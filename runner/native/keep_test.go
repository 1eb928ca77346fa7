package native

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// keepImage is an ext4 of 8 MiB in a file.
func keepImage(t *testing.T) string {
	t.Helper()
	path := filepath.Join(tempDir(t), "disk.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(8 << 20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	cmd := exec.Command("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", path)
	cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/sbin:"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func runToEnd(t *testing.T, e *Engine, s *runner.Spec, out io.Writer) *runner.Sandbox {
	t.Helper()
	sandbox := runner.NewSandbox(t.Context(), e, s)
	sandbox.Stdout, sandbox.Stderr = out, os.Stderr
	r, err := sandbox.Run()
	if err != nil || r.ExitCode == nil || *r.ExitCode != 0 {
		t.Fatalf("%+v %v", r, err)
	}
	return sandbox
}

// What a box wrote into memory can be read when it is gone, and only there.
func TestUpperOutlivesTheBox(t *testing.T) {
	s := newSpec(t, "make", "/new")
	s.Root.Diff = true
	upper := runToEnd(t, New(), s, nil).Process.(*box).Upper()
	if upper == nil {
		t.Fatal("nothing was handed out")
	}
	defer upper.Close()
	var st unix.Stat_t
	if err := unix.Fstatat(int(upper.Fd()), "new", &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		t.Errorf("new: %v, mode %o", err, st.Mode)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), "upper") {
		t.Errorf("the host sees a mount: %v %s", err, mounts)
	}
}

// Writes are kept from run to run; the end of the second finds the mark that
// the first has left, which would forbid a volatile overlay.
func TestKeep(t *testing.T) {
	places := map[string]string{"directory": tempDir(t)}
	if isRoot() {
		places["image"] = keepImage(t)
	}
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			for i, words := range [][]string{{"make", "/first"}, {"cat", "/first"}, {"make", "/first"}} {
				s := newSpec(t, words...)
				s.Root.Keep = place
				var out bytes.Buffer
				runToEnd(t, New(), s, &out)
				if want := []string{"0\n", "", "17\n"}[i]; out.String() != want { // EEXIST
					t.Errorf("run %d said %q, want %q", i, out.String(), want)
				}
			}
		})
	}
}

// The reaper holds the lock that it is given: when hutch lets go of it, it is
// still taken while the box is there.
func TestBoxHoldsTheLock(t *testing.T) {
	path := filepath.Join(tempDir(t), "lock")
	lock, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(lock, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	s := newSpec(t, "stay", "100")
	s.Root.Keep = tempDir(t)
	e := New()
	e.Hold(lock)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	p, err := e.Start(t.Context(), s, runner.Stdio{In: null, Out: null, Err: null})
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(lock)
	again, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(again)
	if err := unix.Flock(again, unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		t.Errorf("while the box runs: %v", err)
	}
	p.(*box).Kill()
	if _, err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(again, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("after the box: %v", err)
	}
}
