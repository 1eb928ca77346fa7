package rootfs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mountOverlay shows lowers, the topmost first, below upper, as a box does.
func mountOverlay(t *testing.T, upper, work string, lowers ...string) string {
	t.Helper()
	at := t.TempDir()
	options := "userxattr,upperdir=" + upper + ",workdir=" + work + ",lowerdir=" + strings.Join(lowers, ":")
	if err := unix.Mount("overlay", at, "overlay", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		t.Fatal(options, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	return at
}

// listed is all of a tree but what its root is like.
func listed(t *testing.T, dir string) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%s %o %d:%d %d.%d", path[len(dir):], st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			note := make([]byte, 64)
			n, _ := unix.Lgetxattr(path, "user.note", note)
			line += fmt.Sprintf(" %q %q", b, note[:max(n, 0)])
		case unix.S_IFLNK:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + to
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// A churn changes a tree in all the ways that an application can.
type churn struct {
	*rand.Rand
	dir   string
	count int
}

// name is a path of few: names are to meet again.
func (c *churn) name() string {
	parts := make([]string, 1+c.IntN(3))
	for i := range parts {
		parts[i] = string(rune('a' + c.IntN(4)))
	}
	return filepath.Join(c.dir, filepath.Join(parts...))
}

// step does one thing; what cannot be done is not.
func (c *churn) step() {
	c.count++
	p, q := c.name(), c.name()
	text := []byte(fmt.Sprint(c.count))
	switch c.IntN(17) {
	case 0, 1, 2:
		_ = os.WriteFile(p, text, 0o644)
	case 3, 4:
		_ = os.MkdirAll(p, 0o755)
	case 5:
		_ = os.RemoveAll(p)
	case 6:
		_ = os.RemoveAll(p)
		_ = os.MkdirAll(p, 0o750)
	case 7:
		_ = os.RemoveAll(p)
		_ = os.WriteFile(p, text, 0o640)
	case 8:
		_ = os.Rename(p, q)
	case 9:
		_ = os.Symlink(filepath.Base(q), p)
	case 10:
		_ = os.Link(p, q)
	case 11:
		_ = os.Chmod(p, []fs.FileMode{0, 0o4755, 0o1700}[c.IntN(3)])
	case 12:
		_ = os.Lchown(p, c.IntN(9), c.IntN(9))
	case 13:
		_ = unix.Setxattr(p, "user.note", text, 0)
	case 14:
		if f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE, 0o600); err == nil {
			_, _ = f.WriteAt(text, int64(c.IntN(5))<<13)
			f.Close()
		}
	case 15:
		_ = os.WriteFile(filepath.Join(filepath.Dir(p), ".wh."+filepath.Base(q)), text, 0o600)
	case 16:
		_ = os.Chtimes(p, time.Unix(1, 2), time.Unix(int64(c.count), 3))
	}
}

// TestErofsKept: what a guest leaves in what is kept, the next box sees, and the
// other way round. The kernel's own overlay says what is right. A guest's writes
// go to a tmpfs, or, before Linux 6.6, to one without the attributes that
// overlayfs uses.
func TestErofsKept(t *testing.T) {
	needsMount(t)
	t.Parallel()
	for seed := range 12 {
		for _, writes := range []string{"tmpfs", "ramfs"} {
			t.Run(fmt.Sprint(writes, seed), func(t *testing.T) {
				t.Parallel()
				keptRounds(t, uint64(seed), writes)
			})
		}
	}
}

func keptRounds(t *testing.T, seed uint64, writes string) {
	lower, keep := t.TempDir(), t.TempDir()
	upper, work := keep+"/upper", keep+"/work"
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := &churn{Rand: rand.New(rand.NewPCG(seed, 7)), dir: lower}
	for range 60 {
		c.step()
	}
	var want []string
	for round := range 12 {
		native := c.IntN(3) == 0
		var at string
		var after func()
		if native {
			at, after = mountOverlay(t, upper, work, lower), func() {}
		} else {
			at, after = guestView(t, keep, lower, writes)
		}
		if got := listed(t, at); round > 0 && !slices.Equal(got, want) {
			t.Fatalf("round %d, native %v:\n%s", round, native, differences(got, want))
		}
		c.dir = at
		for range 1 + c.IntN(30) {
			c.step()
		}
		want = listed(t, at)
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
		after()
	}
}

// guestView is what a guest has for its root; after puts what it has written into
// what is kept.
func guestView(t *testing.T, keep, lower, writes string) (at string, after func()) {
	t.Helper()
	dir, err := os.Open(keep)
	if err != nil {
		t.Fatal(err)
	}
	memory := t.TempDir()
	if err := unix.Mount(writes, memory, writes, unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(memory, unix.MNT_DETACH) })
	for _, d := range []string{"/upper", "/work"} {
		if err := os.Mkdir(memory+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	image, err := os.Create(t.TempDir() + "/image")
	if err == nil {
		err = KeptImage(t.Context(), dir, image)
	}
	if err != nil {
		t.Fatal(err)
	}
	lowers := []string{lower}
	if fi, err := image.Stat(); err == nil && fi.Size() > 0 {
		tree, err := MountLayer(image.Name())
		if err != nil {
			t.Fatal(err)
		}
		lowers = []string{attached(t, tree), lower}
	}
	image.Close()
	return mountOverlay(t, memory+"/upper", memory+"/work", lowers...), func() {
		defer dir.Close()
		if _, err := MergeKept(t.Context(), dir, layerFile(t, memory+"/upper"), 1<<30); err != nil {
			t.Fatal(err)
		}
	}
}

// layerFile is a directory as a layer, in a file.
func layerFile(t *testing.T, dir string) *os.File {
	t.Helper()
	upper, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer upper.Close()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err == nil {
		_, err = Pack(t.Context(), f, int(upper.Fd()), PackLimits{Exact: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// differences are the lines that only one of two has.
func differences(got, want []string) string {
	var b strings.Builder
	for _, l := range got {
		if !slices.Contains(want, l) {
			fmt.Fprintln(&b, "unwanted:", l)
		}
	}
	for _, l := range want {
		if !slices.Contains(got, l) {
			fmt.Fprintln(&b, "missing: ", l)
		}
	}
	return b.String()
}

// newKept is a directory for what is kept, with something in it.
func newKept(t *testing.T, base string) *os.File {
	t.Helper()
	if err := os.MkdirAll(base+"/keep/upper/d", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, base+"/keep/upper/d/old", []byte("old"))
	dir, err := os.Open(base + "/keep")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

func layerOfBytes(t *testing.T, data []byte) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "layer")
	writeFile(t, name, data)
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestKeptAttacks: a guest that sends what no box can have written, in one run
// or in two, changes nothing but what is kept under its own name.
func TestKeptAttacks(t *testing.T) {
	t.Parallel()
	for i, a := range attacks("/placeholder") {
		for cut := range len(a.entries) {
			t.Run(fmt.Sprint(a.name, cut), func(t *testing.T) {
				t.Parallel()
				base := t.TempDir()
				outside := base + "/outside"
				resetOutside(t, outside)
				dir := newKept(t, base)
				before := snapshot(t, outside)
				entries := attacks(outside)[i].entries
				for _, part := range [][]entry{entries[:cut], entries[cut:]} {
					_, err := MergeKept(t.Context(), dir, layerOfBytes(t, tarOf(t, part...)), 1<<20)
					odd := strings.HasPrefix(a.name, "whiteout of") // a name like any other
					if a.refused && !odd && cut == 0 && len(part) > 0 && err == nil {
						t.Error("was taken")
					}
				}
				if after := snapshot(t, outside); after != before {
					t.Errorf("outside is %s", after)
				}
				onlyIn(t, base, "keep", "outside")
				onlyIn(t, base+"/keep", "upper")
			})
		}
	}
}

func onlyIn(t *testing.T, dir string, want ...string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, want) {
		t.Errorf("%s holds %q, want %q", dir, names, want)
	}
}

// TestKeptRefuses: what cannot be put in whole is not put in at all.
func TestKeptRefuses(t *testing.T) {
	t.Parallel()
	good := tarOf(t, dirEntry("d"), fileEntry("d/new", strings.Repeat("x", 5000)))
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(good); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		layer []byte
		size  int64
		want  string
	}{
		"nothing":    {nil, 1 << 20, "cut short"},
		"cut short":  {good[:2000], 1 << 20, "cut short"},
		"no end":     {good[:len(good)-1024], 1 << 20, "cut short"},
		"no tar":     {bytes.Repeat([]byte("no tar"), 1000), 1 << 20, "header"},
		"compressed": {append(zipped.Bytes(), make([]byte, 2048)...), 1 << 20, "header"},
		"too large":  {good, 4000, "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			dir := newKept(t, base)
			before := snapshot(t, base+"/keep/upper")
			_, err := MergeKept(t.Context(), dir, layerOfBytes(t, tt.layer), tt.size)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if after := snapshot(t, base+"/keep/upper"); after != before {
				t.Errorf("it is %s", after)
			}
			onlyIn(t, base+"/keep", "upper")
		})
	}
}

func device(name string, major, minor int64) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: name, Mode: 0o666, Devmajor: major, Devminor: minor}}
}

