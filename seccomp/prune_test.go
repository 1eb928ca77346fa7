package seccomp

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// What is old and Put's goes; what is young, or not Put's, stays.
func TestPrune(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	c, err := OpenCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range byte(3) {
		if err := c.Put(filters(), Key{i}, []byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	half := filters().file(Key{9}) + ".0123456789abcdef"
	for _, name := range []string{half, "notes.txt", strings.Repeat("z", 64) + ".bpf"} {
		if err := os.WriteFile(file(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filters().file(Key{8})
	if err := os.Symlink("notes.txt", file(link)); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-stale - time.Hour)
	for _, name := range []string{filters().file(Key{0}), filters().file(Key{1}), half, "notes.txt", strings.Repeat("z", 64) + ".bpf"} {
		if err := os.Chtimes(file(name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := c.Prune(); n != 3 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	var left []string
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	want := []string{filters().file(Key{2}), link, "notes.txt", strings.Repeat("z", 64) + ".bpf"}
	slices.Sort(want)
	if err != nil || !slices.Equal(left, want) {
		t.Errorf("%v, %v", left, err)
	}
}
