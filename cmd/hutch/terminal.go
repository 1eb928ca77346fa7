package main

import (
	"bytes"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// A terminal is the caller's, while an application in a box has one of its own
// and this one only passes bytes on.
//
//   - It is raw while the application runs and has the foreground, and as it
//     was found at every other moment: when hutch is stopped, and after every
//     end. A process of its own sees to it where hutch is killed (terminal_unsafe.go).
//   - Ctrl-C and Ctrl-Z go inside as bytes, where the other terminal makes signals
//     of them. When that stops the application hutch stops too, so that the
//     shell outside has it as a job; when hutch goes on, so does the application.
type terminal struct {
	fd    int // the caller's, -1 when it is no terminal
	found unix.Termios
	box   *runner.Sandbox
	guard *guard
	// booting: there is no application yet to have Ctrl-C.
	booting bool
	// suspended: suspend has stopped hutch, and set SIGTSTP to what it usually does.
	suspended bool
	tstp      sigaction // what it did before
	// changes are SIGWINCH, SIGTSTP and SIGCONT.
	changes chan os.Signal
}

// wantsTerminal decides whether the application gets a terminal: as it was
// told, or where hutch has one on both sides.
func (q *request) wantsTerminal() bool {
	switch q.tty {
	case "yes":
		return true
	case "no":
		return false
	}
	return isTerminal(os.Stdin) && isTerminal(os.Stdout)
}

// terminalSettings are the flags about the terminal.
func (q *request) terminalSettings() []setting {
	on := func(value string) func(*runner.Override, string) error {
		return func(*runner.Override, string) error {
			q.tty = value
			return nil
		}
	}
	return []setting{
		{name: "tty", alias: "t", usage: "give the application a terminal of its own (default: where standard input and output are terminals)", on: true, set: on("yes")},
		{name: "no-tty", alias: "T", usage: "leave the three standard streams as they are", on: true, set: on("no")},
		{name: "interactive", alias: "i", usage: "accepted for habit: standard input is always the application's", on: true, set: func(*runner.Override, string) error { return nil }},
		{name: "it", usage: "the same as -i -t", on: true, set: on("yes")},
	}
}

// askTerminal has the Spec ask for a terminal of the caller's size.
func (q *request) askTerminal() {
	if !q.wantsTerminal() {
		return
	}
	size := terminalSize()
	q.override.Terminal = &size
	for _, e := range q.override.Env {
		if strings.HasPrefix(e, "TERM=") {
			return
		}
	}
	term := os.Getenv("TERM")
	if term == "" {
		term = "xterm"
	}
	q.override.Env = append([]string{"TERM=" + term}, q.override.Env...)
}

// listen keeps the signals that go to the application. Its terminal's size is
// told by another way.
func (q *request) listen() { listen(q.override.Terminal != nil) }

// terminalSize is that of the caller's terminal, 24 by 80 without one.
func terminalSize() runner.Size {
	for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if w, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && w.Row > 0 && w.Col > 0 {
			return runner.Size{Rows: w.Row, Columns: w.Col}
		}
	}
	return runner.Size{Rows: 24, Columns: 80}
}

// openTerminal takes the caller's terminal over. Call close on every way out.
// While a guest is booting, Ctrl-C is still hutch's.
func openTerminal(booting bool) (*terminal, error) {
	t := &terminal{fd: -1, booting: booting, changes: make(chan os.Signal, 16)}
	if found, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS); err == nil {
		t.fd, t.found = int(os.Stdin.Fd()), *found
		if t.guard, err = newGuard(t.fd, found); err != nil {
			return nil, &runner.Error{Stage: runner.StageStart, Step: "start the guard of the terminal", Err: err, Hint: "the machine is out of processes or memory; or use --no-tty"}
		}
	}
	signal.Notify(t.changes, unix.SIGWINCH, unix.SIGTSTP, unix.SIGCONT)
	t.raw()
	return t, nil
}

// raw makes the terminal pass every byte on, as cfmakeraw(3) does. Where hutch
// is started in the background this stops it until it is in the foreground
// (SIGTTOU), as it should.
func (t *terminal) raw() {
	if t.fd < 0 {
		return
	}
	r := t.found
	r.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	r.Oflag &^= unix.OPOST
	r.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	r.Cflag = r.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	r.Cc[unix.VMIN], r.Cc[unix.VTIME] = 1, 0
	if t.booting {
		r.Lflag |= unix.ISIG
		r.Cc[unix.VSUSP] = 0 // _POSIX_VDISABLE: who would wake the boot up?
	}
	unix.IoctlSetTermios(t.fd, unix.TCSETSW, &r)
}

