package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever of the standard streams is closed, the application has three
// descriptors and no more, hutch's and the caller's others included.
func TestDescriptors(t *testing.T) {
	t.Parallel()
	root := smallRoot(t)
	out := t.TempDir()
	if err := os.Chmod(out, 0o777); err != nil {
		t.Fatal(err)
	}
	for closed := range 8 {
		file := filepath.Join(out, strconv.Itoa(closed))
		if err := os.WriteFile(file, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		_ = os.Chmod(file, 0o666)
		redirect := ""
		for fd, text := range []string{" <&-", " >&-", " 2>&-"} {
			if closed&(1<<fd) != 0 {
				redirect += text
			}
		}
		// A glob opens the directory itself, as 3, and is done with it.
		script := `cd /proc/self/fd; set -- *; echo "$@" >/file; read x; echo out; echo err >&2`
		cmd := exec.Command("sh", "-c", `exec 7</etc/passwd 8</ 9<>/dev/null; exec hutch run --no-tty --user 0 --bind `+file+`:/file:rw '`+root+`' sh -c '`+script+`' </dev/null`+redirect)
		var stdout, stderr strings.Builder
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		census, _ := os.ReadFile(file)
		if got := strings.Fields(string(census)); err != nil || !slices.Equal(slices.DeleteFunc(got, func(fd string) bool { return fd == "3" }), []string{"0", "1", "2"}) {
			t.Errorf("closed%s: %v, the application has %q; %s", redirect, err, census, &stderr)
		}
		if want := map[bool]string{false: "out\n"}[closed&2 != 0]; stdout.String() != want {
			t.Errorf("closed%s: standard output is %q", redirect, &stdout)
		}
		if want := map[bool]string{false: "err\n"}[closed&4 != 0]; stderr.String() != want {
			t.Errorf("closed%s: standard error is %q", redirect, &stderr)
		}
	}
}

// Killed at any moment of its start, hutch leaves nothing; what outlives it
// otherwise is seen at the end of all tests, which are its heirs.
func TestKilledAtOnce(t *testing.T) {
	t.Parallel()
	root := smallRoot(t)
	mark := fmt.Sprintf("33%d", os.Getpid())
	for i := range 60 {
		cmd := exec.Command("hutch", "run", root, "sleep", mark)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 150 * time.Microsecond)
		cmd.Process.Kill()
		cmd.Wait()
	}
	await(t, "the end of them all", func() bool { return countArg(mark) == 0 })
}

// A start whose first process is stopped for a while goes on afterwards.
func TestStoppedStart(t *testing.T) {
	t.Parallel()
	root := smallRoot(t)
	for i := range 8 {
		p := launch(t, "run", root, "echo", "ran")
		time.Sleep(time.Duration(i) * time.Millisecond)
		if box := firstChild(p.Process.Pid); box != 0 && unix.Kill(box, unix.SIGSTOP) == nil {
			time.Sleep(20 * time.Millisecond)
			unix.Kill(box, unix.SIGCONT)
		}
		if out, status := p.end(t); out != "ran\n" || status != 0 {
			t.Errorf("wrote %q, exited with %d: %s", out, status, &p.stderr)
		}
	}
}

// Ctrl-C is for each of a pipeline, as the kernel sends it to the whole group.
func TestInterruptedPipeline(t *testing.T) {
	t.Parallel()
	root := smallRoot(t)
	run := "hutch run -T '" + root + "' sh -c "
	cmd := exec.Command("sh", "-c", run+`'echo ready >&2; exec sleep 100' | `+run+`'echo ready >&2; exec cat'; echo "$?"`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 12)
	if _, err := io.ReadFull(r, said); err != nil {
		t.Fatal(err)
	}
	unix.Kill(-cmd.Process.Pid, unix.SIGINT)
	kill := time.AfterFunc(time.Minute, func() { unix.Kill(-cmd.Process.Pid, unix.SIGKILL) })
	defer kill.Stop()
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != unix.SIGINT {
		t.Errorf("the shell ended with %v", cmd.ProcessState)
	}
}

// A file of hutch that would lend its rights to everyone refuses to.
func TestLent(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a file that has rights to lend")
	}
	entered(t)
	dir, err := os.MkdirTemp("", "hutch-lent-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	hutch := filepath.Join(dir, "hutch")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// Not written by this process: one that is forked meanwhile would keep it open for writing.
	if out, err := exec.Command("cp", fmt.Sprintf("/proc/%d/exe", os.Getpid()), hutch).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	asOther := func() ([]byte, error) {
		cmd := exec.Command(hutch, "--version")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		cmd.Env = []string{}
		return cmd.CombinedOutput()
	}
	for _, c := range []struct {
		mode   os.FileMode
		setcap bool
		lent   bool
	}{{0o755, false, false}, {0o755 | os.ModeSetuid, false, true}, {0o755 | os.ModeSetgid, false, true}, {0o755, true, true}} {
		if err := os.Chmod(hutch, c.mode); err != nil {
			t.Fatal(err)
		}
		if c.setcap {
			// struct vfs_cap_data of version 2, effective: CAP_NET_RAW is permitted.
			raw := []byte{1, 0, 0, 2, 0, 1 << 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
			if err := unix.Setxattr(hutch, "security.capability", raw, 0); err != nil {
				t.Fatal(err)
			}
		}
		out, err := asOther()
		if refused := err != nil && strings.HasPrefix(string(out), "hutch: this file is set-user-ID"); refused != c.lent {
			t.Errorf("mode %v, capabilities %v: %v: %.300s", c.mode, c.setcap, err, out)
		}
	}
}
