package kvm

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hutch/profiles"
	"hutch/runner"
	"hutch/runner/guest"
)

// realEngine emulates a real kernel, with a cache of its own, in a box as
// every QEMU's.
func realEngine(t *testing.T) *Engine {
	t.Helper()
	kernel := os.Getenv("HUTCH_KVM_KERNEL")
	if small := "/var/cache/hutch/kernels/microvm/vmlinux"; kernel == "" {
		if _, err := os.Stat(small); err != nil {
			t.Skip("no kernel for a full guest: make guest-kernel, or make guest-kernels")
		}
		kernel = small
	}
	e := newEngine(t, kernel)
	e.Boot = 0
	p, ok := profiles.Builtin("kvm")
	if !ok {
		t.Fatal("no profile kvm")
	}
	filter, err := p.Filter("")
	if err != nil {
		t.Fatal(err)
	}
	e.Filter = runner.Seccomp{Name: p.Name, Digest: filter.Digest(), Filter: filter}
	return e
}

// shell is a Spec for a shell command, in a root that has a shell.
func shell(t *testing.T, command string) *runner.Spec {
	t.Helper()
	s := newSpec(t)
	bin := filepath.Join(s.Root.Lowers[0], "bin")
	data, err := os.ReadFile("/bin/busybox")
	if err == nil {
		err = errors.Join(os.Mkdir(bin, 0o755), os.WriteFile(bin+"/sh", data, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cat", "date", "head", "od", "sleep", "true"} {
		if err := os.Symlink("sh", filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.Env, s.Command = []string{"PATH=/bin"}, []string{"/bin/sh", "-c", command}
	return s
}

// runGuest runs s in a guest of e, whose process restored asks about, and
// returns what it printed.
func runGuest(t *testing.T, e *Engine, s *runner.Spec) (out string, restored bool) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	p, err := e.Start(t.Context(), s, runner.Stdio{In: null, Out: w, Err: w})
	w.Close()
	if err != nil {
		t.Fatal(err, runner.Hint(err))
	}
	for _, pid := range below(p.PID()) {
		line, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		restored = restored || slices.Contains(strings.Split(string(line), "\x00"), "-incoming")
	}
	// What is printed has room in the pipe.
	result, err := p.Wait()
	data, rerr := io.ReadAll(r)
	if err = errors.Join(err, rerr); err != nil || result.ExitCode == nil || *result.ExitCode != 0 {
		t.Fatalf("%+v, %v: %s", result, err, data)
	}
	return string(data), restored
}

// below is pid and all processes below it.
func below(pid int) []int {
	list := []int{pid}
	tasks, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	for _, t := range tasks {
		data, _ := os.ReadFile(t)
		for _, word := range strings.Fields(string(data)) {
			child, _ := strconv.Atoi(word)
			list = append(list, below(child)...)
		}
	}
	return list
}

// savedIn are the saved guests of a cache, and what is left of saving.
func savedIn(t *testing.T, e *Engine) (saved, left []string) {
	t.Helper()
	saved, _ = filepath.Glob(filepath.Join(e.Cache, guest.SavedPrefix+"*"))
	all, _ := filepath.Glob(filepath.Join(e.Cache, guest.SavingPrefix+"*"))
	for _, name := range all {
		if !strings.HasSuffix(name, "lock") {
			left = append(left, name)
		}
	}
	return saved, left
}

// A guest is saved once, and every run is given it as if it had been booted for
// it: with its own files and its own randomness.
func TestSaved(t *testing.T) {
	t.Parallel()
	e := realEngine(t)
	var drawn []string
	for i := range 3 {
		s := shell(t, "cat /mine; head -c 16 /dev/urandom | od -An -tx1; sleep 1")
		mine := "run " + strconv.Itoa(i)
		if err := os.WriteFile(filepath.Join(s.Root.Lowers[0], "mine"), []byte(mine+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		out, restored := runGuest(t, e, s)
		lines := strings.Split(out, "\n")
		if !restored || len(lines) < 2 || lines[0] != mine {
			t.Fatalf("run %d: restored: %v, printed %q", i, restored, out)
		}
		if slices.Contains(drawn, lines[1]) {
			t.Errorf("run %d: drew %s again", i, lines[1])
		}
		drawn = append(drawn, lines[1])
	}
	if saved, left := savedIn(t, e); len(saved) != 1 || len(left) != 0 {
		t.Errorf("saved %v, left %v", saved, left)
	}
}

// The clock of a guest that was saved a moment ago is right, too: it is set even
// where it is off by less than what a guest that was booted may be.
func TestClockOfSaved(t *testing.T) {
	t.Parallel()
	e := realEngine(t)
	runGuest(t, e, shell(t, "true"))
	saved, _ := savedIn(t, e)
	info, err := os.Stat(saved[0])
	if err != nil {
		t.Fatal(err)
	}
	s := shell(t, "date +%s")
	time.Sleep(time.Until(info.ModTime().Add(900 * time.Millisecond)))
	began := time.Now()
	out, _ := runGuest(t, e, s)
	at, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	if err != nil || at < began.Unix() || at > time.Now().Unix() {
		t.Errorf("it says %d, from %d on it was asked: %v", at, began.Unix(), err)
	}
}

// What is damaged is not believed, costs no run, and is made anew.
func TestSavedDamaged(t *testing.T) {
	t.Parallel()
	e := realEngine(t)
	runGuest(t, e, shell(t, "true"))
	for name, damage := range map[string]func(string) error{
		"empty":     func(f string) error { return os.Truncate(f, 0) },
		"cut short": func(f string) error { return os.Truncate(f, 1<<20) },
		"rubbish":   func(f string) error { return os.WriteFile(f, make([]byte, 4<<20), 0o600) },
		"writable":  func(f string) error { return os.Chmod(f, 0o666) },
	} {
		saved, _ := savedIn(t, e)
		if len(saved) != 1 {
			t.Fatalf("%s: saved are %v", name, saved)
		}
		if err := damage(saved[0]); err != nil {
			t.Fatal(err)
		}
		if out, _ := runGuest(t, e, shell(t, "head -c 4 /bin/sh; sleep 1")); !strings.Contains(out, "ELF") {
			t.Errorf("%s: printed %q", name, out)
		}
		if _, restored := runGuest(t, e, shell(t, "sleep 1")); !restored {
			t.Errorf("%s: it is not made anew", name)
		}
	}
}

// Many first runs at the same time save one guest.
func TestSavedByMany(t *testing.T) {
	t.Parallel()
	e := realEngine(t)
	var all sync.WaitGroup
	for range 3 {
		s := shell(t, "true")
		all.Go(func() { runGuest(t, e, s) })
	}
	all.Wait()
	if saved, left := savedIn(t, e); len(saved) != 1 || len(left) != 0 {
		t.Errorf("saved %v, left %v", saved, left)
	}
}

// Who ends the start ends the save, and nothing is left of it.
func TestSaveInterrupted(t *testing.T) {
	t.Parallel()
	e := realEngine(t)
	s := shell(t, "true")
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, after := range []time.Duration{0, 20, 100, 300, 700} {
		ctx, stop := context.WithTimeout(t.Context(), after*time.Millisecond)
		p, err := e.Start(ctx, s, runner.Stdio{In: null, Out: null, Err: null})
		stop()
		if err == nil {
			p.Wait() // on a machine that fast
		}
		if _, left := savedIn(t, e); len(left) != 0 {
			t.Errorf("after %d ms there is %v", after, left)
		}
		if out, _ := exec.Command("pgrep", "-f", "path="+e.Cache).Output(); len(out) != 0 {
			t.Errorf("after %d ms there is %s", after, out)
		}
	}
}

// Where there is no room a guest is booted.
func TestSaveWithoutRoom(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	e := realEngine(t)
	if err := unix.Mount("tmpfs", e.Cache, "tmpfs", 0, "size=24m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(e.Cache, unix.MNT_DETACH) })
	if _, restored := runGuest(t, e, shell(t, "sleep 1")); restored {
		t.Error("it was saved where there is no room")
	}
	if saved, left := savedIn(t, e); len(saved)+len(left) != 0 {
		t.Errorf("saved %v, left %v", saved, left)
	}
}
