package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// TestSignalAfterwards: a signal to hutch alone, when the application is done,
// ends what hutch still does for it; nothing half-made is left, and the result
// says what became of the application.
func TestSignalAfterwards(t *testing.T) {
	t.Parallel()
	root := smallRoot(t)
	const large = `mkdir /out; dd if=/dev/urandom of=/out/file bs=1M count=200 2>/dev/null; echo ready; exit 0`
	growing := func(dir string, _ int) bool {
		list, _ := filepath.Glob(dir + "/*")
		hidden, _ := filepath.Glob(dir + "/.*")
		for _, f := range append(list, hidden...) {
			if fi, err := os.Lstat(f); err == nil && fi.Size() > 0 && fi.Mode().IsRegular() {
				return true
			}
		}
		return false
	}
	keep := "afterwards-" + filepath.Base(t.TempDir())
	for _, tt := range []struct {
		name string
		args func(dir string) []string
		when func(dir string, pid int) bool
		sig  syscall.Signal
		step string
	}{
		{"diff", func(d string) []string { return []string{"--diff", d + "/new.tar.gz"} }, growing, unix.SIGTERM, "diff file "},
		{"diff, SIGINT", func(d string) []string { return []string{"--diff", d + "/new.tar.gz"} }, growing, unix.SIGINT, "diff file "},
		{"diff of what is kept", func(d string) []string { return []string{"--keep", keep, "--diff", d + "/new.tar.gz"} }, growing, unix.SIGTERM, "diff file "},
		{"copy of a file", func(d string) []string { return []string{"--copy-out", "/out/file:" + d + "/new"} }, unnamedIn, unix.SIGTERM, "copy out "},
		{"copy of a directory", func(d string) []string { return []string{"--copy-out", "/out:" + d + "/new"} }, namedIn, unix.SIGHUP, "copy out "},
		{
			"the second thing too", func(d string) []string {
				return []string{"--copy-out", "/out:" + d + "/new", "--diff", d + "/new.tar.gz"}
			}, namedIn, unix.SIGTERM, "copy out ",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir, result := t.TempDir(), filepath.Join(t.TempDir(), "result.json")
			args := append([]string{"run", "--disk", "300M", "--result", result}, tt.args(dir)...)
			if strings.Contains(tt.name, "kept") {
				args = append(args[:1:1], args[3:]...) // no cap, which an ordinary user cannot have
				defer exec.Command("hutch", "keep", "rm", keep).Run()
			}
			p := begin(t, append(args, root, "sh", "-c", large)...)
			for end := time.Now().Add(20 * time.Second); !tt.when(dir, p.Process.Pid); {
				if time.Now().After(end) {
					t.Fatalf("nothing was made: %s", &p.stderr)
				}
			}
			if err := p.Process.Signal(tt.sig); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, status := p.end(t)
			if took := time.Since(began); took > slow {
				t.Errorf("took %v", took)
			}
			text := p.stderr.String()
			if status != 125 || !strings.Contains(text, tt.step) || !strings.Contains(text, ": interrupted; nothing of it is left\nhint: ") {
				t.Errorf("status %d: %s", status, text)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
			if r := readResult(t, result); r.Cause != runner.Exited || r.ExitCode == nil || *r.ExitCode != 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}
