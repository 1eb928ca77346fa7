package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A signal whose handler has found no box is not lost when there is one by the
// time it has put the signal down, and forward has been there in between.
func TestSignalBetween(t *testing.T) {
	before := []int32{atomic.LoadInt32(&toBox.pidfd), atomic.LoadInt32(&toBox.told)}
	defer func() {
		atomic.StoreInt32(&toBox.pidfd, before[0])
		atomic.StoreInt32(&toBox.told, before[1])
	}()
	t.Run("process", func(t *testing.T) {
		box := exec.Command("sleep", "100")
		if err := box.Start(); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.PidfdOpen(box.Process.Pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		atomic.StoreInt32(&toBox.pidfd, int32(fd))
		sendPending()
		time.AfterFunc(time.Minute, func() { box.Process.Kill() })
		keep(int32(unix.SIGUSR1))
		box.Wait()
		if ws := box.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != unix.SIGUSR1 {
			t.Errorf("the box ended with %v", box.ProcessState)
		}
		atomic.StoreInt32(&toBox.pidfd, -1)
	})
	t.Run("two in a guest", func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		keep(int32(unix.SIGTERM))
		atomic.StoreInt32(&toBox.told, int32(w.Fd()))
		keep(int32(unix.SIGHUP))
		sendPending()
		w.Close()
		got, _ := io.ReadAll(r)
		if want := []byte{byte(unix.SIGHUP), byte(unix.SIGTERM)}; !bytes.Equal(got, want) {
			t.Errorf("the guest was told of %v, want %v", got, want)
		}
		atomic.StoreInt32(&toBox.told, -1)
	})
}

// The first process of a PID namespace dies of no signal that it has no handler
// for; a second one ends a start that hangs there too, and its result is true.
func TestSecondSignalAsInit(t *testing.T) {
	t.Parallel()
	root := smallRoot(t)
	for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGTERM} {
		dir := t.TempDir()
		file, trace := filepath.Join(dir, "result.json"), filepath.Join(dir, "trace")
		// Without -f: strace holds hutch up where it waits for its box.
		cmd := exec.Command("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child",
			"strace", "-D", "-f", "-qq", "-o", trace, "-e", "trace=pivot_root,rt_sigaction", "-e", "inject=pivot_root:delay_enter=60000000",
			"hutch", "run", "--result", file, root, "true")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			cmd.Wait()
			close(ended)
		}()
		defer func() {
			cmd.Process.Kill()
			<-ended
		}()
		hutch := childOf(t, cmd.Process.Pid)
		await(t, "the start to hang", func() bool {
			text, _ := os.ReadFile(trace)
			return bytes.Contains(text, []byte("pivot_root("))
		})
		for range 2 {
			unix.Kill(hutch, sig)
			taken(t, hutch, sig)
			time.Sleep(50 * time.Millisecond)
		}
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Fatalf("%v: the second signal did not end it", sig)
		}
		if got := cmd.ProcessState.ExitCode(); got != 128+int(sig) {
			t.Errorf("%v: exit status %d", sig, got)
		}
		if r := readResult(t, file); r.Signal != unix.SignalName(sig) {
			t.Errorf("%v: %+v", sig, r)
		}
	}
}

// What hutch was started to ignore is for nobody, as with every other program.
func TestIgnoredStaysIgnored(t *testing.T) {
	t.Parallel()
	entered(t)
	root := smallRoot(t)
	all := []syscall.Signal{unix.SIGTERM, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGHUP, unix.SIGINT}
	for _, c := range []struct{ name, hutch string }{
		{"application", "exec hutch run '" + root + `' sh -c 'echo ready; read x; echo "$x"'`},
		// A tar that does not come: the wait for it ends at signals, too.
		{"root", `echo ready; exec hutch run --result ` + filepath.Join(t.TempDir(), "result") + ` - true`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", `trap "" TERM QUIT USR1 USR2 HUP INT; `+c.hutch)
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			p := &process{Cmd: cmd}
			start(t, p)
			p.ready(t)
			ignores := func() bool {
				status, _ := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/status")
				return strings.Contains(string(status), "Name:\thutch") && sigIgn(t, string(status), all)
			}
			await(t, "hutch to ignore", ignores)
			if c.name == "root" {
				childOf(t, cmd.Process.Pid)
				await(t, "hutch to wait for the tar", func() bool {
					at, _ := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/status")
					return bytes.Contains(at, []byte("State:\tS"))
				})
			}
			for _, sig := range append(all, unix.SIGURG) {
				p.Process.Signal(sig)
			}
			if !ignores() {
				t.Error("hutch ignores them no more")
			}
			io.WriteString(stdin, "got\n")
			stdin.Close()
			out, status := p.end(t)
			if c.name == "application" && (out != "got\n" || status != 0) {
				t.Errorf("wrote %q, status %d, %s", out, status, &p.stderr)
			}
			if c.name == "root" && (status != 125 || strings.Contains(p.stderr.String(), "interrupt")) {
				t.Errorf("status %d, %s", status, &p.stderr)
			}
		})
	}
}

