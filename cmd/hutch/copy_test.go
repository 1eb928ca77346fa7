package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Whenever hutch is killed, a copy's target is what it was, and no process of
// the copy is left: that the end of all tests shows.
func TestCopyKilled(t *testing.T) {
	t.Parallel()
	root := smallRoot(t)
	for _, tt := range []struct {
		name, script string
		when         func(dir string) bool
	}{
		{"while the application runs", `echo new >/out; echo ready; sleep 100`, func(string) bool { return true }},
		{"while the copy is made", `dd if=/dev/zero of=/out bs=1M count=300 2>/dev/null; echo ready`, func(dir string) bool {
			// The target's own temporary file, with something in it.
			made, _ := filepath.Glob(dir + "/.hutch-*")
			if len(made) == 0 {
				return false
			}
			info, err := os.Stat(made[0])
			return err == nil && info.Size() > 0
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			target := filepath.Join(dir, "target")
			if err := os.WriteFile(target, []byte("before"), 0o644); err != nil {
				t.Fatal(err)
			}
			p := begin(t, "run", "--disk", "400M", "--copy-out", "/out:"+target, root, "sh", "-c", tt.script)
			for end := time.Now().Add(20 * time.Second); !tt.when(dir); {
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
		})
	}
}

// More than the box may write is an error before the application starts.
func TestCopyInFillsTheDisk(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(file, make([]byte, 3<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	p := launch(t, "run", "--disk", "2M", "--copy-in", file+":/big", smallRoot(t), "echo", "started")
	out, status := p.end(t)
	if out != "" || status != 125 || !strings.Contains(p.stderr.String(), "no space left") {
		t.Errorf("%q, %d, %s", out, status, &p.stderr)
	}
}
