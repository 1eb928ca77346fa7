package native

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/plan"
)

// An abstract socket of the host's is out of reach, with the host's network
// too, where only the Landlock scope stands between.
func TestAbstractSocketsOfTheHost(t *testing.T) {
	name := newMark()
	l, err := net.Listen("unix", "@"+name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dial := func(network string) *runner.Spec {
		s := newSpec(t, "dial", name)
		s.Network = network
		return s
	}
	if out := runBox(t, dial(runner.NetworkNone), "").out; errno(strings.TrimSpace(out)) != unix.ECONNREFUSED {
		t.Errorf("with a network of its own: %q", out)
	}
	if out := runBox(t, dial(runner.NetworkHost), "").out; errno(strings.TrimSpace(out)) != unix.EPERM {
		t.Errorf("with the host's network: %q", out)
	}
	open := dial(runner.NetworkHost)
	open.Landlock.Scopes = runner.Omit
	if out := runBox(t, open, "").out; out != "0\n" {
		t.Errorf("it does not bite: %q", out)
	}
}

// No signal leaves a box: other processes have no number in it.
func TestSignalsToTheHost(t *testing.T) {
	victim := exec.Command("sleep", "100")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { victim.Process.Kill(); victim.Wait() }()
	other := startBox(t, newSpec(t, "stay", "100"))
	var lines []string
	for _, pid := range []int{victim.Process.Pid, other.Process.PID(), -victim.Process.Pid} {
		lines = append(lines, fmt.Sprintf("%d %d 0", unix.SYS_KILL, pid), fmt.Sprintf("%d %d 0", unix.SYS_PIDFD_OPEN, pid))
	}
	// Everybody: in the box this is nobody but process 1, which is spared.
	lines = append(lines, fmt.Sprintf("%d -1 9", unix.SYS_KILL))
	for i, e := range ask(t, false, lines) {
		if e != unix.ESRCH && e != unix.EINVAL {
			t.Errorf("%s: %v", lines[i], e)
		}
	}
	// The box's own parent is process 1, whose parent is nobody.
	if err := victim.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the host's process: %v", err)
	}
	other.end(t)
}

// Shared memory, semaphores, queues and /dev/shm are each box's own.
func TestSharedMemoryOfOthers(t *testing.T) {
	key := fmt.Sprint(1 + rand.IntN(1<<30))
	want := "0 0 0 0 0\n"
	// The host has all of them, and so has another box.
	if got := outside(t, "", "share", key); got != want {
		t.Fatalf("outside: %q", got)
	}
	defer outside(t, "", "share", key, "clean")
	taken := fmt.Sprintf("%d %[1]d %[1]d %[1]d %[1]d\n", int(unix.EEXIST))
	if got := outside(t, "", "share", key); got != taken {
		t.Errorf("it does not bite: outside again: %q", got)
	}
	for range 2 {
		got := runBox(t, unfiltered(newSpec(t, "share", key)), "").out
		if got != want {
			t.Errorf("inside: %q", got)
		}
	}
	// Without an IPC namespace of its own the box would meet the host's.
	got := runChanged(t, unfiltered(newSpec(t, "share", key)), func(p *plan.Plan) {
		for i := range p.Steps {
			if p.Steps[i].Kind == plan.Unshare {
				p.Steps[i].Bits &^= unix.CLONE_NEWIPC
			}
		}
	})
	if f := strings.Fields(got); f[0] == "0" || f[3] == "0" {
		t.Errorf("it does not bite: without an IPC namespace: %q", got)
	}
}

// The network is a loopback of the box's own, which is up.
func TestNetwork(t *testing.T) {
	s := newSpec(t, "cat", "/proc/net/dev")
	out := runBox(t, s, "").out
	if n := strings.Count(out, ":"); n != 1 || !strings.Contains(out, "lo:") {
		t.Errorf("interfaces: %s", out)
	}
	s.Network = runner.NetworkHost
	host, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if out := runBox(t, s, "").out; strings.Count(out, ":") != len(host) {
		t.Errorf("the host's interfaces: %s", out)
	}
	s = newSpec(t, "cat", "/proc/net/fib_trie")
	if out := runBox(t, s, "").out; !strings.Contains(out, "127.0.0.1") {
		t.Errorf("loopback is down: %q", out)
	}
}
