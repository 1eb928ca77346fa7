package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An attack is an archive that a careless unpacker carries out into a
// directory beside its own. To add one: a row in attacks; the test shows that
// it bites and that Unpack withstands it.
type attack struct {
	name    string
	entries []entry
	// refused: Unpack must give an error. Otherwise it must succeed, and what
	// the archive names must have been made inside.
	refused bool
	// inside are paths that must then be there.
	inside []string
}

// attacks are aimed at outside, an absolute path, which lies at ../outside
// from the tree.
func attacks(outside string) []attack {
	abs := outside[1:] // as Unpack makes it: below its root
	inRoot := func(e ...entry) []entry {
		var up []entry
		for i, c := range outside {
			if c == '/' && i > 0 {
				up = append(up, dirEntry(outside[1:i]))
			}
		}
		return append(append(up, dirEntry(abs), dirEntry(abs+"/dir")), e...)
	}
	follow := func(e entry) entry { // an entry whose mode and time are set through a link
		return e.with(func(h *tar.Header) { h.Mode = 0o4777 })
	}
	return []attack{
		{"dot-dot", []entry{fileEntry("../outside/new", "x")}, true, nil},
		{"dot-dot in the middle", []entry{dirEntry("a"), fileEntry("a/../../outside/new", "x")}, true, nil},
		{"dot-dot directory", []entry{dirEntry("../outside/newdir")}, true, nil},
		{"absolute", []entry{fileEntry(outside+"/new", "x")}, false, []string{abs + "/new"}},
		{"absolute over the canary", []entry{fileEntry(outside+"/canary", "x")}, false, []string{abs + "/canary"}},
		{"symlink, then through it", inRoot(symlinkEntry("l", outside), fileEntry("l/new", "x")), false, []string{abs + "/new"}},
		{"symlink to nothing, then through it", []entry{symlinkEntry("l", outside), fileEntry("l/new", "x")}, true, nil},
		{"relative symlink", []entry{dirEntry("outside"), symlinkEntry("l", "../outside"), fileEntry("l/new", "x")}, false, []string{"outside/new"}},
		{"chain of symlinks", []entry{
			dirEntry("a"), symlinkEntry("a/up", ".."), symlinkEntry("a/up2", "up/.."), symlinkEntry("out", "a/up2/outside"),
			dirEntry("outside"), fileEntry("out/new", "x"),
		}, false, []string{"outside/new"}},
		{"directory replaced by a symlink", inRoot(
			dirEntry("d"), fileEntry("d/first", "x"), symlinkEntry("d", outside), fileEntry("d/new", "x")), false, []string{abs + "/new"}},
		{"parent replaced by a symlink", inRoot(
			dirEntry("p"), dirEntry("p/dir"), symlinkEntry("p", outside), fileEntry("p/dir/new", "x")), false, []string{abs + "/dir/new"}},
		{"symlink replaced by a file", []entry{symlinkEntry("f", outside+"/canary"), fileEntry("f", "overwritten")}, false, []string{"f"}},
		{"directory through a symlink", inRoot(symlinkEntry("l", outside), dirEntry("l/newdir")), false, []string{abs + "/newdir"}},
		{"mode and time through a symlink", []entry{follow(symlinkEntry("l", outside+"/canary"))}, false, nil},
		{"hard link to outside", []entry{linkEntry("h", outside+"/canary"), fileEntry("h", "overwritten")}, true, nil},
		{"hard link with dot-dot", []entry{linkEntry("h", "../outside/canary"), fileEntry("h", "x")}, true, nil},
		{"hard link through a symlink", []entry{symlinkEntry("l", outside), linkEntry("h", "l/canary"), fileEntry("h", "x")}, true, nil},
		{"hard link to a symlink", inRoot(symlinkEntry("s", outside), linkEntry("t", "s").with(func(h *tar.Header) { h.Mode = 0o755 }), fileEntry("t/new", "x")), false, []string{abs + "/new"}},
		{"symlink through a symlink", inRoot(symlinkEntry("l", outside), symlinkEntry("l/new", "x")), false, []string{abs + "/new"}},
		{"hard link made through a symlink", inRoot(
			fileEntry("f", "x"), symlinkEntry("l", outside), linkEntry("l/new", "f")), false, []string{abs + "/new"}},
		{"fifo through a symlink", inRoot(symlinkEntry("l", outside),
			entry{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "l/new", Mode: 0o666}}), false, []string{abs + "/new"}},
		{"whiteout through a symlink", inRoot(symlinkEntry("l", outside), fileEntry("l/.wh.canary", "")), false, nil},
		{"whiteout of dot-dot", []entry{fileEntry(".wh...", "")}, true, nil},
		{"opaque marker through a symlink", inRoot(symlinkEntry("l", outside), fileEntry("l/.wh..wh..opq", "")), false, nil},
		{"root replaced by a symlink", []entry{symlinkEntry(".", outside), fileEntry("new", "x")}, true, nil},
		{"root replaced by a file", []entry{fileEntry("./", "x").with(func(h *tar.Header) { h.Name = "." })}, true, nil},
		{"long name with dot-dot", []entry{fileEntry(strings.Repeat("./", 200)+"../outside/new", "x")}, true, nil},
	}
}

