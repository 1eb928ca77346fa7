package guest

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hutch/runner"
)

// The archive is one that cpio(1) unpacks, byte for byte, with its modules in
// order; it is built once, and again when what goes in has changed.
func TestInitramfs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	init, a, b := put("hutch", strings.Repeat("init", 1001)), put("b.ko", "first"), put("a.ko", "2nd")
	in := Initramfs{Init: init, Modules: []string{a, b}, Dir: filepath.Join(dir, "cache")}
	path, err := in.Path()
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	cmd := exec.Command("busybox", "cpio", "-i", "-d", "init", "modules/*")
	cmd.Dir = out
	if cmd.Stdin, err = os.Open(path); err != nil {
		t.Fatal(err)
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for name, want := range map[string]string{"init": strings.Repeat("init", 1001), "modules/00-b.ko": "first", "modules/01-a.ko": "2nd"} {
		if got, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := in.Path(); err != nil || again != path {
		t.Errorf("%s, %v: built anew", again, err)
	}
	if after, _ := os.Stat(path); !os.SameFile(before, after) {
		t.Error("the file was written again")
	}
	// What nobody has built for long goes when something is built.
	old := time.Now().Add(-30 * 24 * time.Hour)
	for _, name := range []string{path, put("cache/.initramfs-1", "killed"), put("cache/other", "not ours")} {
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	put("a.ko", "3rd")
	if again, err := in.Path(); err != nil || again == path {
		t.Errorf("%s, %v: not built anew", again, err)
	}
	if left, err := os.ReadDir(in.Dir); err != nil || len(left) != 2 {
		t.Errorf("%v, %v: want the new file and what is not ours", left, err)
	}
	// What others could have written is not trusted.
	put("a.ko", "2nd")
	if path, err = in.Path(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if before, err = os.Stat(path); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Path(); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(path); err != nil || os.SameFile(before, after) || after.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: a file that anybody could write was used", after, err)
	}
	if left, _ := filepath.Glob(in.Dir + "/.*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A program that is carried by another file is process 1, not that file; and
// that there is none is said in the carrier's own words.
func TestInitramfsProgram(t *testing.T) {
	t.Parallel()
	carrier := filepath.Join(t.TempDir(), "hutch")
	if err := os.WriteFile(carrier, []byte("carrier"), 0o755); err != nil {
		t.Fatal(err)
	}
	in := Initramfs{Init: carrier, Dir: t.TempDir()}
	bare, err := in.Path()
	if err != nil {
		t.Fatal(err)
	}
	in.Program = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("program")), nil }
	path, err := in.Path()
	if err != nil || path == bare {
		t.Fatalf("%s for both, %v", path, err)
	}
	if data, err := os.ReadFile(path); err != nil || !strings.Contains(string(data), "program") || strings.Contains(string(data), "carrier") {
		t.Errorf("%q, %v", data, err)
	}
	in.Dir = t.TempDir()
	in.Program = func() (io.ReadCloser, error) { return nil, &runner.Error{Step: "not built", Hint: "make build"} }
	if _, err := in.Path(); err == nil || err.Error() != "not built" || runner.Hint(err) != "make build" {
		t.Errorf("%v, hint %q", err, runner.Hint(err))
	}
	if left, _ := os.ReadDir(in.Dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A cache that cannot be written, or is full, is an error and leaves nothing.
func TestInitramfsNoRoom(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (Initramfs{Init: file, Dir: file + "/below"}).Path(); err == nil || !strings.Contains(err.Error(), "build the guest's initial root") {
		t.Errorf("%v", err)
	}
	if _, err := (Initramfs{Dir: t.TempDir()}).Path(); err == nil || !strings.Contains(err.Error(), "no program for process 1") {
		t.Errorf("%v", err)
	}
	if _, err := (Initramfs{Init: "/nope", Dir: t.TempDir()}).Path(); err == nil {
		t.Error("an init that is not there was taken")
	}
}

// The same input is the same archive, and every entry begins at a multiple of
// four.
func TestCpioIsReproducible(t *testing.T) {
	t.Parallel()
	write := func() string {
		var b strings.Builder
		if err := (Initramfs{Init: "/proc/self/exe"}).write(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	one := write()
	if one != write() || len(one)%4 != 0 {
		t.Errorf("%d bytes, or others the second time", len(one))
	}
}

func TestModules(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"modules.dep":     "fs/erofs.ko: lib/z.ko lib/crc.ko\nlib/z.ko: lib/crc.ko\nlib/crc.ko:\nfs/over-lay.ko:\nno colon\n../out.ko:\n",
		"modules.builtin": "kernel/fs/ext4.ko\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Modules(dir, "erofs", "over_lay", "ext4", "z")
	want := []string{"lib/crc.ko", "lib/z.ko", "fs/erofs.ko", "fs/over-lay.ko"}
	for i := range want {
		want[i] = filepath.Join(dir, want[i])
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Modules(dir, "nope"); err == nil || !strings.Contains(err.Error(), "no module nope") {
		t.Errorf("%v", err)
	}
	if got, _ := Modules(dir, "out"); len(got) != 1 || !strings.HasPrefix(got[0], dir+"/") {
		t.Errorf("a module outside its directory: %v", got)
	}
	if _, err := Modules(t.TempDir(), "erofs"); err == nil {
		t.Error("a directory without modules.dep was taken")
	}
}
