package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hutch/profiles"
	"hutch/runner"
	"hutch/runner/cgroup"
)

// The tests of limits also run in a guest whose only control groups are those
// of v2, TestInV2Guest.

// requireGroups skips where this user was given no control groups: what hutch
// then has to say is run_limits.txtar's business. Root always has some.
func requireGroups(t *testing.T) {
	t.Helper()
	g, err := cgroup.New("", cgroup.Limits{Processes: 100}, cgroup.Options{})
	if err == nil {
		g.Remove()
		return
	}
	if os.Geteuid() == 0 {
		t.Fatal(err)
	}
	t.Skip("no control group is delegated to this user")
}

const spin = "while :; do :; done"

// Every cause that a limit can be, brought about by the application in the
// ways that differ for hutch.
func TestLimitCauses(t *testing.T) {
	root := smallRoot(t)
	flood := "while :; do echo 0123456789; done"
	for _, tt := range []struct {
		name   string
		groups bool
		args   []string
		cause  runner.Cause
		status int
		within time.Duration // of wall time, 0 for any
	}{
		{"timeout", false, []string{"--timeout", "100ms", root, "sleep", "100"}, runner.Timeout, 124, 0},
		{"output", false, []string{"--output-limit", "1K", root, "sh", "-c", flood}, runner.OutputLimit, 137, 0},
		{"output, to standard error", false, []string{"--output-limit", "1K", root, "sh", "-c", "while :; do echo 0123456789 >&2; done"}, runner.OutputLimit, 137, 0},
		{"output, deaf to SIGTERM", false, []string{"--output-limit", "1K", root, "sh", "-c", "trap '' TERM; " + flood}, runner.OutputLimit, 137, 0},
		{"output, and a good end", false, []string{"--output-limit", "5", root, "echo", "hello"}, runner.OutputLimit, 137, 0},
		{"output, just enough", false, []string{"--output-limit", "6", root, "echo", "hello"}, runner.Exited, 0, 0},
		// On a busy machine the kernel, which counts in seconds, may be first.
		{"cpu time", true, []string{"--cpu-time", "200ms", root, "sh", "-c", spin}, runner.CPUTime, -1, 0},
		{"cpu time, of many", true, []string{"--cpu-time", "300ms", root, "sh", "-c", "(" + spin + ")& (" + spin + ")& sleep 100"}, runner.CPUTime, 137, 0},
		{"cpu time, of those that ended", true, []string{"--cpu-time", "300ms", root, "sh", "-c", "while :; do (i=0; while [ $i -lt 9999 ]; do i=$((i+1)); done); done"}, runner.CPUTime, 137, 0},
		{"cpu time, not used", false, []string{"--cpu-time", "300ms", root, "sleep", "0.5"}, runner.Exited, 0, 0},
		{"cpu time, by the kernel alone", false, []string{"--cpu-time", "1s", root, "sh", "-c", spin}, runner.CPUTime, -1, 0},
		{"cpu time, deaf to SIGXCPU", false, []string{"--cpu-time", "1s", root, "sh", "-c", "trap '' XCPU; " + spin}, runner.CPUTime, 137, 0},
		{"memory", true, []string{"--memory", "16M", root, "/bin/busybox", "tail", "/dev/zero"}, runner.OutOfMemory, 137, 0},
		{"memory, of a child", true, []string{"--memory", "16M", root, "sh", "-c", "/bin/busybox tail /dev/zero; exit 7"}, runner.OutOfMemory, -1, 0},
		{"memory, in files", true, []string{"--memory", "16M", root, "dd", "if=/dev/zero", "of=/tmp/x", "bs=64k"}, runner.OutOfMemory, 137, 0},
		{"memory, without init", true, []string{"--no-init", "--memory", "16M", root, "/bin/busybox", "tail", "/dev/zero"}, runner.OutOfMemory, 137, 0},
		{"killed, with memory left", true, []string{"--memory", "64M", root, "sh", "-c", "kill -9 $$"}, runner.Signaled, 137, 0},
		{"disk", false, []string{"--disk", "1M", root, "dd", "if=/dev/zero", "of=/x", "bs=64k"}, runner.DiskLimit, 1, 0},
		{"disk, in /tmp", false, []string{"--disk", "1M", root, "dd", "if=/dev/zero", "of=/tmp/x", "bs=64k"}, runner.DiskLimit, 1, 0},
		{"disk, without init", false, []string{"--no-init", "--disk", "1M", root, "dd", "if=/dev/zero", "of=/x", "bs=64k"}, runner.DiskLimit, 1, 0},
		{"disk, and a good end", false, []string{"--disk", "1M", root, "sh", "-c", "dd if=/dev/zero of=/x bs=64k; exit 0"}, runner.Exited, 0, 0},
		{"disk, not full", false, []string{"--disk", "1M", root, "sh", "-c", "echo x > /x; exit 3"}, runner.Exited, 3, 0},
		{"inodes", false, []string{"--inodes", "64", root, "sh", "-c", "i=0; while [ $i -lt 99 ]; do touch /f$i || exit 4; i=$((i+1)); done"}, runner.DiskLimit, 4, 0},
		{"file size", false, []string{"--file-size", "64K", root, "dd", "if=/dev/zero", "of=/x", "bs=64k", "count=2"}, runner.Signaled, 128 + int(unix.SIGXFSZ), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.groups {
				requireGroups(t)
			}
			r, status := result(t, tt.args...)
			if r.Cause != tt.cause || tt.status >= 0 && status != tt.status {
				t.Errorf("cause %s, status %d, want %s, %d; %s", r.Cause, status, tt.cause, tt.status, r.Message)
			}
			if status == 0 && tt.cause != runner.Exited {
				t.Error("passed for a good run")
			}
		})
	}
}

