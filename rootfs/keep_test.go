package rootfs

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func openKeep(t testing.TB, store, name string, lowers ...string) *Keep {
	t.Helper()
	k, err := OpenKeep(name, KeepOptions{Store: store, Lowers: lowers, Source: "root"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// TestKeepIsForOne: one process at a time, on one root.
func TestKeepIsForOne(t *testing.T) {
	t.Parallel()
	store := t.TempDir() + "/store"
	k := openKeep(t, store, "a", "/l1", "/l0")
	if fi, err := os.Stat(k.Path); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("%s: %v", k.Path, err)
	}
	var busy error
	if _, busy = OpenKeep("a", KeepOptions{Store: store, Lowers: k.Lowers}); !errors.Is(busy, unix.EBUSY) || !strings.Contains(busy.Error(), "process "+itoa(int64(os.Getpid()))) {
		t.Errorf("while it is in use: %v", busy)
	}
	if _, err := FindKeep(store, "a"); !errors.Is(err, unix.EBUSY) {
		t.Errorf("found while it is in use: %v", err)
	}
	openKeep(t, store, "b", "/l1")
	list, err := Keeps(store)
	if err != nil || len(list) != 2 || !list[0].Busy || list[0].Source != "root" {
		t.Errorf("%+v %v", list, err)
	}
	k.Close()
	if _, err := OpenKeep("a", KeepOptions{Store: store, Lowers: []string{"/l0", "/l1"}}); err == nil || !strings.Contains(err.Error(), "fits no other") {
		t.Errorf("on another root: %v", err)
	}
	if err := openKeep(t, store, "a", "/l1", "/l0").Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := FindKeep(store, "a"); err == nil || !strings.Contains(err.Error(), "nothing is kept") {
		t.Errorf("after its removal: %v", err)
	}
	if exists(store + "/keep/a") {
		t.Error("something of it is left")
	}
}

// TestKeepCutShort: what a kill left half made, or half removed, is no kept
// state, and is made anew.
func TestKeepCutShort(t *testing.T) {
	t.Parallel()
	store := t.TempDir() + "/store"
	k := openKeep(t, store, "a", "/l")
	if err := os.MkdirAll(k.Path+"/upper/old", 0o755); err != nil {
		t.Fatal(err)
	}
	k.Close()
	if err := os.Remove(store + "/keep/a/meta.json"); err != nil {
		t.Fatal(err)
	}
	if list, err := Keeps(store); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	if k = openKeep(t, store, "a", "/other"); exists(k.Path + "/upper/old") {
		t.Error("the old writes are there")
	}
	k.Close()
	writeFile(t, store+"/keep/a/meta.json", []byte("{"))
	if _, err := OpenKeep("a", KeepOptions{Store: store, Lowers: []string{"/l"}}); err == nil || !strings.Contains(err.Error(), "hutch keep rm a") {
		t.Errorf("damaged: %v", err)
	}
	if k, err := FindKeep(store, "a"); err != nil || k.Remove() != nil {
		t.Errorf("damaged, and not removed: %v", err)
	}
}

func TestKeepNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", ".", "..", "a/b", "-a", ".a", strings.Repeat("a", 65), "a\x00b", "ä"} {
		if _, err := OpenKeep(name, KeepOptions{Store: t.TempDir(), Lowers: []string{"/l"}}); err == nil || !strings.Contains(err.Error(), "cannot be a name") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestKeepCap: as root a file system of the size in a file, where the store's
// has no quota; for others an error that says so.
func TestKeepCap(t *testing.T) {
	t.Parallel()
	opt := KeepOptions{Store: t.TempDir() + "/store", Lowers: []string{"/l"}, Disk: 8 << 20}
	k, err := OpenKeep("a", opt)
	if os.Geteuid() != 0 || inUserNamespace(t) {
		if err == nil || !strings.Contains(err.Error(), "ordinary user") {
			t.Errorf("%v", err)
		}
		if exists(opt.Store + "/keep/a") {
			t.Error("something is left")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(k.Path); err != nil || fi.Size() != opt.Disk && !fi.IsDir() || !k.Capped {
		t.Errorf("%s: %v", k.Path, err)
	}
	k.Close()
	opt.Disk = 9 << 20
	if _, err := OpenKeep("a", opt); err == nil && strings.HasSuffix(k.Path, ".img") {
		t.Error("an image has changed its size")
	}
	opt.Disk = 0
	if k, err = OpenKeep("a", opt); err != nil || !k.Capped {
		t.Errorf("without a size again: %v", err)
	}
	k.Close()
}