// sigIgn says whether a process ignores all of list, proc_pid_status(5).
func sigIgn(t *testing.T, status string, list []syscall.Signal) bool {
	_, mask, _ := strings.Cut(status, "SigIgn:\t")
	n, err := strconv.ParseUint(mask[:16], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range list {
		if n&(1<<(sig-1)) == 0 {
			return false
		}
	}
	return true
}

// Processors that a control group is given later reach what runs in it. Who was
// told to use fewer keeps those.
func TestProcessorsLater(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a control group of processors")
	}
	entered(t)
	if all, err := os.ReadFile("/sys/fs/cgroup/cpuset/cpuset.cpus"); err != nil || !bytes.HasPrefix(all, []byte("0-")) || runtime.NumCPU() < 4 {
		t.Skipf("needs four processors and the first cpuset: %s, %v", all, err)
	}
	group, err := os.MkdirTemp("/sys/fs/cgroup/cpuset", "hutch-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { await(t, "the end of the group", func() bool { return os.Remove(group) == nil }) })
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(group, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("cpuset.mems", "0")
	for _, c := range []struct{ taskset, before, after string }{
		{"", "0-2", "0-3"},
		{"taskset -c 1,2,3 ", "1-2", "1-2"},
	} {
		write("cpuset.cpus", "0-2")
		const look = `grep Cpus_allowed_list /proc/self/status; read x; grep Cpus_allowed_list /proc/self/status`
		for _, net := range []string{"none", "host"} { // with a newborn, and without
			cmd := exec.Command("sh", "-c", "echo $$ >"+group+"/tasks; exec "+c.taskset+"hutch run --net "+net+" host -- sh -c '"+look+"'")
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			p := &process{Cmd: cmd}
			start(t, p)
			line, _ := p.out.ReadString('\n')
			write("cpuset.cpus", "0-3")
			stdin.Close()
			rest, _ := p.end(t)
			if before, after := strings.Fields(line), strings.Fields(rest); len(before) != 2 || len(after) != 2 || before[1] != c.before || after[1] != c.after {
				t.Errorf("%s--net %s: processors %q, later %q; %s", c.taskset, net, line, rest, &p.stderr)
			}
			write("cpuset.cpus", "0-2")
		}
	}
}

// start starts p, whose output is read.
func start(t *testing.T, p *process) {
	t.Helper()
	p.Cmd.Stderr = &p.stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(time.Minute, func() { p.Process.Kill() })
	t.Cleanup(func() { kill.Stop() })
	p.out = bufio.NewReader(out)
}

// A kernel that does not tell the timer slack has it left alone.
func TestSlackNotTold(t *testing.T) {
	t.Parallel()
	entered(t)
	out, err := exec.Command("strace", "-qq", "-o", "/dev/null", "-e", "trace=prctl", "-e", "inject=prctl:error=EPERM:when=1",
		"hutch", "run", "--net", "host", "host", "cat", "/proc/self/timerslack_ns").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != strconv.Itoa(usualTimerSlack) {
		t.Errorf("the timer slack of the application is %s, %v", out, err)
	}
}

// hutch-pull, stopped as nothing it reads could, ends with hutch; and the secrets
// among the variables of the caller are not in its memory.
func TestPullEndsWithHutch(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	home := t.TempDir()
	cmd := exec.Command("hutch", "image", "pull", silent.Addr().String()+"/a/b")
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "SECRET=hunter2")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	conn, err := silent.Accept() // by now it has given everything up
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	pull := childOfThread(t, cmd.Process.Pid, "*")
	if os.Geteuid() == 0 { // others may not look
		env, err := os.ReadFile("/proc/" + strconv.Itoa(pull) + "/environ")
		if err != nil || bytes.Contains(env, []byte("hunter2")) {
			t.Errorf("its environment is %q, %v", env, err)
		}
	}
	if err := unix.Kill(pull, unix.SIGSTOP); err != nil && os.Geteuid() == 0 {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	await(t, "the end of hutch-pull", func() bool {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pull) + "/stat")
		return err != nil || bytes.Contains(stat, []byte(") Z "))
	})
}
