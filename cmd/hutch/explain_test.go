package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hutch/runner"
)

// A limit that ended the run is told with the line that raises it.
func TestExplainLimits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		flags  []string
		script string
		hint   string
	}{
		{"output-limit", []string{"--output-limit", "1k"}, "cat /dev/zero", `limits.output_limit = "2K"  # it was 1K`},
		{"cpu-time", []string{"--cpu-time", "1s"}, "while :; do :; done", `limits.cpu_time = "2s"  # it was 1s`},
		{"disk", []string{"--disk", "1m"}, "cat /dev/zero >/tmp/f", `filesystem.disk = "2M"  # it was 1M`},
		{"memory", []string{"--memory", "32m"}, `exec python3 -c 'x = "a" * 200000000'`, `limits.memory = "64M"  # it was 32M`},
		{"timeout", []string{"--timeout", "100ms"}, "sleep 100", `limits.timeout = "200ms"  # it was 100ms`},
		{"file-size", []string{"--file-size", "1k"}, "exec cat /dev/zero >/tmp/f", `limits.file_size = "2K"  # it was 1K`},
		{"pids", []string{"--pids", "4"}, "for i in 1 2 3 4 5; do sleep 60 & done", `limits.pids = 8  # it was 4`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.name == "memory" || c.name == "pids" {
				requireGroups(t)
			}
			file := filepath.Join(t.TempDir(), "result.json")
			args := append([]string{"run", "--explain", "--timeout", "1m", "--result", file}, c.flags...)
			out, err := exec.Command("hutch", append(args, "host", "--", "sh", "-c", c.script)...).CombinedOutput()
			if err == nil {
				t.Errorf("the limit was not reached: %.300q", out)
			}
			var r runner.Result
			data, err := os.ReadFile(file)
			if err == nil {
				err = json.Unmarshal(data, &r)
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Denied) != 1 || r.Denied[0].What != "limit" || r.Denied[0].Name != c.name || r.Denied[0].Hint != c.hint {
				t.Errorf("told: %+v", r.Denied)
			}
		})
	}
}

// When hutch is killed while a call waits for its answer, nothing of the box
// stays behind.
func TestExplainKilled(t *testing.T) {
	t.Parallel()
	marker := "explain-killed-" + strings.ReplaceAll(t.TempDir(), "/", "-")
	const program = `
import ctypes
print("begun", flush=True)
while True:
    ctypes.CDLL(None).syscall(101, 0, 0, 0, 0)
`
	cmd := exec.Command("hutch", "run", "--explain", "--profile", "strict", "--timeout", "1m", "host", "--", "python3", "-c", program, marker)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 5)
	if _, err := out.Read(line); err != nil || string(line) != "begun" {
		t.Errorf("%v: %q", err, line)
	}
	// Stopped, it answers nobody: the next call waits.
	cmd.Process.Signal(syscall.SIGSTOP)
	time.Sleep(200 * time.Millisecond)
	if !named(marker) {
		t.Error("the application is not to be seen")
	}
	cmd.Process.Kill()
	cmd.Wait()
	for end := time.Now().Add(60 * time.Second); named(marker); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the application outlived hutch")
		}
	}
}

// named says whether some process has the word among its arguments.
func named(word string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil && bytes.Contains(data, []byte(word)) {
			return true
		}
	}
	return false
}
