package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"hutch/rootfs"
)

func TestProgressLine(t *testing.T) {
	t.Parallel()
	half := rootfs.Progress{Name: "root.tar", Read: 50 << 20, Total: 100 << 20, Written: 200 << 20, Entries: 7}
	unknown := half
	unknown.Total = 0
	for _, c := range []struct {
		p     rootfs.Progress
		width int // 0: a plain line
		want  string
	}{
		{half, 0, "unpacking root.tar: 200 MiB, 7 files, 50 MiB/s, 50 %, 4s left"},
		{unknown, 0, "unpacking root.tar: 200 MiB, 7 files, 50 MiB/s"},
		{half, 80, "unpacking root.tar [##########----------]  50 % 50 MiB/s, 4s left"},
		{half, 60, "unpack…tar [##########----------]  50 % 50 MiB/s, 4s left"},
		{half, 30, "50 % 4s left"},
		{unknown, 40, "unpacking root.tar… 7 files, 50 MiB/s"},
		{rootfs.Progress{Name: "a\x1b[2Jb", Read: 1, Total: 2}, 0, "unpacking a?[2Jb: 0 MiB, 0 files, 0 MiB/s, 50 %, 4s left"},
		{rootfs.Progress{Name: "n", Read: 3, Total: 2, Written: 3}, 0, "unpacking n: 0 MiB, 0 files, 0 MiB/s, 100 %, 0s left"},
	} {
		got := progressLine(c.p, 4*time.Second)
		if c.width > 0 {
			got = progressBar(c.p, 4*time.Second, c.width)
		}
		if got != c.want && c.width != 60 && c.width != 40 || c.width > 0 && utf8.RuneCountInString(got) >= c.width {
			t.Errorf("width %d: %q, want %q", c.width, got, c.want)
		}
	}
	for width := range 200 {
		if got := utf8.RuneCountInString(progressBar(half, time.Second, width)); got >= max(width, 1) {
			t.Errorf("width %d: %d columns", width, got)
		}
	}
}

// slowly hands over an archive that takes longer than hutch stays silent.
func slowly(t *testing.T, to io.WriteCloser, data []byte) {
	t.Helper()
	for part := range 8 {
		from, end := len(data)*part/8, len(data)*(part+1)/8
		if _, err := to.Write(data[from:end]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(250 * time.Millisecond)
	}
	to.Close()
}

// TestProgress: a bar on a terminal, gone in the end; lines without one;
// nothing with -q; and standard output is the application's in any case.
func TestProgress(t *testing.T) {
	t.Parallel()
	root := smallRoot(t)
	tar := filepath.Join(t.TempDir(), "root.tar")
	if out, err := exec.Command("tar", "-cf", tar, "-C", root, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(tar)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		terminal bool
		flags    []string
	}{{"terminal", true, nil}, {"file", false, nil}, {"quiet", true, []string{"-q"}}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			cmd := exec.Command("hutch", append(append([]string{"run"}, c.flags...), "-", "echo", "application")...)
			cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME=")
			var stdout, stderr bytes.Buffer
			cmd.Stdout = &stdout
			done := make(chan struct{})
			if c.terminal {
				master, slave := newTerminal(t)
				cmd.Stderr = slave
				go func() {
					defer close(done)
					io.Copy(&stderr, master)
				}()
				defer master.Close()
				defer slave.Close()
			} else {
				cmd.Stderr = &stderr
				close(done)
			}
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			slowly(t, in, data)
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			if c.terminal {
				cmd.Stderr.(*os.File).Close()
			}
			<-done
			if stdout.String() != "application\n" {
				t.Errorf("standard output: %q", &stdout)
			}
			text := stderr.String()
			switch c.name {
			case "terminal":
				if !strings.Contains(text, "\r\x1b[Kunpacking -: ") || !strings.Contains(text, " MiB/s") || !strings.HasSuffix(text, "\r\x1b[K") {
					t.Errorf("%q", text)
				}
			case "file":
				if !strings.HasPrefix(text, "unpacking -: ") || strings.ContainsAny(text, "\r\x1b") || !strings.HasSuffix(text, "\n") {
					t.Errorf("%q", text)
				}
			case "quiet":
				if text != "" {
					t.Errorf("%q", text)
				}
			}
		})
	}
}

// newTerminal is a pseudoterminal, pty(7).
func newTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}