// Without a group that counts them all the CPU time of each process is
// limited, and the result says that this is all.
func TestLimitCPUTimeSaysWhatItIs(t *testing.T) {
	r, _ := result(t, "--cpu-time", "10s", smallRoot(t), "true")
	if !slices.Contains(r.Enforced.Limits, "cpu-time") {
		t.Errorf("limits %v", r.Enforced.Limits)
	}
	counted := r.Enforced.Cgroup != ""
	said := slices.Contains(r.Enforced.Missing, "cpu-time of all processes together")
	if counted == said || os.Geteuid() == 0 && !counted {
		t.Errorf("cgroup %q, missing %q", r.Enforced.Cgroup, r.Enforced.Missing)
	}
}

// What the machine's shortage, or that of a group around hutch, kills is not
// the box's own doing.
func TestLimitOOMOfOthers(t *testing.T) {
	requireGroups(t)
	outer, err := cgroup.New("", cgroup.Limits{Memory: 48 << 20, Swap: 0}, cgroup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		outer.Kill()
		outer.Remove()
	})
	if _, v2 := outer.FD(); v2 {
		// The box's group is to lie below the full one, and hutch outside.
		for file, text := range map[string]string{"cgroup.subtree_control": "+memory +pids", "memory.oom.group": "0"} {
			if err := os.WriteFile(filepath.Join(outer.Paths()[0], file), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "result.json")
	enter := "echo $$ > " + outer.Paths()[0] + "/cgroup.procs"
	if _, v2 := outer.FD(); v2 {
		enter = "mkdir -p " + outer.Paths()[0] + "/in && echo $$ > " + outer.Paths()[0] + "/in/cgroup.procs"
	}
	script := enter + ` && exec hutch run --memory 512M --result "$0" "$@"`
	cmd := exec.Command("sh", "-c", script, file, smallRoot(t), "/bin/busybox", "tail", "/dev/zero")
	out, err := cmd.CombinedOutput()
	data, rerr := os.ReadFile(file)
	if rerr != nil {
		t.Fatalf("%v, %v: %s", err, rerr, out)
	}
	var r runner.Result
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if r.Cause != runner.Signaled || r.Signal != "SIGKILL" || !strings.Contains(r.Message, "its own limit was not reached") {
		t.Errorf("cause %s, signal %s, message %q", r.Cause, r.Signal, r.Message)
	}
}

// Exactly the limit's bytes pass, of both streams together.
func TestLimitOutputBytes(t *testing.T) {
	root := smallRoot(t)
	for _, limit := range []int{1, 4096, 100001} {
		var out, errOut bytes.Buffer
		cmd := exec.Command("hutch", "run", "--output-limit", strconv.Itoa(limit), root, "sh", "-c",
			"while :; do echo 0123456789; echo abcdef >&2; done")
		cmd.Stdout, cmd.Stderr = &out, &errOut
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != 137 {
			t.Errorf("%d: %v", limit, err)
		}
		if n := out.Len() + errOut.Len(); n != limit {
			t.Errorf("%d bytes passed of %d", n, limit)
		}
		whole := strings.Repeat("0123456789\n", out.Len()/11+1)
		if !strings.HasPrefix(whole, out.String()) {
			t.Errorf("%d: garbled", limit)
		}
	}
}

// Two descriptors of one pipe keep their order.
func TestLimitOutputOrder(t *testing.T) {
	cmd := exec.Command("sh", "-c", `exec hutch run --output-limit 1M "$0" sh -c 'for i in 1 2 3 4 5 6 7 8 9; do echo out$i; echo err$i >&2; done' 2>&1`, smallRoot(t))
	out, err := cmd.Output()
	var want strings.Builder
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&want, "out%d\nerr%d\n", i, i)
	}
	if err != nil || string(out) != want.String() {
		t.Errorf("%v: %q", err, out)
	}
}

