package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// A person sits at a real terminal, pty(7): types, and reads what appears.
type person struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	cmd    *exec.Cmd
	found  unix.Termios // as the terminal was set before the program

	mu   sync.Mutex
	seen bytes.Buffer
}

// sit starts a program in a session of its own on a new terminal.
func sit(t *testing.T, name string, args ...string) *person {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t}
	if p.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	p.master = os.NewFile(uintptr(fd), "master")
	p.resize(30, 100)
	p.found = p.modes()
	p.cmd = exec.Command(name, args...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = p.slave, p.slave, p.slave
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	p.cmd.Env = append(os.Environ(), "TERM=xterm", "PS1=outer> ", "HISTFILE=", "HOME="+t.TempDir(), "NO_COLOR=1")
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		p.slave.Close()
		p.master.Close()
	})
	return p
}

func (p *person) read() {
	buf := make([]byte, 64<<10)
	for {
		n, err := p.master.Read(buf)
		p.mu.Lock()
		p.seen.Write(buf[:n])
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *person) resize(rows, columns uint16) {
	p.t.Helper()
	raw, err := p.master.SyscallConn()
	if err != nil {
		p.t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) types(text string) {
	p.t.Helper()
	if _, err := p.master.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
}

// sees waits until what has appeared since the last time matches, and returns
// the match.
func (p *person) sees(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile("(?s)" + pattern)
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		text := p.seen.String()
		if at := re.FindStringIndex(text); at != nil {
			p.seen.Next(at[1])
			p.mu.Unlock()
			return text[at[0]:at[1]]
		}
		p.mu.Unlock()
		if time.Now().After(end) {
			p.t.Fatalf("waited for %q, and saw %q", pattern, text)
		}
	}
}

// modes is how the terminal is set: stty -a.
func (p *person) modes() unix.Termios {
	p.t.Helper()
	m, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return *m
}

// waitModes waits until the terminal is set as it was.
func (p *person) waitModes(want unix.Termios) {
	p.t.Helper()
	for end := time.Now().Add(60 * time.Second); p.modes() != want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("the terminal was left as %+v, and found as %+v", p.modes(), want)
		}
	}
}