func TestAttacks(t *testing.T) {
	for _, white := range []Whiteouts{WhiteoutsNone, WhiteoutsOverlay} {
		for _, a := range attacks("/placeholder/outside") {
			t.Run(fmt.Sprintf("%d/%s", white, a.name), func(t *testing.T) { testAttack(t, a.name, white) })
		}
	}
}

func testAttack(t *testing.T, name string, white Whiteouts) {
	base := t.TempDir()
	outside := base + "/outside"
	var a attack
	for _, a = range attacks(outside) {
		if a.name == name {
			break
		}
	}
	data := tarOf(t, a.entries...)

	if strings.HasPrefix(name, "root replaced") {
		// A careless unpacker would unpack beside its root, or fail: what
		// counts is that ours does not lose its own.
	} else {
		resetOutside(t, outside)
		before := snapshot(t, outside)
		naiveUnpack(t, data, base+"/naive")
		if snapshot(t, outside) == before {
			t.Fatal("the attack does not bite: a careless unpacker changed nothing outside")
		}
	}

	resetOutside(t, outside)
	before := snapshot(t, outside)
	tree := base + "/tree"
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Unpack(context.Background(), bytes.NewReader(data), tree,
		UnpackOptions{Whiteouts: white})
	if after := snapshot(t, outside); after != before {
		t.Fatalf("outside was changed:\n%s\nbefore:\n%s", after, before)
	}
	refused := a.refused
	if white == WhiteoutsNone && strings.HasPrefix(name, "whiteout of") {
		refused = false // an odd name like any other
	}
	if refused != (err != nil) {
		t.Fatalf("error: %v", err)
	}
	if err != nil {
		if left, _ := os.ReadDir(tree); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		return
	}
	for _, p := range a.inside {
		if _, err := os.Lstat(tree + "/" + p); err != nil {
			t.Error(err)
		}
	}
}

func resetOutside(t *testing.T, outside string) {
	t.Helper()
	if err := os.RemoveAll(outside); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(outside+"/dir", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, outside+"/canary", []byte("canary"))
	writeFile(t, outside+"/dir/file", []byte("file"))
}

// snapshot describes all that could be changed of a tree.
func snapshot(t testing.TB, root string) string {
	t.Helper()
	if _, err := os.Lstat(root); errors.Is(err, os.ErrNotExist) {
		return "gone"
	}
	var lines []string
	err := filepath.Walk(root, func(p string, fi os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		line := fmt.Sprintf("%s %v %d:%d links %d mtime %v", p, fi.Mode(), st.Uid, st.Gid, st.Nlink, fi.ModTime().UnixNano())
		if fi.Mode().IsRegular() {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %q", b)
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// naiveUnpack is the unpacker that everybody writes first. It goes on after
// errors, as some do. It only ever runs on archives of this test, which aim
// at the test's own temporary directory.
func naiveUnpack(t *testing.T, data []byte, root string) {
	t.Helper()
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(bytes.NewReader(data))
	at := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return root + "/" + name
	}
	for {
		h, err := r.Next()
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			return
		}
		p := at(h.Name)
		dir, base := filepath.Split(p)
		switch {
		case base == ".wh..wh..opq":
			names, _ := os.ReadDir(dir)
			for _, n := range names {
				os.RemoveAll(dir + n.Name())
			}
			continue
		case strings.HasPrefix(base, ".wh."):
			os.RemoveAll(filepath.Join(dir, base[4:]))
			continue
		}
		os.MkdirAll(dir, 0o755)
		switch h.Typeflag {
		case tar.TypeDir:
			os.MkdirAll(p, 0o755)
		case tar.TypeSymlink:
			os.RemoveAll(p)
			os.Symlink(h.Linkname, p)
		case tar.TypeLink:
			os.Link(at(h.Linkname), p)
		case tar.TypeFifo:
			syscall.Mkfifo(p, 0o644)
		case tar.TypeReg:
			if f, err := os.Create(p); err == nil {
				io.Copy(f, r)
				f.Close()
			}
		}
		os.Chmod(p, h.FileInfo().Mode())
		os.Chtimes(p, time.Time{}, h.ModTime)
	}
}

// zeros gives n zero bytes.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n <= 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), z.n)]
	clear(p)
	z.n -= int64(len(p))
	return len(p), nil
}