// A limit changes nothing else about a pipe: who writes to one that nobody
// reads gets SIGPIPE, and the result is told.
func TestLimitOutputReaderGone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "result.json")
	cmd := exec.Command("sh", "-c", `hutch run --output-limit 1G --result "$0" "$1" sh -c 'while :; do echo x; done' | head -n 3`, file, smallRoot(t))
	if out, err := cmd.Output(); err != nil || string(out) != "x\nx\nx\n" {
		t.Errorf("%v: %q", err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r runner.Result
	if err := json.Unmarshal(data, &r); err != nil || r.Cause != runner.Signaled || r.Signal != "SIGPIPE" {
		t.Errorf("%v: %s", err, data)
	}
}

// Without a limit of output the application has the caller's own descriptors.
func TestLimitOutputOffIsDirect(t *testing.T) {
	inside := func(args ...string) (in, out string) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var st unix.Stat_t
		if err := unix.Fstat(int(w.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("hutch", slices.Concat([]string{"run"}, args, []string{smallRoot(t), "stat", "-L", "-c", "%i", "/proc/self/fd/1"})...)
		cmd.Stdout = w
		err = cmd.Run()
		w.Close()
		text, _ := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text)), strconv.FormatUint(st.Ino, 10)
	}
	if in, out := inside(); in != out {
		t.Errorf("standard output is %s inside and %s outside", in, out)
	}
	if in, out := inside("--output-limit", "1M"); in == out {
		t.Error("the test does not bite: with a limit it is the same pipe")
	}
}