// ends waits for the program's end and returns its status.
func (p *person) ends() int {
	p.t.Helper()
	done := make(chan struct{})
	go func() { p.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		p.t.Fatal("it does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// shell is a shell with job control on the terminal.
func shell(t *testing.T) *person {
	t.Helper()
	p := sit(t, "bash", "--norc", "--noprofile", "-i")
	p.sees(`outer> `)
	return p
}

// The application has a terminal of its box, of the caller's size, and hears
// of changes.
func TestTerminalInside(t *testing.T) {
	p := sit(t, "hutch", "run", "host", "--", "sh", "-c",
		`tty; stty size; ls /dev/pts; echo "TERM $TERM"; trap 'stty size; exit 7' WINCH; echo ready; while :; do sleep 0.05; done`)
	p.sees(`/dev/pts/0\r\n30 100\r\n0\s+ptmx\r\nTERM xterm\r\nready`)
	p.resize(41, 123)
	p.sees(`41 123`)
	if status := p.ends(); status != 7 {
		t.Errorf("status %d, want the application's 7", status)
	}
}

// The terminal is as it was found after every kind of end.
func TestTerminalIsGivenBack(t *testing.T) {
	for _, c := range []struct {
		name, command string
		end           func(p *person)
		status        int
	}{
		{"exit", `echo ready; read x; exit 3`, func(p *person) { p.types("\r") }, 3},
		{"Ctrl-C", `echo ready; sleep 100`, func(p *person) { p.types("\x03") }, 130},
		{"killed inside", `echo ready; read x; kill -9 $$`, func(p *person) { p.types("\r") }, 137},
		{"its own modes", `stty raw -echo; echo ready; read x; exit 3`, func(p *person) { p.types("\n") }, 3},
		{"SIGTERM", `echo ready; sleep 100`, func(p *person) { p.cmd.Process.Signal(unix.SIGTERM) }, 143},
		{"SIGHUP", `echo ready; sleep 100`, func(p *person) { p.cmd.Process.Signal(unix.SIGHUP) }, 129},
		{"SIGKILL", `echo ready; sleep 100`, func(p *person) { p.cmd.Process.Signal(unix.SIGKILL) }, -1},
		{"SIGSEGV", `echo ready; sleep 100`, func(p *person) { p.cmd.Process.Signal(unix.SIGABRT) }, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := sit(t, "sleep", "0")
			found := p.modes()
			cmd := exec.Command("hutch", "run", "host", "--", "sh", "-c", c.command)
			p.cmd.Wait()
			cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = p.slave, p.slave, p.slave, p.cmd.Env
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			p.cmd = cmd
			p.sees("ready")
			if p.modes() == found {
				t.Error("the terminal is not raw while the application runs")
			}
			c.end(p)
			if status := p.ends(); status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			p.waitModes(found)
		})
	}
}

// It is given back also where there is nothing to run.
func TestTerminalWithoutARun(t *testing.T) {
	p := shell(t)
	p.types("stty -g; hutch run host /nonexistent; hutch run /nonexistent true; hutch run --nonsense host true; stty -g; echo do\"\"ne\r")
	seen := p.sees(`.*done\r\n`)
	modes := regexp.MustCompile(`[0-9a-f]+(:[0-9a-f]+){10,}`).FindAllString(seen, -1)
	if len(modes) != 2 || modes[0] != modes[1] {
		t.Errorf("stty -g before and after: %q in %q", modes, seen)
	}
	p.types("exit\r")
}

// Ctrl-Z stops hutch as a job of the shell outside, fg has it and the
// application go on, and the terminal is each time what it should be.
func TestTerminalSuspend(t *testing.T) {
	p := shell(t)
	found := p.modes()
	p.types("hutch run host -- bash -c 'trap \"echo went on\" CONT; echo re\"\"ady; while :; do if read x; then echo \"got $x\"; fi; done'\r")
	p.sees(`ready\r\n`)
	for range 3 {
		p.types("one\r")
		p.sees(`got one`)
		p.types("\x1a")
		p.sees(`Stopped.*outer> `)
		p.types("stty -a\r")
		out := p.sees(`-?icanon.*-?echo .*outer> `)
		if strings.Contains(out, "-icanon") || strings.Contains(out, "-echo ") {
			t.Errorf("the terminal is raw while hutch is stopped: %s", out)
		}
		p.resize(33, 90)
		p.types("fg\r")
		p.sees(`went on`)
	}
	p.types("\x03")
	p.sees(`outer> `)
	p.waitModes(found)
	mark := sleepMark()
	p.types("hutch run host -- sleep " + mark + "\r")
	await(t, "the application", func() bool { return inForeground(mark) })
	p.types("\x1a")
	p.sees(`Stopped.*outer> `)
	p.types("kill %1\r")
	await(t, "its end", func() bool { // which the shell tells before a prompt
		p.types("\r")
		p.mu.Lock()
		defer p.mu.Unlock()
		return strings.Contains(p.seen.String(), "Exit 143")
	})
	p.types("exit\r")
}

// In the background the application goes on without the terminal, until it is
// in the foreground again.
func TestTerminalBackground(t *testing.T) {
	p, dir := shell(t), t.TempDir()
	if err := unix.Mkfifo(dir+"/go", 0o600); err != nil {
		t.Fatal(err)
	}
	p.types("hutch run --bind " + dir + ":/mnt host -- sh -c 'echo re\"\"ady; : </mnt/go; " +
		"echo wor\"\"king; read x; echo \"got $x\"; read y; echo \"got $y\"; exit 5'\r")
	p.sees(`ready\r\n`)
	p.types("\x1a")
	p.sees(`Stopped.*outer> `)
	p.types("bg\r")
	p.sees(`hutch run .* &\r\n.*outer> `)
	p.types("echo mi\"\"ne; stty -a\r")
	p.sees(`mine\r\n`)
	if out := p.sees(`-?icanon.*-?echo .*outer> `); strings.Contains(out, "-icanon") || strings.Contains(out, "-echo ") {
		t.Errorf("the terminal is raw while hutch is in the background: %s", out)
	}
	p.types(": >" + dir + "/go\r")
	p.sees(`working[\r\n]`)
	p.types("fg\r")
	p.sees(`hutch run .*\r\n`)
	p.types("one\r")
	p.sees(`got one\r\n`)
	p.types("two\r")
	p.sees(`got two\r\n.*outer> `)
	p.types("echo status $?\r")
	p.sees(`status 5\r\n`)
	p.types("exit\r")
}

// A job that is stopped, or about to be, ends with its shell.
func TestTerminalShellKilled(t *testing.T) {
	for i := range 60 {
		p := shell(t)
		mark := sleepMark()
		p.types("hutch run host -- sleep " + mark + "\r")
		await(t, "the application", func() bool { return inForeground(mark) })
		p.types("\x1a")
		time.Sleep(3*time.Millisecond + time.Duration(i)*50*time.Microsecond) // hutch is stopping
		p.cmd.Process.Kill()
		p.cmd.Wait()
		await(t, "its end", func() bool { return !runs(mark) })
	}
}

// When the terminal is gone, what is stopped beside the application goes on: a
// shell that waits for it would else never see the hang-up.
func TestTerminalHangUp(t *testing.T) {
	p := sit(t, "hutch", "run", "host", "--", "sh", "-c",
		`trap 'exit 9' HUP
		(until grep -qs '^State:.T' /proc/[0-9]*/status; do sleep 0.01; done; echo ready) &
		sh -c 'kill -STOP $$'; echo went on`)
	p.sees(`ready\r\n`)
	p.cmd.Process.Signal(unix.SIGHUP)
	if status := p.ends(); status != 9 {
		t.Errorf("status %d, want the application's 9", status)
	}
}

// runs says that there is a process with this mark, hutch or its application.
func runs(mark string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	return slices.ContainsFunc(files, func(f string) bool {
		data, err := os.ReadFile(f)
		return err == nil && strings.Contains(string(data), "sleep\x00"+mark+"\x00")
	})
}

// sleepMark is a time to sleep that no other process has.
func sleepMark() string { return fmt.Sprintf("33%d%03d", os.Getpid(), marks.Add(1)) }

var marks atomic.Int32

// inForeground says that the sleep with this mark is whom its terminal's keys
// reach: the shell before has let go of it, and the program is not stopped.
// Its fields are those of proc_pid_stat(5).
func inForeground(mark string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if data, err := os.ReadFile(f); err != nil || string(data) != "sleep\x00"+mark+"\x00" {
			continue
		}
		data, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "stat"))
		_, rest, _ := cutLast(string(data), ") ")
		if f := strings.Fields(rest); len(f) > 5 && f[0] != "T" && f[2] == f[5] {
			return true
		}
	}
	return false
}

