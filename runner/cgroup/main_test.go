package cgroup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// helpers are what this test binary does when it is started as something else.
const helperVar = "CGROUP_TEST_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(helperVar) {
	case "":
		os.Exit(m.Run())
	case "rootless":
		helperRootless()
	case "die":
		helperDie()
	}
	fmt.Fprintln(os.Stderr, "unknown helper")
	os.Exit(2)
}

// requireGroups skips where this user was given no groups: what then has to
// be said is TestWithoutDelegation's business. Root always has some.
func requireGroups(t testing.TB) {
	t.Helper()
	lay, err := readLayout()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 || os.Getenv(guestVar) != "" || len(lay.v1) == 0 || lay.v1[0].self != "" && writable(lay.v1[0].self) {
		return
	}
	t.Skip("no control group is delegated to this user")
}

// newGroup makes a group that is gone after the test.
func newGroup(t testing.TB, l Limits, opt Options) *Group {
	t.Helper()
	requireGroups(t)
	g, err := New("", l, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cleanUp(t, g) })
	return g
}

func cleanUp(t testing.TB, g *Group) {
	paths := g.Paths()
	if err := g.Kill(); err != nil {
		t.Error(err)
	}
	if err := g.Remove(); err != nil {
		t.Error(err)
	}
	for _, p := range paths {
		if exists(p) {
			t.Errorf("%s is left", p)
		}
	}
}

// A box is a shell that waits in the group before it runs its script.
type box struct {
	*exec.Cmd
	in  io.WriteCloser
	out strings.Builder
}

func start(t testing.TB, g *Group, script string) *box {
	t.Helper()
	b := &box{Cmd: exec.Command("/bin/sh", "-c", "read go; "+script)}
	b.Stdout, b.Stderr = &b.out, &b.out
	b.WaitDelay = 2 * time.Second // what a script leaves behind holds the pipes
	in, err := b.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	b.in = in
	b.SysProcAttr = &syscall.SysProcAttr{}
	if fd, ok := g.FD(); ok {
		b.SysProcAttr.UseCgroupFD, b.SysProcAttr.CgroupFD = true, fd
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Add(b.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "\n"); err != nil {
		t.Fatal(err)
	}
	return b
}

// run is start and wait.
func run(t testing.TB, g *Group, script string) (*box, syscall.WaitStatus) {
	t.Helper()
	b := start(t, g, script)
	return b, b.wait(t)
}

func (b *box) wait(t testing.TB) syscall.WaitStatus {
	t.Helper()
	err := b.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		t.Fatal(err)
	}
	return b.ProcessState.Sys().(syscall.WaitStatus)
}

// alive reports whether a process runs, zombies not counted.
func alive(pid int) bool {
	stat, err := readFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.HasPrefix(stat[strings.LastIndexByte(stat, ')')+1:], " Z")
}

func errnoOf(err error) syscall.Errno {
	var e unix.Errno
	errors.As(err, &e)
	return e
}