// A limit holds from the first instruction, for descendants too, and cannot be
// raised or left from inside.
func TestLimitsHold(t *testing.T) {
	requireGroups(t)
	root := smallRoot(t)
	run := func(args ...string) string {
		out, err := exec.Command("hutch", append([]string{"run"}, args...)...).CombinedOutput()
		var e *exec.ExitError
		if err != nil && !errors.As(err, &e) {
			t.Fatal(err)
		}
		return string(out)
	}
	forks := "i=0; while [ $i -lt 20 ]; do sleep 2 & i=$((i+1)); done; echo all"
	if out := run("--pids", "10", root, "sh", "-c", "sh -c '"+forks+"'"); strings.Contains(out, "all") {
		t.Errorf("20 processes below a limit of 10: %s", out)
	}
	if out := run("--pids", "40", root, "sh", "-c", "sh -c '"+forks+"'"); !strings.Contains(out, "all") {
		t.Errorf("20 processes do not fit below a limit of 40: %s", out)
	}
	// ulimit -H -t and its like, as root of the box, who has no such right.
	for _, l := range []struct{ flag, value, letter, more string }{
		{"--open-files", "64", "n", "128"},
		{"--file-size", "1M", "f", "4096"},
		{"--core-size", "0", "c", "1"},
		{"--cpu-time", "30s", "t", "60"},
	} {
		out := run(l.flag, l.value, root, "sh", "-c", "ulimit -H -"+l.letter+" "+l.more+" 2>/dev/null && echo raised; ulimit -"+l.letter+" "+l.more+" 2>/dev/null && echo raised; exit 0")
		if strings.Contains(out, "raised") {
			t.Errorf("%s was raised from inside", l.flag)
		}
	}
	// No control group can be seen, mounted or written.
	out := run("--memory", "64M", "--cap-add", "CAP_SYS_ADMIN", root, "sh", "-c",
		"cat /proc/self/cgroup; for t in cgroup cgroup2; do mount -t $t none /tmp && echo mounted; done; ls /sys/fs/cgroup; exit 0")
	if strings.Contains(out, "mounted") || strings.Contains(out, "cgroup.procs") || strings.Contains(out, "hutch-") || strings.Contains(out, "..") {
		t.Errorf("control groups can be reached: %s", out)
	}
}

// What a box is limited to stands in its control groups while it runs.
func TestLimitsAreSet(t *testing.T) {
	requireGroups(t)
	p := begin(t, "run", "--memory", "64M", "--swap", "8M", "--cpus", "0.5", "--cpu-weight", "50", "--pids", "20",
		smallRoot(t), "sh", "-c", "echo ready; exec sleep 100")
	defer func() {
		p.Process.Signal(unix.SIGTERM)
		p.end(t)
	}()
	for _, f := range []struct {
		v1, v2, is1, is2 string
		optional         bool
	}{
		{"memory.limit_in_bytes", "memory.max", "67108864", "67108864", false},
		{"memory.memsw.limit_in_bytes", "memory.swap.max", "75497472", "8388608", true},
		{"cpu.cfs_quota_us", "cpu.max", "50000", "50000 100000", false},
		{"cpu.shares", "cpu.weight", "512", "50", false},
		{"pids.max", "pids.max", "20", "20", false},
	} {
		file, is := groupFile(p.Process.Pid, f.v2), f.is2
		if file == "" || f.v1 == f.v2 {
			file, is = groupFile(p.Process.Pid, f.v1), f.is1
		}
		data, err := os.ReadFile(file)
		if f.optional && file == "" {
			continue // the guest's kernel may count no swap
		}
		if err != nil || strings.TrimSpace(string(data)) != is {
			t.Errorf("%s: %q, %v; want %s", f.v1, data, err, is)
		}
	}
}

// groupFile finds a control file of the group that hutch, process pid, made.
func groupFile(pid int, name string) (found string) {
	mark := fmt.Sprintf("-%d-", pid)
	filepath.WalkDir("/sys/fs/cgroup", func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return nil
		}
		if base := filepath.Base(path); strings.HasPrefix(base, "hutch-") && strings.Contains(base, mark) {
			if _, err := os.Stat(path + "/" + name); err == nil {
				found = path + "/" + name
			}
			return filepath.SkipDir
		}
		return nil
	})
	return found
}

// A share of a processor is kept to, by all processes together.
func TestLimitCPUs(t *testing.T) {
	requireGroups(t)
	began := time.Now()
	r, _ := result(t, "--cpus", "0.2", "--timeout", "1s", smallRoot(t), "sh", "-c", "("+spin+")& ("+spin+")& "+spin)
	if r.Cause != runner.Timeout || r.Usage.UserSeconds == nil || r.Usage.SystemSeconds == nil {
		t.Fatalf("%+v", r)
	}
	if used := *r.Usage.UserSeconds + *r.Usage.SystemSeconds; used > 0.1+0.4*time.Since(began).Seconds() || used < 0.02 {
		t.Errorf("%.3f s of processor time in %v under --cpus 0.2", used, time.Since(began))
	}
}

