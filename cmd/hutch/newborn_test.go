package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hutch/rootfs"
	"hutch/runner"
	"hutch/runner/native"
)

// entered skips a test of what runs before the runtime where the linker has not
// been told to.
func entered(t *testing.T) {
	t.Helper()
	if !early {
		t.Skip("this binary has Go's usual entry: run make test, or CGO_ENABLED=0 go test -ldflags '-E hutch_entry'")
	}
}

// A newborn that does not fit would be made for every run and thrown away, and
// nobody would notice but for the time.
func TestNewbornFitsTheDefault(t *testing.T) {
	q := &request{profile: "default", override: runner.Override{Command: []string{"true"}}}
	q.ref = rootfs.Ref{Kind: rootfs.KindHost}
	root, err := rootfs.Prepare(t.Context(), q.ref, rootfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	spec, err := q.resolve(root)
	if err != nil {
		t.Fatal(err)
	}
	p, err := native.New().Plan(spec)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range newbornSteps() {
		if got := p.Steps[i]; got.Kind != s.Kind || got.Bits != s.Bits {
			t.Errorf("step %d of the plan is %s; the newborn does %s", i, got, s)
		}
	}
}

// strace sees who asks for what: the namespaces are those of the process that
// becomes the reaper, and hutch clones no other.
func TestNewbornBecomesTheBox(t *testing.T) {
	entered(t)
	out := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command("strace", "-f", "-qq", "-o", out, "-e", "trace=clone,clone3,execve,execveat,unshare",
		"hutch", "run", "host", "true")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	trace, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var born, executes string
	for line := range strings.Lines(string(trace)) {
		f := strings.Fields(line)
		if strings.Contains(line, "CLONE_NEWUSER") {
			if born != "" || strings.Contains(line, "clone3(") {
				t.Errorf("hutch did not take its newborn, and cloned: %s", line)
			}
			born = f[len(f)-1]
		}
		if strings.Contains(line, `"hutch-init"`) || strings.Contains(line, "execveat(") {
			executes = f[0]
		}
	}
	if born == "" || born != executes {
		t.Errorf("process %q was born with namespaces, %q became the reaper:\n%s", born, executes, trace)
	}
}

// What the newborn may not do is said in the engine's words, and it is not left
// behind; neither is one that nobody wanted.
func TestStillborn(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"forbidden", "echo 0 >/proc/sys/user/max_net_namespaces; hutch run host true", "unshare ipc uts net"},
		{"no user namespaces", "echo 0 >/proc/sys/user/max_user_namespaces; hutch run host true", "max_user_namespaces"},
		{"no root", "hutch run /nonexistent true", "/nonexistent"},
		{"unknown flag", "hutch run --nonsense host true", "nonsense"},
		{"another network", "hutch run --profile strict --hostname x host nothing-of-this-name", "nothing-of-this-name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// The shell is process 1: what is left behind would be its child.
			script := c.script + `; echo "status $?"; for p in /proc/[0-9]*; do echo "${p#/proc/}"; done`
			cmd := exec.Command("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "sh", "-c", script)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, &stderr)
			}
			if got := strings.TrimSpace(string(out)); got != "status 125\n1" && got != "status 127\n1" {
				t.Errorf("hutch said %q, want its status and process 1 alone; %s", got, &stderr)
			}
			if !strings.Contains(stderr.String(), c.want) {
				t.Errorf("the error does not name %q: %s", c.want, &stderr)
			}
		})
	}
}

// Killed before there is anything to run, hutch leaves no newborn.
func TestNewbornDiesWithHutch(t *testing.T) {
	entered(t)
	cmd := exec.Command("hutch", "run", "-", "true")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A tar that never comes keeps hutch waiting.
	child := childOf(t, cmd.Process.Pid)
	f, err := os.Open("/proc/" + strconv.Itoa(child) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()
	for range 6000 {
		text := make([]byte, 512)
		n, err := f.ReadAt(text, 0)
		if err != nil && err != io.EOF || bytes.Contains(text[:n], []byte(") Z ")) {
			return // gone, or dead and waiting for process 1 of this machine
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d outlives hutch", child)
}

// childOf waits until the first thread of pid has a child.
func childOf(t *testing.T, pid int) int {
	t.Helper()
	return childOfThread(t, pid, strconv.Itoa(pid))
}

// childOfThread is childOf for the threads that match a pattern.
func childOfThread(t *testing.T, pid int, threads string) int {
	t.Helper()
	for range 6000 {
		names, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/" + threads + "/children")
		if err != nil || names == nil {
			t.Fatalf("process %d is gone, %v", pid, err)
		}
		var text []byte
		for _, name := range names {
			some, _ := os.ReadFile(name) // a thread may end
			text = append(text, some...)
		}
		if f := strings.Fields(string(text)); len(f) > 0 {
			child, err := strconv.Atoi(f[0])
			if err != nil {
				t.Fatal(err)
			}
			return child
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("process %d has no child", pid)
	return 0
}