// TestKeptLeavesOut: devices, and what overlayfs notes for itself, do not come
// from a guest.
func TestKeptLeavesOut(t *testing.T) {
	t.Parallel()
	redirect := dirEntry("e")
	redirect.PAXRecords = map[string]string{"SCHILY.xattr.user.overlay.redirect": "/d"}
	base := t.TempDir()
	dir := newKept(t, base)
	st, err := MergeKept(t.Context(), dir, layerOfBytes(t, tarOf(t, device("mem", 1, 1), device("odd", 0, 1), redirect)), 1<<20)
	if err != nil || st.Devices != 2 || st.Xattrs != 1 {
		t.Errorf("%+v %v", st, err)
	}
	onlyIn(t, base+"/keep/upper", "d", "e")
	onlyIn(t, base+"/keep/upper/d", "old")
	if n, err := unix.Getxattr(base+"/keep/upper/e", "user.overlay.redirect", nil); err == nil {
		t.Errorf("%d bytes of redirect", n)
	}
}

// TestKeptIsOldOrNew: whenever it is cut short, nothing of the layer is there, or
// all.
func TestKeptIsOldOrNew(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	dir := newKept(t, base)
	for i := range 20 {
		if err := os.MkdirAll(fmt.Sprintf("%s/keep/upper/deep%d/dir", base, i), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	layer := layerOfBytes(t, tarOf(t, dirEntry("d"), device("d/old", 0, 0), fileEntry("d/new", "x"), dirEntry("deep7"), device("deep7/dir", 0, 0)))
	old := snapshot(t, base+"/keep/upper")
	var was, is int
	for n := 0; is == 0; n++ {
		if n == 10000 {
			t.Fatal("never comes to an end")
		}
		ctx := &endsAfter{Context: t.Context(), left: n}
		_, err := MergeKept(ctx, dir, layer, 1<<20)
		onlyIn(t, base+"/keep", "upper")
		if now := snapshot(t, base+"/keep/upper"); err != nil {
			if was++; now != old {
				t.Fatalf("cut at %d: %s", n, now)
			}
		} else if is++; !exists(base+"/keep/upper/d/new") || !exists(base+"/keep/upper/deep8/dir") {
			t.Fatalf("after all: %s", now)
		}
	}
	if was < 20 {
		t.Errorf("was cut short only %d times", was)
	}
}

// endsAfter is a context that ends when it was asked so many times.
type endsAfter struct {
	context.Context
	mu   sync.Mutex
	left int
}

func (e *endsAfter) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.left--; e.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestKeptHoles: a file that is nearly all hole costs what it holds, and has the
// holes that it had.
func TestKeptHoles(t *testing.T) {
	t.Parallel()
	from, base := t.TempDir(), t.TempDir()
	dir := newKept(t, base)
	const size = 1 << 40
	f, err := os.Create(from + "/hole")
	if err == nil {
		_, err = f.WriteAt([]byte("middle"), 3<<30)
	}
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err == nil {
		err = os.WriteFile(from+"/all", nil, 0o600)
	}
	if err == nil {
		err = os.Truncate(from+"/all", 5)
	}
	if err != nil {
		t.Fatal(err)
	}
	layer := layerFile(t, from)
	if fi, err := layer.Stat(); err != nil || fi.Size() > 64<<10 {
		t.Errorf("the layer has %d bytes, %v", fi.Size(), err)
	}
	if _, err := MergeKept(t.Context(), dir, layer, 1<<20); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(base+"/keep/upper/hole", &st); err != nil || st.Size != size || st.Blocks > 256 {
		t.Errorf("it has %d bytes in %d blocks, %v", st.Size, st.Blocks, err)
	}
	got := make([]byte, 8)
	if f, err = os.Open(base + "/keep/upper/hole"); err == nil {
		defer f.Close()
		_, err = f.ReadAt(got, 3<<30-1)
	}
	if err != nil || string(got) != "\x00middle\x00" {
		t.Errorf("%q %v", got, err)
	}
	if b, err := os.ReadFile(base + "/keep/upper/all"); err != nil || string(b) != "\x00\x00\x00\x00\x00" {
		t.Errorf("%q %v", b, err)
	}
}