// The shell inside has jobs of its own.
func TestJobControlInside(t *testing.T) {
	p := sit(t, "hutch", "run", "--env", "PS1=inner> ", "host", "--", "bash", "--norc", "--noprofile", "-i")
	if text := p.sees(`inner> `); strings.Contains(text, "no job control") {
		t.Errorf("bash says %q", text)
	}
	mark := sleepMark()
	p.types("sleep " + mark + "\r")
	await(t, "sleep", func() bool { return inForeground(mark) })
	p.types("\x1a")
	p.sees(`Stopped.*inner> `)
	p.types("jobs\r")
	p.sees(`\[1\]\+\s+Stopped\s+sleep ` + mark + `.*inner> `)
	p.types("bg; fg\r")
	p.sees(`sleep ` + mark)
	await(t, "sleep in the foreground", func() bool { return inForeground(mark) })
	p.types("\x03")
	p.sees(`inner> `)
	p.types("(sleep 0.1; echo late) & wait; exit 5\r")
	p.sees(`late`)
	if status := p.ends(); status != 5 {
		t.Errorf("status %d", status)
	}
}

// What people run at a terminal works.
func TestTerminalPrograms(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for i := range 200 {
		fmt.Fprintf(&text, "line %d\n", i)
	}
	if err := os.WriteFile(filepath.Join(dir, "text"), []byte(text.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, args ...string) *person {
		return sit(t, "hutch", append([]string{"run", "--bind", dir + ":/work:rw", "--workdir", "/work", "host", "--"}, args...)...)
	}
	t.Run("less", func(t *testing.T) {
		p := run(t, "less", "text")
		p.sees(`line 28\r\n`)
		p.types("G")
		p.sees(`line 199`)
		p.types("q")
		if status := p.ends(); status != 0 {
			t.Errorf("status %d", status)
		}
	})
	t.Run("vi", func(t *testing.T) {
		p := run(t, "vi", "-u", "NONE", "new")
		p.sees(`~`)
		p.types("ihello from inside\x1b:wq\r")
		if status := p.ends(); status != 0 {
			t.Errorf("status %d", status)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "new")); err != nil || string(got) != "hello from inside\n" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("top", func(t *testing.T) {
		p := run(t, "top")
		p.sees(`Tasks:.*PID`)
		p.types("q")
		if status := p.ends(); status != 0 {
			t.Errorf("status %d", status)
		}
	})
	t.Run("tmux", func(t *testing.T) {
		p := run(t, "tmux", "-f", "/dev/null", "new-session", "sh -c 'tty; echo in tmux; read x; exit 0'")
		p.sees(`in tmux`)
		p.types("\r")
		p.sees(`exited`)
		if status := p.ends(); status != 0 {
			t.Errorf("status %d", status)
		}
	})
}

// Nothing of a long output is lost, and what comes from a pipe has an end.
func TestTerminalOutput(t *testing.T) {
	p := sit(t, "hutch", "run", "host", "--", "seq", "1", "50000")
	p.sees(`\r\n49999\r\n50000\r\n`)
	if status := p.ends(); status != 0 {
		t.Errorf("status %d", status)
	}
	cmd := exec.Command("hutch", "run", "-t", "host", "--", "sh", "-c", "stty -echo; echo ready; cat; tty")
	cmd.Stdin = strings.NewReader("from a pipe\n")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "/dev/pts/0\r\n") || !strings.Contains(string(out), "from a pipe\r\n") {
		t.Errorf("%q, %v", out, err)
	}
	// -T, or a pipe on either side, leaves the streams alone.
	p = sit(t, "hutch", "run", "-T", "host", "--", "sh", "-c", "tty; echo end")
	p.sees(`not a tty\r\nend`)
	p.ends()
	out, err = exec.Command("hutch", "run", "host", "--", "sh", "-c", "tty; exit 0").Output()
	if err != nil || string(out) != "not a tty\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// A limit of output holds on a terminal too, and a reader that is gone ends
// the run.
func TestTerminalOutputLimit(t *testing.T) {
	p := sit(t, "hutch", "run", "--output-limit", "1000", "--result", "/dev/stderr", "host", "--", "yes")
	p.sees(`"cause":\s*"output-limit"`)
	p.ends()
}

// A Ctrl-C that nobody has read yet, a box that never started, a size of zero:
// the flags' bad input.
func TestTerminalFlags(t *testing.T) {
	for _, args := range [][]string{{"-it"}, {"-i", "-t"}, {"--tty"}, {"-i", "--tty"}} {
		cmd := exec.Command("hutch", append(append([]string{"run"}, args...), "host", "--", "tty")...)
		out, err := cmd.Output()
		if err != nil || string(out) != "/dev/pts/0\r\n" {
			t.Errorf("%v: %q, %v", args, out, err)
		}
	}
	if size := terminalSize(); size == (runner.Size{}) {
		t.Error("a terminal of no size")
	}
	out, err := exec.Command("hutch", "run", "-t=maybe", "host", "tty").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "takes no value") {
		t.Errorf("%s, %v", out, err)
	}
}

// Input that does not end with a line, and what cannot be read, end too.
func TestTerminalInputEnds(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"half a line", `printf abc | hutch run -t host -- sh -c 'stty -echo; echo ready; cat; echo end'`, "ready\r\nabcend\r\n"},
		{"a whole line", `echo abc | hutch run -t host -- sh -c 'stty -echo; echo ready; cat; echo end'`, "abc\r\nend\r\n"},
		{"nothing", `hutch run -t host -- sh -c 'cat; echo end' </dev/null`, "end\r\n"},
		{"a directory", `hutch run -t host -- sh -c 'cat; echo end' </`, "end\r\n"},
		{"closed", `hutch run -t host -- sh -c 'cat; echo end' <&-`, "end\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			cmd := exec.CommandContext(ctx, "sh", "-c", c.line)
			// The shell's children too, where one does not end.
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
			out, err := cmd.Output()
			if err != nil || !strings.HasSuffix(string(out), strings.TrimPrefix(c.want, "ready\r\n")) {
				t.Errorf("%q, %v; want %q at the end", out, err, c.want)
			}
		})
	}
}

// A standard stream that is closed is /dev/null inside, and nothing of hutch's.
func TestClosedStreams(t *testing.T) {
	for fd, line := range []string{
		`hutch run host -- readlink /proc/self/fd/0 <&-`,
		`hutch run host -- sh -c 'x=$(readlink /proc/$$/fd/1); echo "$x" >&2' 2>&1 >&-`,
		`hutch run host -- readlink /proc/self/fd/2 2>&-`,
	} {
		out, err := exec.Command("sh", "-c", line).Output()
		if err != nil || string(out) != "/dev/null\n" {
			t.Errorf("descriptor %d is %q, %v", fd, out, err)
		}
	}
}

// Where no shell could have hutch go on, Ctrl-Z does not stop it, as it would
// not stop another program.
func TestTerminalSuspendOrphaned(t *testing.T) {
	p := sit(t, "hutch", "run", "host", "--", "sh", "-c", `trap 'echo went on' CONT; echo ready; while :; do read x && exit 3; done`)
	p.sees(`ready`)
	p.types("\x1a")
	p.sees(`went on`)
	p.types("x\r")
	if status := p.ends(); status != 3 {
		t.Errorf("status %d", status)
	}
}
