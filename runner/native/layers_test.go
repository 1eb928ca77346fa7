package native

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// layerImage is a tree as an EROFS image, made by the format's own authors.
func layerImage(t *testing.T, tree string) string {
	t.Helper()
	path := tempDir(t) + "/fs.erofs"
	cmd := exec.Command("mkfs.erofs", path, tree)
	cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/sbin:"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// A layer that is an image is stacked like one that is a directory: its owners
// are the box's, what is written goes elsewhere, and no mount is left.
func TestLayerImage(t *testing.T) {
	if !isRoot() {
		t.Skip("only root mounts an image: TestLayerImageNeedsRoot")
	}
	over := tempDir(t)
	write(t, over+"/over", "image")
	if err := os.Chown(over+"/over", 7, 8); err != nil {
		t.Fatal(err)
	}
	top := layerImage(t, over)
	for name, lowers := range map[string][]string{
		"alone": {layerImage(t, probeRoot)}, "above a directory": {top, probeRoot}, "below one": {probeRoot, top},
	} {
		t.Run(name, func(t *testing.T) {
			before := takeTrace(t)
			sum := digests(t, lowers)
			s := newSpec(t, "make", "/new")
			s.Root.Lowers = lowers
			runBox(t, s, "")
			if name != "alone" {
				s := newSpec(t, "cat", "/over")
				s.Root.Lowers = lowers
				if got := runBox(t, s, "").out; got != "image" {
					t.Errorf("cat: %q", got)
				}
			}
			if got := digests(t, lowers); got != sum {
				t.Error("a box has changed the image")
			}
			before.check(t, name)
		})
	}
	// A directory of that name is a directory, and a file that is no image is refused.
	odd := filepath.Join(tempDir(t), "fs.erofs")
	if err := exec.Command("cp", "-a", probeRoot, odd).Run(); err != nil {
		t.Fatal(err)
	}
	s := newSpec(t, "exit", "0")
	s.Root.Lowers = []string{odd}
	runBox(t, s, "")
	bad := filepath.Join(tempDir(t), "fs.erofs")
	write(t, bad, strings.Repeat("x", 8192))
	s.Root.Lowers = []string{bad}
	_, err := tryBox(s, "")
	if e := asError(t, err); e.Hint == "" || !strings.Contains(e.Error(), bad) {
		t.Errorf("no image: %v", err)
	}
}

func digests(t *testing.T, paths []string) string {
	t.Helper()
	var all bytes.Buffer
	for _, p := range paths {
		var st unix.Stat_t
		if unix.Stat(p, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(b)
			all.Write(sum[:])
		}
	}
	return all.String()
}

// Who may not mount is told so before anything starts.
func TestLayerImageNeedsRoot(t *testing.T) {
	if isRoot() {
		t.Skip("root may mount one")
	}
	s := newSpec(t, "exit", "0")
	s.Root.Lowers = []string{layerImage(t, probeRoot)}
	_, err := tryBox(s, "")
	if e := asError(t, err); e.Stage != runner.StagePrepare || !strings.Contains(e.Error(), "only root") || !strings.Contains(e.Hint, "--store-format dir") {
		t.Errorf("%v, %+v", err, e)
	}
}