// restore puts the terminal back as it was found, once what was written has
// been shown. In the background that has been done already.
func (t *terminal) restore() {
	if t.fd >= 0 && t.job() != elsewhere {
		unix.IoctlSetTermios(t.fd, unix.TCSETSW, &t.found)
	}
}

// Where a terminal's keys go.
const (
	here      = iota // to this job, or it is no job's
	elsewhere        // to another job: this one is in the background
	nowhere          // nobody has it any more
)

// job asks the terminal, tcgetpgrp(3).
func (t *terminal) job() int {
	group, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	switch {
	case err == unix.EIO:
		return nowhere
	case err == nil && group != unix.Getpgrp():
		return elsewhere
	}
	return here
}

// Read reads what is typed, and waits while that is for another job: EIO is what
// the kernel answers who ignores SIGTTIN, read(2). A job that the shell brings
// back while it runs gets no SIGCONT.
func (t *terminal) Read(b []byte) (int, error) {
	for {
		n, err := os.Stdin.Read(b)
		if n > 0 || t.fd < 0 || !errors.Is(err, unix.EIO) || t.job() != elsewhere {
			return n, err
		}
		for t.job() == elsewhere {
			time.Sleep(20 * time.Millisecond)
		}
		if t.job() == here {
			t.raw()
			t.box.Resize(terminalSize())
		}
	}
}

// close gives the terminal back for good.
func (t *terminal) close() {
	if t == nil {
		return
	}
	signal.Stop(t.changes)
	t.restore()
	t.guard.dismiss()
}

// follow passes changes on to box until that has ended.
func (t *terminal) follow(box *runner.Sandbox) {
	t.box = box
	if t.booting {
		t.booting = false
		t.raw()
	}
	var stopped <-chan struct{}
	if p, ok := box.Process.(runner.TerminalProcess); ok {
		stopped = p.Stopped()
	}
	// In the background hutch goes on, and leaves the terminal alone. To be stopped
	// there would keep the application from what a signal asks of it.
	signal.Ignore(unix.SIGTTIN, unix.SIGTTOU)
	// What changed while the box was made.
	box.Resize(terminalSize())
	go func() {
		runtime.LockOSThread() // the signal of suspend is this thread's
		for {
			select {
			case <-stopped:
				t.suspend()
			case sig := <-t.changes:
				switch sig {
				case unix.SIGWINCH:
					box.Resize(terminalSize())
				case unix.SIGTSTP:
					box.Signal(unix.SIGTSTP)
					if stopped == nil {
						t.suspend()
					}
				case unix.SIGCONT:
					t.resume()
				}
			}
		}
	}()
}

// suspend stops hutch and its whole job, as the application has been. The kernel
// drops SIGTSTP, unlike SIGSTOP, where no shell is left to have the job go on,
// setpgid(2). It has a stopped job go on when its shell ends, but not one of
// which some threads are still about to stop: so the shell's end is SIGCONT.
func (t *terminal) suspend() {
	t.restore()
	unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGCONT), 0, 0, 0)
	if orphaned() {
		t.resume()
		return
	}
	t.suspended = true
	t.tstp = usualAction(unix.SIGTSTP)
	unix.Kill(0, unix.SIGTSTP)
	// Here hutch goes on: SIGCONT, which is also in changes, does the rest, but
	// where it came before the stop.
	if orphaned() {
		t.resume()
	}
}

// orphaned says that no shell has hutch as a job, so that nobody would have it
// go on after a stop: it was started by a window, by ssh or as a session of its
// own.
func orphaned() bool {
	group := unix.Getpgrp()
	session, _ := unix.Getsid(0)
	for pid := os.Getppid(); pid > 1; pid = parent(pid) {
		if s, err := unix.Getsid(pid); err != nil || s != session {
			return true
		}
		if g, err := unix.Getpgid(pid); err != nil || g != group {
			return err != nil
		}
	}
	return true
}

// parent is the parent of pid, 0 where that is not known, proc_pid_stat(5).
func parent(pid int) int {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(fields[1])
	return ppid
}

// resume goes on after a stop, whoever stopped hutch: with the terminal, or
// without it in the background, as after bg or kill.
func (t *terminal) resume() {
	unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0)
	if t.suspended {
		setAction(unix.SIGTSTP, t.tstp)
	}
	if t.fd >= 0 && t.job() == here {
		t.raw()
	}
	t.box.Resize(terminalSize())
	if t.suspended && orphaned() { // as the kernel does when the shell of a stopped job ends, setpgid(2)
		t.box.Signal(unix.SIGHUP)
	}
	t.suspended = false
	t.box.Signal(unix.SIGCONT)
}
