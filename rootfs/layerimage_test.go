package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func needsMount(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 || inUserNamespace(t) {
		t.Skip("mounting needs root; the run as root does it")
	}
}

// importIn is importAs in a format.
func importIn(t testing.TB, f Format, store, from, name string) (*Root, error) {
	t.Helper()
	src, err := Parse(from)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := ParseImage(name)
	if err != nil {
		t.Fatal(err)
	}
	return Import(context.Background(), src, ref, Options{Store: store, Format: f})
}

func mustImportIn(t testing.TB, f Format, store, from, name string) *Root {
	t.Helper()
	r, err := importIn(t, f, store, from, name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// mounted shows the kernel's view of an image.
func mounted(t *testing.T, image string) (dir string) {
	t.Helper()
	tree, err := MountLayer(image)
	if err != nil {
		t.Fatal(err)
	}
	return attached(t, tree)
}

func attached(t *testing.T, tree int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	err := unix.MoveMount(tree, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH)
	unix.Close(tree)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// sound has the tools of the format's own authors look at an image.
func sound(t *testing.T, image string) {
	t.Helper()
	if out, err := exec.Command("fsck.erofs", image).CombinedOutput(); err != nil {
		t.Errorf("fsck.erofs: %v\n%s", err, out)
	}
}

// oddLayer has what overlayfs and a restore must find again.
func oddLayer(t *testing.T) []byte {
	node := func(kind byte, name string, major, minor int64) entry {
		return entry{tar.Header{Typeflag: kind, Name: name, Mode: 0o640, Devmajor: major, Devminor: minor, Uid: 3, Gid: 4, ModTime: someTime}, ""}
	}
	attrs := func(m map[string]string) func(*tar.Header) {
		return func(h *tar.Header) {
			h.PAXRecords = map[string]string{}
			for k, v := range m {
				h.PAXRecords["SCHILY.xattr."+k] = v
			}
		}
	}
	acl := string(aclValue("user::rwx,user:77:r--,group::r-x,mask::r-x,other::--x"))
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	list := []entry{
		dirEntry("."), dirEntry("d"), fileEntry("d/.wh..wh..opq", ""), dirEntry("w"), fileEntry("w/.wh.gone", ""),
		fileEntry("f", "data").with(attrs(map[string]string{"user.note": "a\x00b\n", "system.posix_acl_access": acl})),
		fileEntry("cap", "x").with(attrs(map[string]string{"security.capability": capability})),
		linkEntry("d/hard", "f"), linkEntry("hard2", "f"),
		fileEntry("su", "x").with(func(h *tar.Header) { h.Mode, h.Uid, h.Gid = 0o6755, 70000, 1<<31 }),
		symlinkEntry("long", strings.Repeat("l/", 2000)), symlinkEntry("abs", "/etc/passwd"),
		node(tar.TypeChar, "null", 1, 3), node(tar.TypeBlock, "disk", 259, 1048575), node(tar.TypeFifo, "fifo", 0, 0),
		fileEntry(strings.Repeat("n", 255), "x"), fileEntry("ünï\x01\xff \n", "x"),
		fileEntry("large", string(textData(3<<20+77))), fileEntry("empty", ""),
		fileEntry("old", "x").with(func(h *tar.Header) { h.ModTime = time.Unix(-5, 7) }),
		fileEntry("far", "x").with(func(h *tar.Header) { h.ModTime = time.Unix(1<<33, 999999999) }),
		dirEntry("closed").with(func(h *tar.Header) { h.Mode = 0o1000 }), dirEntry("many"),
	}
	for i := range 3000 {
		list = append(list, fileEntry(fmt.Sprintf("many/%d", i), strings.Repeat("x", i)))
	}
	return tarOf(t, list...)
}

// TestErofsShowsTheSame: what the kernel shows of an image is what a directory
// has, to the last attribute; and overlayfs understands it.
func TestErofsShowsTheSame(t *testing.T) {
	needsMount(t)
	t.Parallel()
	dir := t.TempDir()
	base := tarOf(t, dirEntry("."), dirEntry("d"), fileEntry("d/hidden", "x"), dirEntry("w"), fileEntry("w/gone", "x"), fileEntry("w/stays", "x"), fileEntry("low", "low"))
	writeImage(t, dir, nil, base, oddLayer(t))
	a := mustImportIn(t, FormatDir, t.TempDir(), "oci:"+dir, "a")
	defer a.Close()
	e := mustImportIn(t, FormatErofs, t.TempDir(), "oci:"+dir, "a")
	defer e.Close()
	if a.Digest != e.Digest || len(e.Lowers) != 2 {
		t.Fatalf("%+v and %+v", a, e)
	}
	var trees []string
	for i, image := range e.Lowers {
		sound(t, image)
		tree := mounted(t, image)
		trees = append(trees, tree)
		if want, got := timeless(listing(t, a.Lowers[i])), timeless(listing(t, tree)); want != got {
			t.Errorf("layer %d differs:\n%s", i, diffLines(want, got))
		}
		if i == 0 && (!hasXattr(tree+"/d", opaqueUser) || !hasXattr(tree+"/d", opaqueTrusted)) {
			t.Error("d is not opaque")
		}
		var st unix.Stat_t
		if err := unix.Lstat(image, &st); err != nil || st.Mode != unix.S_IFREG|0o400 || st.Uid != 0 || st.Nlink != 1 {
			t.Errorf("the image's file: %v, %o of %d", err, st.Mode, st.Uid)
		}
		if _, err := os.Lstat(filepath.Dir(image) + "/fs"); err == nil {
			t.Error("the tree is there too")
		}
		if err := os.WriteFile(tree+"/new", nil, 0o644); !errors.Is(err, unix.EROFS) {
			t.Errorf("a layer can be written to: %v", err)
		}
	}
	merged := t.TempDir()
	if err := unix.Mount("overlay", merged, "overlay", unix.MS_RDONLY, "userxattr,lowerdir="+strings.Join(trees, ":")); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(merged, unix.MNT_DETACH)
	if got := strings.Join(append(names(t, merged+"/d"), names(t, merged+"/w")...), " "); got != "hard stays" {
		t.Errorf("overlayfs shows %q", got)
	}
	// A view sees the same without either.
	for _, r := range []*Root{a, e} {
		for path, want := range map[string]string{"w/gone": "", "d/hidden": "", "d/hard": "data", "low": "low", "abs": ""} {
			if got, err := r.View().ReadFile(path, 10); string(got) != want || (want == "") != (err != nil) {
				t.Errorf("%s: %q, %v", path, got, err)
			}
		}
	}
}

// timeless leaves out when a whiteout was made, which no layer says.
func timeless(listing string) string {
	return regexp.MustCompile(`mode 20000 owner 0:0 time \S+`).ReplaceAllString(listing, "whiteout")
}

// TestErofsCorpus: what an attacker has packed becomes an image that the
// kernel and fsck.erofs read, and that shows what a directory would.
func TestErofsCorpus(t *testing.T) {
	needsMount(t)
	for _, c := range corpus() {
		if c.name == bombZeros {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			began, base := time.Now(), t.TempDir()
			tree, image := base+"/tree", base+"/image"
			if err := os.Mkdir(tree, 0o700); err != nil {
				t.Fatal(err)
			}
			opt := UnpackOptions{Whiteouts: WhiteoutsOverlay, NoEndOK: true}
			_, err := Unpack(context.Background(), bytes.NewReader(aimed(t, c.data(t), base+"/outside")), tree, opt)
			if err != nil {
				return // nothing is made of it
			}
			if _, err := packTree(context.Background(), tree, image); err != nil {
				t.Fatal(err)
			}
			sound(t, image)
			if c.name == "set-up endless passwd" { // listing reads holes
				mounted(t, image)
			} else if want, got := listing(t, tree), listing(t, mounted(t, image)); want != got {
				t.Errorf("differs:\n%s", diffLines(want, got))
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestErofsHoles: an archive of some kilobytes whose file has a hole of half a
// gigabyte after each byte costs neither the time nor the space of its holes.
func TestErofsHoles(t *testing.T) {
	needsMount(t)
	t.Parallel()
	base := t.TempDir()
	if err := os.Mkdir(base+"/fs", 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(base + "/fs/holes")
	if err != nil {
		t.Fatal(err)
	}
	const size, step = int64(1) << 40, int64(1) << 29
	for at := int64(5); at < size; at += step {
		if _, err := f.WriteAt([]byte("x"), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	d := &draft{dir: base}
	if _, err := d.seal(context.Background(), FormatErofs); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if err := checkImage(context.Background(), base); err != nil {
		t.Error(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(base+LayerImage, &st); err != nil || st.Blocks*512 > 16<<20 {
		t.Errorf("%v, %d bytes on disk", err, st.Blocks*512)
	}
	if took > time.Minute {
		t.Errorf("took %v", took)
	}
	got, err := os.Open(mounted(t, base+LayerImage) + "/holes")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	for at := int64(5); at < size; at += step {
		b := make([]byte, 3)
		if _, err := got.ReadAt(b, at-1); err != nil || string(b) != "\x00x\x00" {
			t.Errorf("at %d: %q, %v", at, b, err)
		}
	}
}

// TestErofsStack: more layers than are stacked become one image, of whichever
// format they are.
func TestErofsStack(t *testing.T) {
	needsMount(t)
	t.Parallel()
	var layers [][]byte
	const n = lowersMax + 40
	for i := range n {
		layers = append(layers, layerTar(t, i))
	}
	layers[3] = tarOf(t, dirEntry("d"), fileEntry("d/.wh.001", ""), dirEntry("gone"), fileEntry("gone/x", ""), dirEntry("kept"), fileEntry("kept/x", "old"))
	layers[5] = tarOf(t, fileEntry(".wh.gone", ""), dirEntry("kept"), fileEntry("kept/.wh..wh..opq", ""), fileEntry("kept/y", "new"), linkEntry("kept/z", "kept/y"))
	dir := t.TempDir()
	writeImage(t, dir+"/all", nil, layers...)
	writeImage(t, dir+"/some", nil, layers[:7]...)
	for _, both := range []bool{false, true} {
		store, format := t.TempDir(), FormatErofs
		if both { // the lowest are there as images, the others come as directories
			mustImportIn(t, FormatErofs, store, "oci:"+dir+"/some", "some").Close()
			format = ""
		}
		r := mustImportIn(t, format, store, "oci:"+dir+"/all", "many")
		last := r.Lowers[len(r.Lowers)-1]
		if len(r.Lowers) != lowersMax || !strings.HasSuffix(last, LayerImage) || r.in(FormatErofs) == both {
			t.Fatalf("%d lowers, %s", len(r.Lowers), last)
		}
		v := r.View()
		for path, want := range map[string]string{"d/000": "0", "d/001": "", "d/002": "2", "gone/x": "", "kept/x": "", "kept/z": "new", "d/last": fmt.Sprint(n - 1)} {
			if got, err := v.ReadFile(path, 10); string(got) != want || (want == "") != (err != nil) {
				t.Errorf("%s: %q, %v; want %q", path, got, err, want)
			}
		}
		sound(t, last)
		if hasXattr(mounted(t, last)+"/kept", opaqueUser) {
			t.Error("overlayfs's own attribute came through")
		}
		r.Close()
		if v, err := Verify(context.Background(), store, false); err != nil || len(v.Damaged) > 0 || v.Layers != n+1 {
			t.Errorf("%+v, %v", v, err)
		}
	}
}

// TestErofsConverts: an image that is asked for in another format is made anew
// in it, unless somebody runs it; what it stacked before goes.
func TestErofsConverts(t *testing.T) {
	needsMount(t)
	t.Parallel()
	store, dir := t.TempDir(), t.TempDir()
	writeImage(t, dir+"/img", nil, layerTar(t, 1), layerTar(t, 2))
	writeImage(t, dir+"/other", nil, layerTar(t, 1))
	rootTar(t, dir+"/r.tar", "x")
	from := "oci:" + dir + "/img"
	r := mustImportIn(t, "", store, from, "a")
	if !r.in(FormatDir) {
		t.Fatalf("%v", r.Lowers)
	}
	if _, err := importIn(t, FormatErofs, store, from, "a"); !errors.Is(err, errBusy) || !strings.Contains(err.Error(), "; try again") {
		t.Errorf("an image in use: %v", err)
	}
	if !fileThere(r.Lowers[0] + "/d/002") {
		t.Error("the layers of a run are gone")
	}
	r.Close()
	for _, f := range []Format{FormatErofs, "", FormatErofs, FormatDir, ""} {
		want := f
		if was, err := InspectImage(store, "a"); f == "" && err == nil {
			want = was.Layers[0].Format
		}
		r := mustImportIn(t, f, store, from, "a")
		img, err := InspectImage(store, "a")
		if err != nil || !r.in(want) || img.Layers[0].Format != want || img.Layers[1].Format != want || len(img.Names) != 1 {
			t.Errorf("%q: %v, %+v, %v", f, err, img.Layers, r.Lowers)
		}
		if got, err := r.View().ReadFile("d/last", 10); err != nil || string(got) != "2" {
			t.Errorf("%q: %q, %v", f, got, err)
		}
		r.Close()
		if _, err := GC(store, GCOptions{Keep: -1}); err != nil {
			t.Error(err)
		}
		for _, e := range names(t, store+"/layers") {
			if formatOf(e) != want {
				t.Errorf("%q: %s stays", f, e)
			}
		}
	}
	// Two images that share a layer in two formats.
	mustImportIn(t, FormatErofs, store, "oci:"+dir+"/other", "b").Close()
	if got := len(names(t, store+"/layers")); got != 3 {
		t.Errorf("%d layers", got)
	}
	// A tar: found by its identity, in the format that is asked for.
	ref, _ := Parse(dir + "/r.tar")
	for _, f := range []Format{FormatErofs, "", FormatDir, FormatErofs, ""} {
		r, err := Prepare(context.Background(), ref, Options{Store: store, Format: f})
		if err != nil {
			t.Fatal(err)
		}
		if !r.in(f) || len(names(t, store+"/tmp")) > 0 {
			t.Errorf("%q: %v", f, r.Lowers)
		}
		for _, want := range []Format{FormatDir, FormatErofs} {
			found := Stored(ref, Options{Store: store, Format: want})
			if (found != nil) != r.in(want) {
				t.Errorf("%q: there in %s: %v", f, want, found)
			}
			found.Close()
		}
		r.Close()
	}
	if err := Remove(store, entryDigest(filepath.Base(filepath.Dir(mustTar(t, store, dir+"/r.tar"))))); err != nil {
		t.Error(err)
	}
	for _, e := range names(t, store+"/layers") {
		if strings.HasPrefix(e, "sha256-") {
			t.Errorf("%s stays", e)
		}
	}
	// By name, without a registry to fetch it from.
	name, _ := Parse("a")
	if _, err := Prepare(context.Background(), name, Options{Store: store, Format: FormatErofs}); err == nil || !strings.Contains(err.Error(), "; import it again") {
		t.Errorf("%v", err)
	}
}

func mustTar(t *testing.T, store, path string) (lower string) {
	t.Helper()
	r := prepare(t, store, path)
	defer r.Close()
	return r.Lowers[0]
}

func fileThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// TestErofsVerify: a changed image is found, and made anew.
func TestErofsVerify(t *testing.T) {
	needsMount(t)
	for what, change := range map[string]func(image string) error{
		"flipped byte": func(image string) error {
			f, err := os.OpenFile(image, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			var b [1]byte
			_, err = f.ReadAt(b[:], 1024)
			b[0] ^= 1
			_, werr := f.WriteAt(b[:], 1024)
			return errors.Join(err, werr)
		},
		"zeros turned": func(image string) error { return pokeAt(image, 5000) },
		"shorter":      func(image string) error { return os.Truncate(image, 4096) },
		"longer":       func(image string) error { return os.Truncate(image, 1<<20) },
		"missing":      os.Remove,
		"link": func(image string) error {
			return errors.Join(os.Rename(image, image+"2"), os.Symlink(image+"2", image))
		},
		"sums": func(image string) error { return os.Remove(filepath.Dir(image) + "/sums") },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			store, dir := t.TempDir(), t.TempDir()
			writeImage(t, dir, nil, layerTar(t, 1))
			r := mustImportIn(t, FormatErofs, store, "oci:"+dir, "a")
			r.Close()
			if v, err := Verify(context.Background(), store, false); err != nil || len(v.Damaged) > 0 || v.Layers != 1 || v.Images != 1 {
				t.Fatalf("before: %+v, %v", v, err)
			}
			if err := change(r.Lowers[0]); err != nil {
				t.Fatal(err)
			}
			// After a power failure nobody runs it either.
			s := store0(store)
			writeFile(t, s.path(imagesDir, entryName(r.Digest), "lock"), []byte("00000000-0000-0000-0000-000000000000"))
			if what == "flipped byte" {
				if r, err := s.byName("a:latest"); !errors.Is(err, errGone) {
					t.Errorf("a damaged image is run: %v, %v", r, err)
				}
			} else {
				v, err := Verify(context.Background(), store, true)
				if err != nil || len(v.Damaged) == 0 || !v.Damaged[0].Removed || v.Damaged[0].Images[0] != "a:latest" {
					t.Fatalf("%+v, %v", v, err)
				}
			}
			mustImportIn(t, FormatErofs, store, "oci:"+dir, "a").Close()
			if v, err := Verify(context.Background(), store, false); err != nil || len(v.Damaged) > 0 || v.Layers != 1 {
				t.Errorf("after: %+v, %v", v, err)
			}
		})
	}
}

func pokeAt(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte{1}, at)
	return err
}

// TestErofsKilled: importing processes that are killed at any point leave an
// image whole or none, and nothing that gc does not remove.
func TestErofsKilled(t *testing.T) {
	needsMount(t)
	t.Parallel()
	store, dir := t.TempDir(), t.TempDir()
	big := tarOf(t, dirEntry("d"), fileEntry("d/000", strings.Repeat("x", 4<<20)), fileEntry("d/1", string(textData(1<<20))))
	writeImage(t, dir, nil, big, layerTar(t, 2))
	var wait sync.WaitGroup
	for n := range 3 {
		wait.Go(func() {
			for i := range 12 {
				cmd := exec.Command("/proc/self/exe")
				cmd.Env = append(os.Environ(), "HUTCH_ROOTFS_HELPER=import", "HUTCH_ROOTFS_STORE="+store,
					"HUTCH_ROOTFS_FROM=oci:"+dir, fmt.Sprintf("HUTCH_ROOTFS_NAME=i%d", n), "HUTCH_ROOTFS_FORMAT=erofs")
				if err := cmd.Start(); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Duration(3*i*(n+1)) * time.Millisecond)
				cmd.Process.Kill()
				cmd.Wait()
				if _, err := GC(store, GCOptions{Keep: 0}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if v, err := Verify(context.Background(), store, false); err != nil || len(v.Damaged) > 0 {
		t.Errorf("%+v, %v", v, err)
	}
	for n := range 3 {
		if _, err := RemoveImage(store, fmt.Sprintf("i%d", n)); err != nil && !strings.Contains(err.Error(), "not in the store") {
			t.Error(err)
		}
	}
	if _, err := GC(store, GCOptions{Keep: 0}); err != nil {
		t.Error(err)
	}
	for _, d := range []string{"layers", "images", "names", "tmp"} {
		if left := names(t, store+"/"+d); len(left) > 0 {
			t.Errorf("%s: %v", d, left)
		}
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), store) {
		t.Errorf("a mount is left: %v", err)
	}
}

// TestErofsGuestDisk: a layer that is an image already is a guest's disk.
func TestErofsGuestDisk(t *testing.T) {
	needsMount(t)
	store, dir := t.TempDir(), t.TempDir()
	writeImage(t, dir, nil, layerTar(t, 1))
	r := mustImportIn(t, FormatErofs, store, "oci:"+dir, "a")
	defer r.Close()
	b, err := NewBlockImage(context.Background(), r.Lowers[0], Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.Path != r.Lowers[0] || b.Made || b.Bytes == 0 || fileThere(store+"/blocks") {
		t.Errorf("%+v", b)
	}
}

// TestErofsLoop: where the driver cannot read a file, a loop device stands
// between, which is gone with the mount.
func TestErofsLoop(t *testing.T) {
	needsMount(t)
	store, dir := t.TempDir(), t.TempDir()
	writeImage(t, dir, nil, layerTar(t, 7))
	r := mustImportIn(t, FormatErofs, store, "oci:"+dir, "a")
	defer r.Close()
	file, err := openImage(r.Lowers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(file)
	tree, err := mountLoop(file)
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(tree, "d/007", &st, 0); err != nil || st.Size != 1 {
		t.Errorf("%v, %+v", err, st)
	}
	used := func() bool {
		backings, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
		for _, b := range backings {
			if name, err := os.ReadFile(b); err == nil && strings.TrimSpace(string(name)) == r.Lowers[0] {
				return true
			}
		}
		return false
	}
	if !used() {
		t.Error("no loop device has the image")
	}
	unix.Close(tree)
	for end := time.Now().Add(60 * time.Second); used(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the loop device stays")
		}
	}
}

// TestErofsOfOthers: the kernel is never given an image that another user could
// have made, or could change while it is mounted.
func TestErofsOfOthers(t *testing.T) {
	needsMount(t)
	tree, image := t.TempDir(), t.TempDir()+LayerImage
	if _, err := packTree(context.Background(), tree, image); err != nil {
		t.Fatal(err)
	}
	fd, err := MountLayer(image) // its own: it would be mounted
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	other := t.TempDir()
	for what, change := range map[string]func(path string) error{
		"of another user":        func(p string) error { return os.Chown(p, 54321, 0) },
		"for a group to write":   func(p string) error { return os.Chmod(p, 0o620) },
		"for anybody to write":   func(p string) error { return os.Chmod(p, 0o602) },
		"a link":                 func(p string) error { return errors.Join(os.Remove(p), os.Symlink(image, p)) },
		"a FIFO":                 func(p string) error { return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o600)) },
		"a device, which is not": func(p string) error { return errors.Join(os.Remove(p), unix.Mknod(p, unix.S_IFBLK|0o600, 7<<8)) },
	} {
		path := other + "/" + what
		run(t, "cp", "--preserve=mode", image, path)
		if err := change(path); err != nil {
			t.Fatal(err)
		}
		if fd, err := MountLayer(path); err == nil {
			unix.Close(fd)
			t.Errorf("%s: is mounted", what)
		}
	}
}

// TestErofsViews: views share one mount, a box takes it, and closing the root
// lets go of it.
func TestErofsViews(t *testing.T) {
	needsMount(t)
	store, dir := t.TempDir(), t.TempDir()
	writeImage(t, dir, nil, layerTar(t, 7))
	r := mustImportIn(t, FormatErofs, store, "oci:"+dir, "a")
	look := func() (tree int, ok bool) {
		t.Helper()
		if got, err := r.View().ReadFile("d/007", 10); err != nil || string(got) != "7" {
			t.Errorf("%q, %v", got, err)
		}
		views.Lock()
		defer views.Unlock()
		tree, ok = views.trees[r.Lowers[0]]
		return tree, ok
	}
	first, _ := look()
	if again, ok := look(); again != first || !ok {
		t.Errorf("mounted again: %d, then %d", first, again)
	}
	taken, err := TakeLayer(r.Lowers[0])
	if err != nil || taken != first {
		t.Errorf("%d, %v; want %d", taken, err, first)
	}
	if other, err := TakeLayer(r.Lowers[0]); err != nil || other == taken {
		t.Errorf("two boxes have one mount: %d, %v", other, err)
	} else {
		unix.Close(other)
	}
	unix.Close(taken)
	look()
	r.Close()
	views.Lock()
	if _, ok := views.trees[r.Lowers[0]]; ok {
		t.Error("the mount stays")
	}
	views.Unlock()
}

// TestErofsNeedsRoot: who may not mount is told so before anything is unpacked.
func TestErofsNeedsRoot(t *testing.T) {
	store, dir := t.TempDir(), t.TempDir()
	writeImage(t, dir+"/img", nil, layerTar(t, 1))
	rootTar(t, dir+"/r.tar", "x")
	if os.Geteuid() == 0 && !inUserNamespace(t) {
		t.Skip("root may mount one; TestRerun comes by as three others")
	}
	for _, from := range []string{"oci:" + dir + "/img", dir + "/r.tar"} {
		_, err := importIn(t, FormatErofs, store, from, "a")
		if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "only root may mount an EROFS image: operation not permitted; run hutch as root, or keep") {
			t.Errorf("%s: %v", from, err)
		}
		ref, _ := Parse(from)
		if _, err := Prepare(context.Background(), ref, Options{Store: store, Format: FormatErofs}); !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v", from, err)
		}
	}
	for _, d := range []string{"layers", "images", "names", "tmp"} {
		if left := names(t, store+"/"+d); len(left) > 0 {
			t.Errorf("%s: %v", d, left)
		}
	}
}

// TestFormatRefused: a format that is none, and roots that have none.
func TestFormatRefused(t *testing.T) {
	dir := t.TempDir()
	ref, _ := Parse(dir + "/")
	for f, want := range map[Format]string{"zip": "is unknown", FormatDir: "is not kept in the store"} {
		if _, err := Prepare(context.Background(), ref, Options{Store: t.TempDir(), Format: f}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", f, err)
		}
	}
	// A directory that is called like an image is a directory.
	odd := dir + LayerImage
	if err := os.Mkdir(odd, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, odd+"/f", []byte("x"))
	if got, err := (View{Lowers: []string{odd}}).ReadFile("f", 10); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
	// A file of that name that is no image is refused by whoever mounts it.
	if err := os.Mkdir(dir+"/x", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir+"/x"+LayerImage, bytes.Repeat([]byte("x"), 8192))
	if _, err := (View{Lowers: []string{dir + "/x" + LayerImage}}).ReadFile("f", 10); err == nil {
		t.Error("no image was read")
	}
}
