package host

import (
	"bufio"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// All processes of a tree are on one processor.
func TestTogether(t *testing.T) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "(sleep 100 & echo ready; wait) & wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	defer func() {
		unix.Kill(-pid, unix.SIGKILL)
		cmd.Wait()
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	release := Together(pid)
	release()
	release()
	var one unix.CPUSet
	if err := unix.SchedGetaffinity(pid, &one); err != nil || one.Count() != 1 {
		t.Errorf("%v: %d processors", err, one.Count())
	}
	if n := setBelow(pid, &one); n != 0 {
		t.Errorf("%d of three processes were elsewhere", n)
	}
	if n := setBelow(pid, &all); all.Count() > 1 && n != 3 {
		t.Errorf("%d processes, want 3", n)
	}
}

// Each processor of a set may be the one, and no other.
func TestPick(t *testing.T) {
	t.Parallel()
	var of, seen unix.CPUSet
	for _, cpu := range []int{0, 3, 64, 130} {
		of.Set(cpu)
	}
	for range 500 {
		one := pick(&of)
		if one.Count() != 1 {
			t.Fatalf("%d processors", one.Count())
		}
		for i := range seen {
			seen[i] |= one[i]
		}
	}
	if seen != of {
		t.Errorf("%v of %v", seen, of)
	}
}
