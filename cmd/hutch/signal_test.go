package main

import (
	"bufio"
	"context"
	"errors"
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

// A run is hutch as a process of its own, whose application has said "ready".
type process struct {
	*exec.Cmd
	out    *bufio.Reader
	stderr strings.Builder
}

// begin starts hutch with args and waits until the application is ready.
func begin(t *testing.T, args ...string) *process {
	t.Helper()
	p := launch(t, args...)
	p.ready(t)
	return p
}

func launch(t *testing.T, args ...string) *process {
	t.Helper()
	// What never ends is killed, and then fails for its status.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	p := &process{Cmd: exec.CommandContext(ctx, "hutch", args...)}
	p.Cmd.Stderr = &p.stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	return p
}

// ready reads the application's first line.
func (p *process) ready(t *testing.T) {
	t.Helper()
	if line, err := p.out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("the application said %q, %v; hutch: %s", line, err, &p.stderr)
	}
}

// end waits for hutch, and returns what else was written and the exit status.
func (p *process) end(t *testing.T) (string, int) {
	t.Helper()
	// Reading ends when nobody holds the pipe any more: also nobody in the box.
	rest, err := io.ReadAll(p.out)
	if err != nil {
		t.Fatal(err)
	}
	err = p.Wait()
	var e *exec.ExitError
	if err != nil && !errors.As(err, &e) {
		t.Fatal(err)
	}
	return string(rest), p.ProcessState.ExitCode()
}

// What is sent to hutch arrives at the application, and its end is hutch's.
func TestSignals(t *testing.T) {
	t.Parallel()
	root := smallRoot(t)
	const idle = `while :; do sleep 0.02; done`
	for _, tt := range []struct {
		name   string
		signal syscall.Signal
		script string
		want   string
		status int
	}{
		{"trapped INT", unix.SIGINT, `trap "echo got; exit 7" INT; echo ready; ` + idle, "got\n", 7},
		{"trapped TERM", unix.SIGTERM, `trap "echo got; exit 7" TERM; echo ready; ` + idle, "got\n", 7},
		{"trapped HUP", unix.SIGHUP, `trap "echo got; exit 7" HUP; echo ready; ` + idle, "got\n", 7},
		{"trapped QUIT", unix.SIGQUIT, `trap "echo got; exit 7" QUIT; echo ready; ` + idle, "got\n", 7},
		{"trapped USR1", unix.SIGUSR1, `trap "echo got; exit 7" USR1; echo ready; ` + idle, "got\n", 7},
		{"trapped USR2", unix.SIGUSR2, `trap "echo got; exit 7" USR2; echo ready; ` + idle, "got\n", 7},
		{"trapped WINCH", unix.SIGWINCH, `trap "echo got; exit 7" WINCH; echo ready; ` + idle, "got\n", 7},
		{"sleep INT", unix.SIGINT, `echo ready; exec sleep `, "", 130},
		{"sleep TERM", unix.SIGTERM, `echo ready; exec sleep `, "", 143},
		{"sleep HUP", unix.SIGHUP, `echo ready; exec sleep `, "", 129},
		{"sleep QUIT", unix.SIGQUIT, `echo ready; exec sleep `, "", 131},
		{"sleep USR1", unix.SIGUSR1, `echo ready; exec sleep `, "", 138},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			mark := ""
			if strings.HasSuffix(tt.script, "sleep ") {
				mark = fmt.Sprintf("32%d%d", tt.signal, os.Getpid())
			}
			p := launch(t, "run", "-e", "SCRIPT="+tt.script+mark, root, "sh", "-c", `trap 'trap "" WINCH; eval "$SCRIPT"' WINCH; `+idle)
			// Passing on begins just after the application's start, and a signal
			// before that ends hutch itself. Only this one is harmless to both.
			heard := make(chan struct{})
			go func() {
				for {
					select {
					case <-heard:
						return
					case <-time.After(5 * time.Millisecond):
						p.Process.Signal(unix.SIGWINCH)
					}
				}
			}()
			p.ready(t)
			close(heard)
			if mark != "" {
				// The shell ignores SIGQUIT and puts SIGINT off until it is sleep.
				await(t, "sleep", func() bool { return countArg(mark) == 1 })
			}
			began := time.Now()
			if err := p.Process.Signal(tt.signal); err != nil {
				t.Fatal(err)
			}
			out, status := p.end(t)
			if out != tt.want || status != tt.status {
				t.Errorf("wrote %q and exited with %d, want %q and %d", out, status, tt.want, tt.status)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			if p.stderr.Len() > 0 {
				t.Errorf("hutch said %q", p.stderr.String())
			}
		})
	}
}

// A hutch that is killed takes the whole box with it, double forks and all.
func TestKilledHutch(t *testing.T) {
	t.Parallel()
	root := smallRoot(t)
	for _, args := range [][]string{
		{"run", root},
		{"run", "--no-init", root},
		{"run", "--timeout", "1h", root},
	} {
		t.Run(strings.Join(args[1:len(args)-1], " "), func(t *testing.T) {
			t.Parallel()
			mark := "31" + strconv.Itoa(os.Getpid()) + strconv.Itoa(len(args[1]))
			script := `(sleep ` + mark + ` &) ; trap "" TERM INT HUP; (setsid 2>/dev/null; sleep ` + mark + `) & echo ready; sleep ` + mark
			p := begin(t, append(slices.Clone(args), "sh", "-c", script)...)
			await(t, "three processes", func() bool { return countArg(mark) >= 3 })
			if err := p.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			p.end(t)
			await(t, "the end of them all", func() bool { return countArg(mark) == 0 })
		})
	}
}

// taken waits until a process has been delivered what was sent to it: of two
// equal signals that wait for it the kernel keeps one, signal(7).
func taken(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	await(t, "the signal to be delivered", func() bool {
		status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		if err != nil {
			return true
		}
		for _, field := range []string{"SigPnd:\t", "ShdPnd:\t"} {
			_, mask, _ := strings.Cut(string(status), field)
			if n, err := strconv.ParseUint(mask[:min(len(mask), 16)], 16, 64); err == nil && n&(1<<(sig-1)) != 0 {
				return false
			}
		}
		return true
	})
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

// countArg is the number of processes whose last argument is arg.
func countArg(arg string) (n int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil && strings.HasSuffix(string(data), "\x00"+arg+"\x00") {
			n++
		}
	}
	return n
}
