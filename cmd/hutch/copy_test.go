package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Whenever hutch is killed, a copy's target is what it was, no process of the
// copy is left (that the end of all tests shows), and nothing beside the target:
// of a file at once, of a directory when somebody else copies, or collects.
func TestCopyKilled(t *testing.T) {
	t.Parallel()
	root := smallRoot(t)
	const large = `yes not-a-hole | head -c 314572800 >/out/file; echo ready` // zeros would become one
	for _, tt := range []struct {
		name, source, script string
		when                 func(dir string, pid int) bool
		collect              []string // by which command what is left goes; nil: nothing is left
	}{
		{"while the application runs", "/out", `echo new >/out; echo ready; sleep 100`, func(string, int) bool { return true }, nil},
		{"while a file is copied", "/out/file", "mkdir /out; " + large, unnamedIn, nil},
		{"while a directory is copied", "/out", "mkdir /out; " + large, namedIn, []string{"gc"}},
		{
			"and a directory again", "/out", "mkdir -p /out/sub; chmod 500 /out/sub; " + large, namedIn,
			[]string{"run", "--copy-out", "/etc/passwd:" + filepath.Join(t.TempDir(), "elsewhere"), root, "true"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			target := filepath.Join(dir, "target")
			isDir := tt.collect != nil
			if err := os.WriteFile(target, []byte("before"), 0o644); err != nil {
				t.Fatal(err)
			}
			to := target
			if isDir {
				to = filepath.Join(dir, "new")
			}
			p := begin(t, "run", "--disk", "400M", "--copy-out", tt.source+":"+to, root, "sh", "-c", tt.script)
			for end := time.Now().Add(20 * time.Second); !tt.when(dir, p.Process.Pid); {
				if time.Now().After(end) {
					t.Fatal("the copy was never seen")
				}
			}
			if err := p.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if _, status := p.end(t); status != -1 {
				t.Fatalf("hutch ended with %d before it was killed", status)
			}
			if data, err := os.ReadFile(target); string(data) != "before" {
				t.Errorf("the target has %d bytes, %v", len(data), err)
			}
			if isDir {
				if out, err := exec.Command("hutch", tt.collect...).CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// unnamedIn says that the process writes a file of dir that has no name.
func unnamedIn(dir string, pid int) bool {
	fds := fmt.Sprintf("/proc/%d/fd/", pid)
	entries, _ := os.ReadDir(fds)
	for _, e := range entries {
		path, err := os.Readlink(fds + e.Name())
		if err != nil || !strings.HasPrefix(path, dir+"/#") {
			continue
		}
		info, err := os.Stat(fds + e.Name())
		return err == nil && info.Size() > 0
	}
	return false
}

// namedIn says that the directory of a copy is there, with something in it.
func namedIn(dir string, _ int) bool {
	made, _ := filepath.Glob(dir + "/.hutch-*/file")
	if len(made) == 0 {
		return false
	}
	info, err := os.Stat(made[0])
	return err == nil && info.Size() > 0
}

// More than the box may write is an error before the application starts.
func TestCopyInFillsTheDisk(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(file, bytes.Repeat([]byte{1}, 3<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	p := launch(t, "run", "--disk", "2M", "--copy-in", file+":/big", smallRoot(t), "echo", "started")
	out, status := p.end(t)
	if out != "" || status != 125 || !strings.Contains(p.stderr.String(), "no space left") {
		t.Errorf("%q, %d, %s", out, status, &p.stderr)
	}
}
