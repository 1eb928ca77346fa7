// Package umlguest boots Debian's User Mode Linux on the host's own files,
// without hutch: a kernel for tests and measurements that need another than the
// host's, with cgroup v2 alone, with project quotas or with systemd.
package umlguest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"time"

	"hutch/runner/host"
)

// Kernel is the program's name, in Debian's package user-mode-linux.
const Kernel = "linux.uml"

// A Guest is one such machine. Its root is the host's, read-only.
type Guest struct {
	Memory string // as the kernel reads it: "256M"
	Init   string // the program that is process 1; it powers the machine off
	Disk   string // a file, /dev/ubda
	Dir    string // for the kernel's own files
}

// Run boots g and waits until it has powered itself off, or until ctx ends. The
// console is what process 1 and the kernel printed, with a line feed alone at
// the end of each line, whether or not there is an error, which exec.ErrNotFound
// is without the kernel's program.
func (g Guest) Run(ctx context.Context) (console string, err error) {
	c := exec.CommandContext(ctx, Kernel, "mem="+g.Memory, "rootfstype=hostfs", "ro", "init="+g.Init, "ubd0="+g.Disk,
		"con=null", "con0=null,fd:1", "ssl=null", "loglevel=1", "panic=1")
	c.Env = []string{"HOME=" + g.Dir, "TMPDIR=/dev/shm", "PATH=" + os.Getenv("PATH")}
	c.Dir = g.Dir
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	c.WaitDelay = 5 * time.Second
	if err := c.Start(); err != nil {
		return "", err
	}
	// Spread over processors a boot took 125 s where it takes 27.
	release := host.Together(c.Process.Pid)
	err = c.Wait()
	release()
	return strings.ReplaceAll(out.String(), "\r", ""), err
}
