package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A program that is asked what it is may do anything; it is bounded, and what
// it started ends with it.
func TestAskAnything(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ script, want string }{
		"answers": {`echo "version $1"`, ""},
		"fails":   {"echo libfoo.so is missing >&2; exit 127", "--version: exit status 127: libfoo.so is missing"},
		"silent":  {"exit 0", "it says nothing when asked with --version"},
		"floods":  {"exec yes", "--version prints more than 4 MiB"},
		"hangs":   {"(while [ -d $0.alive ]; do touch $0.alive/beat; sleep 0.05; done) & wait", "--version did not end within 5s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "program")
			// Not written here: a child of another test's could hold it open, ETXTBSY.
			write := exec.Command("sh", "-c", "cat >"+path+" && chmod 755 "+path)
			write.Stdin = strings.NewReader("#!/bin/sh\n" + tt.script + "\n")
			if err := write.Run(); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(path+".alive", 0o755); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			out, err := Ask(path, "--version")
			if tt.want == "" && (err != nil || out != "version --version\n") {
				t.Errorf("%q, %v", out, err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if took := time.Since(began); took > 4*askFor {
				t.Errorf("took %v", took)
			}
			if name == "hangs" {
				stopsBeating(t, path+".alive/beat")
			}
		})
	}
}

// stopsBeating fails when the file is made again: somebody lives who makes it.
func stopsBeating(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal("it never lived: ", err)
	}
	time.Sleep(500 * time.Millisecond)
	if _, err := os.Lstat(file); err == nil {
		t.Error("what the program had started lives on")
	}
}

// No guest is given more than the host has, and each whole mebibytes.
func TestMemory(t *testing.T) {
	t.Parallel()
	if got := Memory(100<<20 + 1); got != 101<<20 {
		t.Errorf("%d", got)
	}
	if got := Memory(1 << 50); got >= 1<<50 || got%(1<<20) != 0 || got < 64<<20 {
		t.Errorf("%d", got)
	}
}

// What two build at once has one name and one file: a guest that was told of
// the first could not be shown it if it were replaced.
func TestInitramfsBuiltTwice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	init := filepath.Join(dir, "init")
	if err := os.WriteFile(init, []byte("init"), 0o755); err != nil {
		t.Fatal(err)
	}
	in := Initramfs{Init: init, Dir: dir}
	path, err := in.Path()
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.build(path); err != nil {
		t.Fatal(err)
	}
	if second, err := os.Stat(path); err != nil || !os.SameFile(first, second) {
		t.Errorf("%v: it was replaced", err)
	}
	if left, _ := filepath.Glob(dir + "/.*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
