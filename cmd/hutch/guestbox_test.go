package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// guestPrograms is what a guest's process is called, by engine.
var guestPrograms = map[string]string{"uml": "linux", "kvm --accel tcg": "qemu-system-x86"}

// sleepingGuest is a guest in which an application sleeps, with its process.
func sleepingGuest(t *testing.T, engine string) (pid int, root string) {
	t.Helper()
	root = sleeperRoot(t)
	bin, err := filepath.Abs("../../bin/hutch")
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"run", "--engine"}, strings.Fields(engine)...)
	cmd := exec.Command(bin, append(args, root, "/bin/sh", "-c", "echo ready; sleep 100")...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v: %s", line, err, &stderr)
	}
	pid = findBelow(cmd.Process.Pid, guestPrograms[engine])
	if pid == 0 {
		t.Fatalf("no %s below hutch", guestPrograms[engine])
	}
	return pid, root
}

// sleeperRoot is a directory with a shell.
func sleeperRoot(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	data, err := os.ReadFile("/bin/busybox")
	if err == nil {
		err = errors.Join(os.Mkdir(dir+"/bin", 0o755), os.WriteFile(dir+"/bin/sh", data, 0o755), os.Symlink("sh", dir+"/bin/sleep"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// findBelow is a process called name among those below pid.
func findBelow(pid int, name string) int {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		data, _ := os.ReadFile(t)
		for _, word := range strings.Fields(string(data)) {
			child, _ := strconv.Atoi(word)
			if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child)); strings.TrimSpace(string(comm)) == name {
				return child
			}
			if found := findBelow(child, name); found != 0 {
				return found
			}
		}
	}
	return 0
}

// unboxed lists what a process has that one in a guest's box has not.
func unboxed(pid int) (list []string) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return []string{err.Error()}
	}
	for _, want := range []string{"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(string(status), want+"\n") {
			list = append(list, "not "+want)
		}
	}
	if strings.Contains(string(status), "Uid:\t0\t") {
		list = append(list, "root's id on the host")
	}
	for _, ns := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"} {
		ours, _ := os.Readlink("/proc/self/ns/" + ns)
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, ns))
		if err != nil || ours == theirs {
			list = append(list, "our namespace "+ns)
		}
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/root", pid))
	if err != nil {
		list = append(list, err.Error())
	}
	for _, e := range entries {
		if !slices.Contains([]string{"dev", "disk", "guest", "lib", "lib64", "proc", "share", "tmp", "uml", "usr"}, e.Name()) {
			list = append(list, "file /"+e.Name())
		}
	}
	return list
}

// Whoever breaks out of a guest is in a box: the process has no privilege, and
// sees the files that it needs and no others.
func TestGuestProcessIsInABox(t *testing.T) {
	if len(unboxed(os.Getpid())) < 8 {
		t.Fatalf("this test sees nothing: %q", unboxed(os.Getpid()))
	}
	for engine := range guestPrograms {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			pid, root := sleepingGuest(t, engine)
			if list := unboxed(pid); len(list) > 0 {
				t.Errorf("the guest's process has %q", list)
			}
			files := fmt.Sprintf("/proc/%d/root", pid)
			for _, outside := range []string{root, "/etc/passwd", "/root", "/home", "/usr/bin/sh", "/bin/sh"} {
				if _, err := os.Lstat(files + outside); err == nil {
					t.Errorf("the guest's process sees %s", outside)
				}
			}
			if os.Geteuid() == 0 {
				limitCovers(t, pid)
			}
			disksAreClosed(t, pid)
		})
	}
}

// limitCovers holds the process's control group against a guest of the default
// size with what is stated above it.
func limitCovers(t *testing.T, pid int) {
	t.Helper()
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		for _, file := range []string{"/sys/fs/cgroup/memory" + parts[2] + "/memory.limit_in_bytes", "/sys/fs/cgroup" + parts[2] + "/memory.max"} {
			text, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
			if err == nil && n >= 512<<20 && n <= 1<<30 {
				return
			}
		}
	}
	t.Errorf("no memory limit between 512 MiB and 1 GiB around it:\n%s", data)
}

// disksAreClosed makes sure that no disk is open for writing, and that its
// file cannot be.
func disksAreClosed(t *testing.T, pid int) {
	t.Helper()
	seen := false
	for _, pattern := range []string{"/disk/*", "/guest/disk/*"} {
		list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/root%s", pid, pattern))
		for _, disk := range list {
			seen = true
			before, err := sum(disk)
			if err != nil {
				t.Error(err)
			}
			f, err := os.OpenFile(disk, os.O_WRONLY, 0)
			if err == nil {
				f.Close()
				t.Errorf("%s can be opened for writing", disk)
			}
			if after, _ := sum(disk); after != before {
				t.Errorf("%s changed", disk)
			}
		}
	}
	if !seen {
		t.Error("the guest's process has no disk")
	}
}

func sum(name string) (string, error) {
	data, err := os.ReadFile(name)
	return fmt.Sprintf("%x", sha256.Sum256(data)), err
}

// A /dev/kvm either runs a guest, which is then called kvm, or is told not to
// work, in bounded time and with what to do instead. Nothing is emulated
// without being asked for.
func TestKVMWorksOrSaysWhy(t *testing.T) {
	bin, err := filepath.Abs("../../bin/hutch")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "run", "--engine", "kvm", "--result", "-", sleeperRoot(t), "/bin/sh", "-c", "exit 0")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err = cmd.Run()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v to find out", took)
	}
	if err == nil {
		if !strings.Contains(stdout.String(), `"engine":"kvm"`) {
			t.Errorf("it ran, as: %s", &stdout)
		}
		return
	}
	if !strings.Contains(stderr.String(), "--accel tcg") || !strings.Contains(stderr.String(), "--engine uml") || !strings.Contains(stderr.String(), "/dev/kvm") {
		t.Errorf("%v: %s", err, &stderr)
	}
}
