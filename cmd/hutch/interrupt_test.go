package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// readResult returns the result that a run left in file.
func readResult(t *testing.T, file string) (r runner.Result) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fitsSchema(t, data)
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// Whoever interrupts hutch reads afterwards what became of the application.
func TestResultInterrupted(t *testing.T) {
	t.Parallel()
	root := smallRoot(t)
	for _, tt := range []struct {
		name    string
		signals []syscall.Signal
		script  string
		cause   runner.Cause
		signal  string
		status  int
	}{
		{"SIGINT", []syscall.Signal{unix.SIGINT}, "echo ready; exec sleep 100", runner.Signaled, "SIGINT", 130},
		{"SIGTERM", []syscall.Signal{unix.SIGTERM}, "echo ready; exec sleep 100", runner.Signaled, "SIGTERM", 143},
		{"SIGHUP", []syscall.Signal{unix.SIGHUP}, "echo ready; exec sleep 100", runner.Signaled, "SIGHUP", 129},
		{
			"the second one",
			[]syscall.Signal{unix.SIGTERM, unix.SIGTERM},
			`trap 'trap "exit 9" TERM; echo one' TERM; echo ready; while :; do sleep 0.01; done`, runner.Exited, "", 9,
		},
		{
			"SIGINT, SIGTERM",
			[]syscall.Signal{unix.SIGINT, unix.SIGTERM},
			`trap 'echo one' INT; echo ready; while :; do sleep 0.01; done`, runner.Signaled, "SIGTERM", 143,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "result.json")
			p := begin(t, "run", "--result", file, root, "sh", "-c", tt.script)
			for i, s := range tt.signals {
				if i > 0 {
					if line, err := p.out.ReadString('\n'); line != "one\n" {
						t.Fatalf("%q, %v", line, err)
					}
				}
				// A signal that comes before hutch passes them on is kept for then.
				p.Process.Signal(s)
			}
			_, status := p.end(t)
			r := readResult(t, file)
			if status != tt.status || r.Cause != tt.cause || r.Signal != tt.signal {
				t.Errorf("status %d, cause %s, signal %q", status, r.Cause, r.Signal)
			}
		})
	}
}

// A start that hangs is ended by the second signal, and that is told too.
func TestResultOfAStartThatHangs(t *testing.T) {
	t.Parallel()
	root := smallRoot(t)
	for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGTERM} {
		stopped := false
		for end := time.Now().Add(time.Minute); !stopped && time.Now().Before(end); {
			stopped = interruptStart(t, root, sig)
		}
		if !stopped {
			t.Error("no start could be stopped midway")
		}
	}
}

// interruptStart stops the box's first process on its way, if it can get hold
// of it, and interrupts hutch twice.
func interruptStart(t *testing.T, root string, sig syscall.Signal) bool {
	dir := t.TempDir()
	file := filepath.Join(dir, "result.json")
	cmd := exec.Command("hutch", "run", "--result", file, root, "true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	box := firstChild(cmd.Process.Pid)
	if box == 0 || unix.Kill(box, unix.SIGSTOP) != nil {
		cmd.Wait()
		return false
	}
	// One that was stopped before it asked to die with hutch sees that later.
	defer unix.Kill(box, unix.SIGCONT)
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return false // it had done its part
	case <-time.After(100 * time.Millisecond):
	}
	if comm, _ := os.ReadFile("/proc/" + strconv.Itoa(box) + "/comm"); strings.TrimSpace(string(comm)) == "hutch-init" {
		unix.Kill(box, unix.SIGCONT)
		<-ended
		return false // the application ran
	}
	cmd.Process.Signal(sig)
	select {
	case <-ended:
		t.Errorf("the first signal ended it: %v", cmd.ProcessState)
		return true
	case <-time.After(50 * time.Millisecond):
	}
	taken(t, cmd.Process.Pid, sig)
	cmd.Process.Signal(sig)
	select {
	case <-ended:
	case <-time.After(60 * time.Second):
		t.Fatal("the second signal did not end it")
	}
	r := readResult(t, file)
	if r.Cause != runner.Signaled || r.Signal != unix.SignalName(sig) || r.Message == "" {
		t.Errorf("%+v", r)
	}
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != sig {
		t.Errorf("hutch ended with %v", cmd.ProcessState)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("files left beside the result: %v", files)
	}
	return true
}

// firstChild waits a moment for a process to have a child.
func firstChild(pid int) int {
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
		data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/task/" + strconv.Itoa(pid) + "/children")
		if err != nil {
			return 0
		}
		if f := strings.Fields(string(data)); len(f) > 0 {
			n, _ := strconv.Atoi(f[0])
			return n
		}
	}
	return 0
}