// The usage covers what nobody waited for.
func TestLimitUsage(t *testing.T) {
	requireGroups(t)
	r, _ := result(t, "--memory", "64M", "--pids", "32", smallRoot(t), "sh", "-c",
		// Field 14 of proc_pid_stat(5) is user time, in hundredths of a second.
		"(dd if=/dev/zero of=/tmp/x bs=1M count=16 2>/dev/null; "+spin+")& until [ $(/bin/busybox cut -d ' ' -f 14 /proc/$!/stat) -ge 20 ]; do sleep 0.1; done; exit 0")
	u := r.Usage
	if u.UserSeconds == nil || u.SystemSeconds == nil || *u.UserSeconds+*u.SystemSeconds < 0.15 {
		t.Errorf("processor time %v %v", u.UserSeconds, u.SystemSeconds)
	}
	if r.Enforced.Cgroup != "v2" && (u.MemoryPeakBytes == nil || *u.MemoryPeakBytes < 16<<20 || *u.MemoryPeakBytes > 64<<20) {
		t.Errorf("memory peak %v", u.MemoryPeakBytes)
	}
}

// A fork bomb ends with its box, at the timeout, and leaves nothing.
func TestLimitForkBomb(t *testing.T) {
	requireGroups(t)
	// A shell that cannot fork ends, and makes room for what the others fork.
	bomb := `sh -c "$X" & sh -c "$X" & exec sh -c "$X"`
	r, status := result(t, "--pids", "64", "--timeout", "500ms", "--env", "X="+bomb, smallRoot(t), "sh", "-c", `sh -c "$X" 2>/dev/null & exec sleep 100`)
	if r.Cause != runner.Timeout || status != 124 {
		t.Errorf("cause %s, status %d", r.Cause, status)
	}
}

// What a hutch that was killed left is removed by the next run and by gc; what
// a living one has is not.
func TestLimitsLeaveNothing(t *testing.T) {
	requireGroups(t)
	root := smallRoot(t)
	for _, next := range [][]string{{"run", "--memory", "64M", "--pids", "32", root, "true"}, {"gc"}} {
		limited := []string{"run", "--memory", "64M", "--pids", "32", root, "sh", "-c", "echo ready; exec sleep 100"}
		living := begin(t, limited...)
		var killed *process
		// Another package's tests, or another hutch of this machine, may be faster.
		for tries := 20; killed == nil || groupFile(killed.Process.Pid, "cgroup.procs") == ""; tries-- {
			if tries == 0 {
				t.Fatal("nothing was left: the test does not bite")
			}
			killed = begin(t, limited...)
			killed.Process.Kill()
			killed.end(t)
		}
		if out, err := exec.Command("hutch", next...).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		if left := groupFile(killed.Process.Pid, "cgroup.procs"); left != "" {
			t.Errorf("hutch %s: %s is left", next[0], left)
		}
		if groupFile(living.Process.Pid, "cgroup.procs") == "" {
			t.Errorf("hutch %s removed the groups of a living run", next[0])
		}
		living.Process.Signal(unix.SIGTERM)
		living.end(t)
		if left := groupFile(living.Process.Pid, "cgroup.procs"); left != "" {
			t.Errorf("%s is left of a run that ended", left)
		}
	}
}

// A run ends at its timeout also where hutch copies the output and nobody takes
// it.
func TestLimitTimeoutWithStuckReader(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	cmd := exec.Command("hutch", "run", "--timeout", "0.5s", "--output-limit", "1G", smallRoot(t), "sh", "-c", "while :; do echo y; done")
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer stuck.Stop()
	if cmd.Wait(); cmd.ProcessState.ExitCode() != 124 {
		t.Errorf("ended with %v", cmd.ProcessState)
	}
}

// What a profile's check takes for the least is what the kernel side does.
func TestLeastMemory(t *testing.T) {
	if profiles.LeastMemory != cgroup.LeastMemory {
		t.Errorf("%d and %d", profiles.LeastMemory, cgroup.LeastMemory)
	}
}
