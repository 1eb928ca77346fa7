package rootfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// newImage makes the image of dir and closes it at the end of the test.
func newImage(t *testing.T, dir, store string) *BlockImage {
	t.Helper()
	b, err := NewBlockImage(t.Context(), dir, Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestBlockImage(t *testing.T) {
	store, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(dir+"/file", []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	first := newImage(t, dir, store)
	if out, err := exec.Command("fsck.erofs", first.Path).CombinedOutput(); err != nil {
		t.Fatalf("fsck.erofs: %v\n%s", err, out)
	}
	again := newImage(t, dir, store)
	if !first.Made || again.Made || first.Path != again.Path {
		t.Errorf("made %v and %v, %s and %s", first.Made, again.Made, first.Path, again.Path)
	}
	if err := os.Chmod(dir+"/file", 0o600); err != nil {
		t.Fatal(err)
	}
	if changed := newImage(t, dir, store); changed.Path == first.Path {
		t.Error("a changed directory has the old image")
	}
	var st unix.Stat_t
	if err := unix.Stat(first.Path, &st); err != nil || st.Mode&0o777 != 0o400 {
		t.Errorf("mode %o, %v: want one that nobody can write to", st.Mode, err)
	}
	if left, _ := os.ReadDir(filepath.Join(store, tmpDir)); len(left) != 0 {
		t.Errorf("left in the store's tmp: %v", left)
	}
}

// Many make the same image at once; each gets a whole one.
func TestBlockImageTogether(t *testing.T) {
	store, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(dir+"/file", make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			b, err := NewBlockImage(t.Context(), dir, Options{Store: store})
			if err != nil {
				t.Error(err)
				return
			}
			defer b.Close()
			if out, err := exec.Command("fsck.erofs", b.Path).CombinedOutput(); err != nil {
				t.Errorf("fsck.erofs: %v\n%s", err, out)
			}
		})
	}
	all.Wait()
}

func TestBlockImageGC(t *testing.T) {
	store, dir := t.TempDir(), t.TempDir()
	b := newImage(t, dir, store)
	st, err := GC(store, GCOptions{Keep: 0})
	if err != nil || st.Busy != 1 || st.Entries != 0 {
		t.Fatalf("an image in use: %+v, %v", st, err)
	}
	b.Close()
	if st, err = GC(store, GCOptions{Keep: b.Bytes}); err != nil || st.Entries != 0 {
		t.Fatalf("an image that may stay: %+v, %v", st, err)
	}
	if st, err = GC(store, GCOptions{Keep: 0}); err != nil || st.Entries != 1 || st.Bytes != b.Bytes {
		t.Fatalf("an unused image: %+v, %v", st, err)
	}
	if _, err := os.Lstat(b.Path); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

// Nothing is left of an image that could not be written.
func TestBlockImageBadSource(t *testing.T) {
	store, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(dir+"/file", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := NewBlockImage(t.Context(), dir+"/file", Options{Store: store}); err == nil {
		t.Error("the image of a file")
	}
	if _, err := NewBlockImage(t.Context(), dir+"/none", Options{Store: store}); err == nil {
		t.Error("the image of nothing")
	}
	if list, _ := filepath.Glob(store + "/*/*"); len(list) != 0 {
		t.Errorf("left: %v", list)
	}
}
