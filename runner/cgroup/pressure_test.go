package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A real group of v2, here beside the controllers of v1: whoever shares one
// processor with others waits, and a kernel without the files says nothing.
func TestStalled(t *testing.T) {
	lay, err := readLayout()
	if err != nil || lay.v2.mount == "" {
		t.Skipf("no control groups of version 2: %v", err)
	}
	path := filepath.Join(lay.v2.mount, "hutch-test-stalled-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Skipf("no control group is delegated to this user: %v", err)
	}
	defer func() {
		if err := removeTree(path); err != nil {
			t.Error(err)
		}
	}()
	group, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	d := &dir{path: path, fd: int(group.Fd()), v2: true}
	var before Usage
	stalledUsage(d, &before)
	if !exists(path + "/cpu.pressure") {
		if before.Stalled != (Stalled{}) {
			t.Errorf("a kernel that counts nothing says %+v", before.Stalled)
		}
		return
	}
	for range 3 {
		c := exec.Command("sh", "-c", "taskset -p -c 0 $$ >/dev/null; while :; do :; done")
		c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: d.fd, Pdeathsig: unix.SIGKILL}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		defer c.Wait()
		defer c.Process.Kill()
	}
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var u Usage
		stalledUsage(d, &u)
		if u.Stalled.CPU == nil || u.Stalled.Memory == nil || u.Stalled.IO == nil {
			t.Fatalf("%+v", u.Stalled)
		}
		if *u.Stalled.CPU > 0.2 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("three on one processor waited for %v s", *u.Stalled.CPU)
		}
	}
}

func TestStalledText(t *testing.T) {
	for text, want := range map[string]float64{
		"some avg10=4.31 avg60=8.85 avg300=12.25 total=5443730\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7": 5.44373,
		"full avg10=0.00 avg60=0.00 avg300=0.00 total=7":                                                        -1,
		"":              -1,
		"some total=":   -1,
		"some total=-5": -1,
		"some avg10=1":  -1,
	} {
		got := -1.0
		if s := stalled(text); s != nil {
			got = *s
		}
		if got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
