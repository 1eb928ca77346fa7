package cgroup

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// helperDie makes a group, starts a process in it, tells both, and is killed.
func helperDie() {
	g, err := New("", Limits{Processes: 20, CPUs: 1}, Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	c := exec.Command("sleep", "60")
	c.SysProcAttr = &syscall.SysProcAttr{}
	if fd, ok := g.FD(); ok {
		c.SysProcAttr.UseCgroupFD, c.SysProcAttr.CgroupFD = true, fd
	}
	if err := c.Start(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if err := g.Add(c.Process.Pid); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(c.Process.Pid, strings.Join(g.Paths(), " "))
	if os.Getenv("CGROUP_TEST_LIVE") != "" {
		_, _ = os.Stdin.Read(make([]byte, 1))
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// startOwner runs helperDie and returns what it told.
func startOwner(t *testing.T, env ...string) (c *exec.Cmd, child int, paths []string) {
	t.Helper()
	c = exec.Command(os.Args[0])
	c.Env = append(append(os.Environ(), helperVar+"=die"), env...)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	f := strings.Fields(line)
	if err != nil || len(f) < 2 {
		t.Fatalf("%q, %v", line, err)
	}
	if child, err = strconv.Atoi(f[0]); err != nil {
		t.Fatal(line)
	}
	return c, child, f[1:]
}

func TestSweep(t *testing.T) {
	for _, everywhere := range []bool{false, true} {
		t.Run(fmt.Sprint("everywhere ", everywhere), func(t *testing.T) {
			requireGroups(t)
			// Others sweep the machine, too: hutch gc, and each run with limits. Who
			// was faster than this test has done its work, and it tries again.
			for range 20 {
				if sweepsLeftover(t, everywhere) {
					return
				}
			}
			t.Error("somebody else always sweeps first")
		})
	}
}

// sweepsLeftover leaves a group behind and sweeps it; false is that another
// has done it.
func sweepsLeftover(t *testing.T, everywhere bool) (own bool) {
	t.Helper()
	mine := newGroup(t, Limits{Processes: 20}, Options{})
	live, liveChild, livePaths := startOwner(t, "CGROUP_TEST_LIVE=1")
	dead, deadChild, deadPaths := startOwner(t)
	_ = dead.Wait()
	own = alive(deadChild)
	removed, err := Sweep(everywhere)
	if err != nil {
		t.Error(err)
	}
	for _, p := range deadPaths {
		own = own && slices.Contains(removed, p)
		if exists(p) {
			t.Errorf("%s is left; removed: %v", p, removed)
		}
	}
	if alive(deadChild) {
		t.Errorf("process %d of the dead owner is alive", deadChild)
	}
	for _, p := range append(livePaths, mine.Paths()...) {
		if !exists(p) || slices.Contains(removed, p) {
			t.Errorf("%s of a living owner was removed", p)
		}
	}
	if !alive(liveChild) {
		t.Errorf("process %d of a living owner was killed", liveChild)
	}
	_ = live.Process.Kill()
	_ = live.Wait()
	if _, err := Sweep(everywhere); err != nil {
		t.Error(err)
	}
	noLeftovers(t, live.Process.Pid, dead.Process.Pid)
	return own
}

// noLeftovers looks for groups of these owners, by pid. Those of others are
// not this test's business: hutch may be running beside it.
func noLeftovers(t *testing.T, owners ...int) {
	t.Helper()
	lay, err := readLayout()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range lay.sweepable(false) {
		for _, name := range subgroups(dir) {
			if p, ours := parseName(name); ours && p.pidns == pidNamespace() && slices.Contains(owners, p.pid) {
				t.Errorf("%s/%s is left", dir, name)
			}
		}
	}
}

func TestSweepLeavesStrangers(t *testing.T) {
	requireGroups(t)
	if os.Geteuid() != 0 {
		t.Skip("needs a directory of its own choice")
	}
	lay, err := readLayout()
	if err != nil {
		t.Fatal(err)
	}
	dir := lay.sweepable(false)[0]
	other := nameParts{pidns: 1, pid: 1 << 21, start: 5, n: 1} // of another PID namespace, fresh
	for _, name := range []string{other.String(), "hutch-x", "hutch-1-2-3", "hutch-self"} {
		path := dir + "/" + name
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(path)
		if _, err := Sweep(false); err != nil {
			t.Error(err)
		}
		if !exists(path) {
			t.Errorf("%s was removed", path)
		}
	}
}

func TestNameParts(t *testing.T) {
	name, err := ownName()
	if err != nil {
		t.Fatal(err)
	}
	p, ok := parseName(name)
	if !ok || p.pid != os.Getpid() || p.String() != name || !p.ownerLives() {
		t.Errorf("%s: %+v, %v", name, p, ok)
	}
	if q, ok := parseName(name + ".scope"); !ok || q != p {
		t.Errorf("a scope's name: %+v, %v", q, ok)
	}
	p.start++
	if p.ownerLives() {
		t.Error("the same pid with another start time is said to live")
	}
	for _, bad := range []string{"", "hutch-", "hutch-1-2-3", "hutch-1-2-3-4-5", "hutch-1-0-3-4", "hutch-1--2-3-4", "hutch-a-b-c-d", "x-1-2-3-4", "hutch-1-99999999-3-4"} {
		if p, ok := parseName(bad); ok {
			t.Errorf("%q is taken as %+v", bad, p)
		}
	}
}

func TestZombiesAreDead(t *testing.T) {
	c := exec.Command("true")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	start, err := startTime(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	p := nameParts{pid: c.Process.Pid, start: start}
	for deadline := time.Now().Add(60 * time.Second); p.ownerLives(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a zombie is said to live")
		}
	}
	_ = c.Wait()
}
