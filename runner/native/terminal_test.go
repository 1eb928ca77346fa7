package native

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/plan"
)

// openTerminal makes a pair of pseudo-terminals in raw mode, pty(7).
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	m, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	master = os.NewFile(uintptr(m), "master")
	if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(m, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	s, err := unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Without line mode what is pushed counts as input at once.
	mode, err := unix.IoctlGetTermios(s, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	mode.Lflag &^= unix.ICANON | unix.ECHO | unix.ISIG
	if err := unix.IoctlSetTermios(s, unix.TCSETS, mode); err != nil {
		t.Fatal(err)
	}
	return master, os.NewFile(uintptr(s), "slave")
}

// runOn runs s with a terminal as its input.
func runOn(t *testing.T, s *runner.Spec, in *os.File) string {
	t.Helper()
	var out bytes.Buffer
	box := runner.NewSandbox(context.Background(), New(), s)
	box.Stdin, box.Stdout, box.Stderr = in, &out, os.Stderr
	if r, err := box.Run(); err != nil || r.ExitCode == nil || *r.ExitCode != 0 {
		t.Fatalf("%v %v", r, err)
	}
	return out.String()
}

// runWithout runs s with the steps of one kind left out of its plan, and
// returns the output. The program writes to a pipe that holds it all.
func runWithout(t *testing.T, s *runner.Spec, kinds ...plan.Kind) string {
	t.Helper()
	return runChanged(t, s, func(p *plan.Plan) { p.Steps = drop(p.Steps, kinds...) })
}

func runChanged(t *testing.T, s *runner.Spec, change func(*plan.Plan)) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := startChangedOn(s, w, change, nil)
	w.Close()
	if err != nil {
		t.Fatalf("%v (%s)", err, runner.Hint(err))
	}
	if r, err := b.Wait(); err != nil || r.ExitCode == nil || *r.ExitCode != 0 {
		t.Fatalf("%v %v", r, err)
	}
	buf := make([]byte, 1<<16)
	n, _ := r.Read(buf)
	return string(buf[:n])
}
