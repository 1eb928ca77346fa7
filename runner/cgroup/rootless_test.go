package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ordinary is a user and group without any rights.
const ordinary = 54321

// helperRootless runs as an ordinary user. It waits until it was put where
// the test wants it, makes a group, and holds a process to its limits.
func helperRootless() {
	_, _ = os.Stdin.Read(make([]byte, 1))
	g, err := New("", Limits{Memory: 24 * mib, Processes: 20, CPUs: 1}, Options{Usage: true})
	if err != nil {
		var e *Error
		fmt.Printf("refused: %v\nremedy: %v\n", err, errors.As(err, &e) && e.Remedy != "")
		os.Exit(3)
	}
	fmt.Println("group:", g.Version(), strings.Join(g.Paths(), " "))
	if err := rootlessBox(g); err != nil {
		fmt.Println("box:", err)
	}
	paths := g.Paths()
	if err := errors.Join(g.Kill(), g.Remove()); err != nil {
		fmt.Println("end:", err)
	}
	for _, p := range paths {
		if exists(p) {
			fmt.Println("left:", p)
		}
	}
	fmt.Println("done")
	os.Exit(0)
}

func rootlessBox(g *Group) error {
	c := exec.Command("/bin/sh", "-c", "read go; exec tail /dev/zero")
	in, err := c.StdinPipe()
	if err != nil {
		return err
	}
	c.SysProcAttr = &syscall.SysProcAttr{}
	if fd, ok := g.FD(); ok {
		c.SysProcAttr.UseCgroupFD, c.SysProcAttr.CgroupFD = true, fd
	}
	if err := c.Start(); err != nil {
		return err
	}
	if err := g.Add(c.Process.Pid); err != nil {
		return err
	}
	_, _ = io.WriteString(in, "\n")
	err = c.Wait()
	killed, errOOM := g.OOMKilled()
	u, errUsage := g.Usage()
	if !killed || errOOM != nil || errUsage != nil || u.User == nil {
		return fmt.Errorf("wait: %v, out of memory: %v, %v, usage: %+v, %v", err, killed, errOOM, u, errUsage)
	}
	return nil
}

// asOrdinary starts the helper as an ordinary user, lets place put it
// somewhere, and returns what it said.
func asOrdinary(t *testing.T, cgroupFD int, place func(pid int)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cgroup")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "helper")
	copyFile(t, os.Args[0], exe)
	c := exec.Command(exe)
	c.Dir = "/"
	c.Env = []string{helperVar + "=rootless", "PATH=" + os.Getenv("PATH")}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinary, Gid: ordinary}}
	if cgroupFD >= 0 {
		c.SysProcAttr.UseCgroupFD, c.SysProcAttr.CgroupFD = true, cgroupFD
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	place(c.Process.Pid)
	_, _ = io.WriteString(in, "\n")
	_ = c.Wait()
	return out.String()
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("delegates as root; an ordinary user has TestWithoutDelegation")
	}
}

// delegate makes groups for the ordinary user below this process's own.
func delegate(t *testing.T) (v2 *dir, v1 []dir) {
	t.Helper()
	lay, err := readLayout()
	if err != nil {
		t.Fatal(err)
	}
	places, err := locate(memory|cpu|pids, Options{Usage: true})
	if err != nil {
		t.Fatal(err)
	}
	_ = lay
	for _, p := range places.parents {
		d, err := p.child(fmt.Sprintf("delegated-%d", os.Getpid()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = killAll([]dir{d})
			if err := removeTree(d.path); err != nil {
				t.Error(err)
			}
		})
		chownAll(t, d.path)
		if d.v2 {
			v2 = &d
		} else {
			v1 = append(v1, d)
		}
	}
	return v2, v1
}

func chownAll(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(entries, nil) {
		p := path
		if name != nil {
			p += "/" + name.Name()
		}
		if err := os.Chown(p, ordinary, ordinary); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRootlessDelegated(t *testing.T) {
	requireRoot(t)
	v2, v1 := delegate(t)
	fd := -1
	if v2 != nil {
		fd = v2.fd
	}
	out := asOrdinary(t, fd, func(pid int) {
		for _, d := range v1 {
			if err := writeAt(d.fd, procsFile, itoa(int64(pid))); err != nil {
				t.Fatal(err)
			}
		}
	})
	if !strings.HasPrefix(out, "group: ") || !strings.HasSuffix(out, "done\n") || strings.Count(out, "\n") != 2 {
		t.Errorf("%s", out)
	}
	for _, path := range strings.Fields(out)[2:] {
		if path != "done" && !strings.Contains(path, "/delegated-") {
			t.Errorf("%s is not in the delegated group", path)
		}
	}
}

// The test above bites: without the delegation the same helper is refused,
// and told what to do.
func TestWithoutDelegation(t *testing.T) {
	if os.Geteuid() != 0 {
		requireRefusal(t)
		return
	}
	begin := time.Now()
	out := asOrdinary(t, -1, func(int) {})
	if !strings.HasPrefix(out, "refused: ") || !strings.Contains(out, "remedy: true") {
		t.Fatalf("%s", out)
	}
	if !strings.Contains(out, "chown -R 54321") && !strings.Contains(out, "Delegate=yes") {
		t.Errorf("the remedy does not say how to delegate: %s", out)
	}
	if d := time.Since(begin); d > 30*time.Second {
		t.Errorf("took %v to say so", d)
	}
}

func requireRefusal(t *testing.T) {
	g, err := New("", Limits{Memory: 24 * mib}, Options{})
	if err == nil {
		cleanUp(t, g) // this user was given some
		return
	}
	var e *Error
	if !errors.As(err, &e) || e.Controller != "memory" || e.Remedy == "" {
		t.Errorf("%v is not explained", err)
	}
}
