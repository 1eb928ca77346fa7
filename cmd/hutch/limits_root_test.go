package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"hutch/runner"
)

// An ordinary user has no disk to read and no tree to take away.
func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a disk, and mounts")
	}
}

// A disk's rate holds, whether it is named or is one of all; without a limit
// the same reading is fast.
func TestLimitIO(t *testing.T) {
	requireRoot(t)
	requireGroups(t)
	dev := blockDevice(t)
	root := smallRoot(t)
	read := func(offset int64, args ...string) time.Duration {
		f, err := os.Open(dev)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Seek(offset<<20, 0); err != nil { // what was not read yet
			t.Fatal(err)
		}
		cmd := exec.Command("hutch", append(append([]string{"run"}, args...), root, "dd", "of=/dev/null", "bs=64k", "count=32")...)
		cmd.Stdin = f
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return time.Since(began)
	}
	// 2 MiB at 2 MiB a second, which the kernel grants a part of at once.
	for i, args := range [][]string{{"--io-read", dev + ":2M"}, {"--io-read", "2M"}, {"--io-read-ops", dev + ":10"}} {
		if took := read(int64(i)*8, args...); took < 500*time.Millisecond {
			t.Errorf("%v: two MiB took %v", args, took)
		}
	}
	if took := read(40, "--io-read", dev+":1T"); took > 400*time.Millisecond {
		t.Logf("almost without a limit it took %v", took) // others may read too
	}
}

// blockDevice is a disk of 48 MiB of which nothing was read yet.
func blockDevice(t *testing.T) string {
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, 48<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dev := strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "--detach", dev).Run() })
	return dev
}

// Without a writable tree a limit that was asked for is an error that says what
// to do, and the application is not started; without a limit it is.
func TestLimitWithoutTree(t *testing.T) {
	requireRoot(t)
	root := smallRoot(t)
	all := `for m in $(awk '$3 ~ /^cgroup/ {print $2}' /proc/mounts | sort -r); do `
	for _, tt := range []struct{ name, setup, message, hint string }{
		{"absent", all + "umount -l $m; done", "no control groups are mounted|on no mounted hierarchy", "mount -t cgroup"},
		{"read-only", all + "mount -o remount,bind,ro $m; done", "mounted read-only", "remount,rw"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hutch := func(limit string) (string, int) {
				cmd := exec.Command("unshare", "-m", "sh", "-c", tt.setup+`; exec hutch run $1 "$0" echo started`, root, limit)
				out, _ := cmd.CombinedOutput()
				return string(out), cmd.ProcessState.ExitCode()
			}
			out, status := hutch("--memory=64M")
			if status != 125 || strings.Contains(out, "started\n") || !regexp.MustCompile(tt.message).MatchString(out) || !strings.Contains(out, "hint: ") || !strings.Contains(out, tt.hint) {
				t.Errorf("status %d: %s", status, out)
			}
			if out, status := hutch("--quiet"); status != 0 || out != "started\n" {
				t.Errorf("without a limit: status %d: %s", status, out)
			}
		})
	}
}

// Many at once: each has its own limits, and nothing of them is left.
func TestLimitsSideBySide(t *testing.T) {
	requireGroups(t)
	root := smallRoot(t)
	const boxes = 20
	var running []*process
	for i := range boxes {
		running = append(running, launch(t, "run", "--memory", strconv.Itoa(16+i)+"M", "--pids", "16", root, "sh", "-c", "echo ready; exec sleep 100"))
	}
	for i, p := range running {
		p.ready(t)
		file := groupFile(p.Process.Pid, "memory.limit_in_bytes")
		if file == "" {
			file = groupFile(p.Process.Pid, "memory.max")
		}
		data, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(data)) != strconv.Itoa((16+i)<<20) {
			t.Errorf("box %d: %q, %v", i, data, err)
		}
	}
	for _, p := range running {
		p.Process.Signal(os.Interrupt)
	}
	for _, p := range running {
		if _, status := p.end(t); status != 130 {
			t.Errorf("status %d: %s", status, &p.stderr)
		}
		if left := groupFile(p.Process.Pid, "cgroup.procs"); left != "" {
			t.Errorf("%s is left", left)
		}
	}
}

// A file of results that is full is said after the run, and the exit status is
// hutch's: there is no result that anybody could read.
func TestResultFullDisk(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("hutch", "run", "--result", "/dev/full", smallRoot(t), "true")
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != runner.ExitHutch || !strings.Contains(string(out), "write the result: ") || !strings.Contains(string(out), "hint: ") {
		t.Errorf("status %d: %s", cmd.ProcessState.ExitCode(), out)
	}
}
