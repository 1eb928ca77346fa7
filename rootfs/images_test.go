package rootfs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// writeImage writes an OCI layout with the tag t of these layers, the lowest
// first.
func writeImage(t testing.TB, dir string, config map[string]any, layers ...[]byte) {
	t.Helper()
	if err := os.MkdirAll(dir+"/blobs/sha256", 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(data []byte, kind string) map[string]any {
		d := digestBytes(data)
		writeFile(t, dir+"/"+blobPath(d), data)
		return map[string]any{"mediaType": kind, "digest": d, "size": len(data)}
	}
	pack := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var list []map[string]any
	diffs := []string{}
	for _, l := range layers {
		list = append(list, put(l, "application/vnd.oci.image.layer.v1.tar"))
		diffs = append(diffs, digestBytes(l))
	}
	if config == nil {
		config = map[string]any{"os": "linux"}
	}
	config["rootfs"] = map[string]any{"type": "layers", "diff_ids": diffs}
	manifest := put(pack(map[string]any{
		"schemaVersion": 2, "config": put(pack(config), "application/vnd.oci.image.config.v1+json"), "layers": list,
	}), "application/vnd.oci.image.manifest.v1+json")
	manifest["annotations"] = map[string]string{refName: "t"}
	writeFile(t, dir+"/index.json", pack(map[string]any{"schemaVersion": 2, "manifests": []any{manifest}}))
	time.Sleep(50 * time.Millisecond) // old enough to be remembered
}

func importAs(t testing.TB, store, from, name string) *Root {
	t.Helper()
	src, err := Parse(from)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := ParseImage(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Import(context.Background(), src, ref, Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func layerTar(t testing.TB, n int) []byte {
	return tarOf(t, dirEntry("d"), fileEntry(fmt.Sprintf("d/%03d", n), fmt.Sprint(n)), fileEntry("d/last", fmt.Sprint(n)))
}

func TestImageLayersAreShared(t *testing.T) {
	store, dir := t.TempDir(), t.TempDir()
	base := layerTar(t, 1)
	writeImage(t, dir+"/a", nil, base, layerTar(t, 2))
	writeImage(t, dir+"/b", nil, base, layerTar(t, 3), base) // one layer twice
	a, b := importAs(t, store, "oci:"+dir+"/a", "a"), importAs(t, store, "oci:"+dir+"/b:t", "b:x")
	if len(a.Lowers) != 2 || len(b.Lowers) != 2 || a.Lowers[1] != b.Lowers[0] {
		t.Errorf("%v and %v", a.Lowers, b.Lowers)
	}
	if got := names(t, store+"/layers"); len(got) != 3 {
		t.Errorf("layers %v", got)
	}
	if got, _ := b.View().ReadFile("/d/last", 10); string(got) != "1" {
		t.Errorf("the upper of two equal layers does not hide what is between: %q", got)
	}
	// In use: the name goes, the rest stays.
	if st, err := RemoveImage(store, "a"); err != nil || st.Busy == 0 || st.Entries != 0 {
		t.Errorf("%+v, %v", st, err)
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	if st, err := GC(store, GCOptions{Keep: 0}); err != nil || st.Images != 1 || st.Entries != 1 {
		t.Errorf("an image with a name and no source went, or one without stayed: %+v, %v", st, err)
	}
	if st, err := RemoveImage(store, "b:x"); err != nil || st.Entries != 2 {
		t.Errorf("%+v, %v", st, err)
	}
	for _, d := range []string{"layers", "images", "names", "index", "tmp"} {
		if left := names(t, store+"/"+d); len(left) > 0 {
			t.Errorf("%s: %v", d, left)
		}
	}
}

func TestStack(t *testing.T) {
	store, dir := t.TempDir(), t.TempDir()
	var layers [][]byte
	const n = lowersMax + 40
	for i := range n {
		layers = append(layers, layerTar(t, i))
	}
	// These lie where they are put into one.
	layers[3] = tarOf(t, dirEntry("d"), fileEntry("d/.wh.001", ""), dirEntry("gone"), fileEntry("gone/x", ""), dirEntry("kept"), fileEntry("kept/x", "old"))
	layers[5] = tarOf(t, fileEntry(".wh.gone", ""), dirEntry("kept"), fileEntry("kept/.wh..wh..opq", ""), fileEntry("kept/y", "new"))
	locked := dirEntry("locked")
	locked.Mode = 0o710
	layers[6] = tarOf(t, locked)
	writeImage(t, dir, nil, layers...)
	r := importAs(t, store, "oci:"+dir, "many")
	defer r.Close()
	if len(r.Lowers) != lowersMax {
		t.Fatalf("%d lowers", len(r.Lowers))
	}
	v := r.View()
	for path, want := range map[string]string{"d/000": "0", "d/001": "", "d/002": "2", "gone/x": "", "kept/x": "", "kept/y": "new", "d/last": fmt.Sprint(n - 1)} {
		got, err := v.ReadFile(path, 10)
		if string(got) != want || (want == "") != (err != nil) {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
	if fi, err := v.Stat("locked"); err != nil || fi.Mode().Perm()&0o077 != 0o010 {
		t.Errorf("a directory's mode is lost: %v, %v", fi, err)
	}
	if v, err := Verify(context.Background(), store, false); err != nil || len(v.Damaged) > 0 || v.Layers != n+1 {
		t.Errorf("%+v, %v", v, err)
	}
	r2 := importAs(t, store, "oci:"+dir, "again")
	defer r2.Close()
	if r2.Lowers[lowersMax-1] != r.Lowers[lowersMax-1] {
		t.Error("it was stacked again")
	}
}

// TestVerify: whatever is changed in a tree is found, and named.
func TestVerify(t *testing.T) {
	for what, change := range map[string]func(fs string) error{
		"other content": func(fs string) error { // of the same size and time, as a disk does it
			f, err := os.OpenFile(fs+"/d/001", os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			fi, err := f.Stat()
			if err == nil {
				_, err = f.WriteAt([]byte("X"), 0)
			}
			return errors.Join(err, os.Chtimes(fs+"/d/001", time.Time{}, fi.ModTime()))
		},
		"missing": func(fs string) error { return os.Remove(fs + "/d/001") },
		"last":    func(fs string) error { return os.Remove(fs + "/d/last") },
		"added":   func(fs string) error { return os.WriteFile(fs+"/d/002", nil, 0o644) },
		"mode":    func(fs string) error { return os.Chmod(fs+"/d/001", 0o755) },
		"setuid":  func(fs string) error { return os.Chmod(fs+"/d/001", 0o644|os.ModeSetuid) },
		"link": func(fs string) error {
			return errors.Join(os.Remove(fs+"/d/001"), os.Symlink("/etc/passwd", fs+"/d/001"))
		},
		"attribute": func(fs string) error { return unix.Setxattr(fs+"/d/001", "user.x", []byte("1"), 0) },
		"sums":      func(fs string) error { return os.Remove(fs + "/../sums") },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			store, dir := t.TempDir(), t.TempDir()
			writeImage(t, dir, nil, layerTar(t, 1))
			r := importAs(t, store, "oci:"+dir, "a")
			r.Close()
			if v, err := Verify(context.Background(), store, false); err != nil || len(v.Damaged) > 0 || v.Layers != 1 || v.Images != 1 {
				t.Fatalf("before: %+v, %v", v, err)
			}
			if err := change(r.Lowers[0]); err != nil {
				t.Fatal(err)
			}
			v, err := Verify(context.Background(), store, true)
			if err != nil || len(v.Damaged) != 1 || !v.Damaged[0].Removed || v.Damaged[0].Images[0] != "a:latest" {
				t.Fatalf("%+v, %v", v, err)
			}
			again := importAs(t, store, "oci:"+dir, "a")
			defer again.Close()
			if v, err := Verify(context.Background(), store, false); err != nil || len(v.Damaged) > 0 || v.Layers != 1 {
				t.Errorf("after: %+v, %v", v, err)
			}
		})
	}
}

// TestPowerFailure: an entry of an earlier boot is looked at before it is used,
// once; what suffered is made anew.
func TestPowerFailure(t *testing.T) {
	store, dir := t.TempDir(), t.TempDir()
	writeImage(t, dir, nil, layerTar(t, 1), layerTar(t, 2))
	r := importAs(t, store, "oci:"+dir, "a")
	r.Close()
	s := store0(store)
	const before = "00000000-0000-0000-0000-000000000000"
	reboot := func() {
		t.Helper()
		for _, e := range [][2]string{{imagesDir, entryName(r.Digest)}, {layersDir, names(t, store+"/layers")[0]}, {layersDir, names(t, store+"/layers")[1]}} {
			writeFile(t, s.path(e[0], e[1], "lock"), []byte(before))
		}
	}
	reboot()
	again, err := s.byName("a:latest")
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if b, _ := os.ReadFile(s.path(imagesDir, entryName(r.Digest), "lock")); string(b) != writtenMark {
		t.Errorf("the lock says %q", b)
	}
	reboot()
	if err := os.Truncate(r.Lowers[1]+"/d/001", 0); err != nil {
		t.Fatal(err)
	}
	if r, err := s.byName("a:latest"); !errors.Is(err, errGone) {
		t.Errorf("a damaged image is run: %v, %v", r, err)
	}
	anew := importAs(t, store, "oci:"+dir, "a")
	defer anew.Close()
	if got, _ := anew.View().ReadFile("/d/001", 10); string(got) != "1" {
		t.Errorf("it was not made anew: %q", got)
	}
	// A torn record.
	reboot()
	anew.Close()
	writeFile(t, s.path(imagesDir, entryName(r.Digest), "run.json"), nil)
	third := importAs(t, store, "oci:"+dir, "a")
	defer third.Close()
	if len(third.Lowers) != 2 {
		t.Errorf("%+v", third)
	}
}

func store0(dir string) store { return store{dir} }

// TestManyImporters: processes import images that share layers, while others
// remove, run and collect; each gets a whole image. Some are killed.
func TestManyImporters(t *testing.T) {
	store, dir := t.TempDir(), t.TempDir()
	base := tarOf(t, dirEntry("d"), fileEntry("d/000", strings.Repeat("x", 1<<20)))
	const images = 4
	for i := range images {
		writeImage(t, fmt.Sprintf("%s/%d", dir, i), nil, base, layerTar(t, i+1))
	}
	var wait sync.WaitGroup
	stop := make(chan struct{})
	var collector sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := GC(store, GCOptions{Keep: 0}); err != nil {
					t.Errorf("gc: %v", err)
				}
			}
		}
	})
	for i := range images {
		wait.Go(func() {
			name := fmt.Sprintf("i%d", i)
			for n := range 6 {
				cmd := exec.Command("/proc/self/exe")
				cmd.Env = append(os.Environ(), "HUTCH_ROOTFS_HELPER=import", "HUTCH_ROOTFS_STORE="+store,
					fmt.Sprintf("HUTCH_ROOTFS_FROM=oci:%s/%d", dir, i), "HUTCH_ROOTFS_NAME="+name)
				var out bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &out
				if err := cmd.Start(); err != nil {
					t.Error(err)
					return
				}
				if n%2 == 1 { // kill -9 somewhere
					time.Sleep(time.Duration(n*i) * time.Millisecond)
					cmd.Process.Kill()
					cmd.Wait()
				} else if err := cmd.Wait(); err != nil {
					t.Errorf("%v: %s", err, out.String())
				}
				ref, _ := ParseImage(name)
				src, _ := Parse(fmt.Sprintf("oci:%s/%d", dir, i))
				r, err := Import(context.Background(), src, ref, Options{Store: store})
				if err != nil {
					t.Error(err)
					continue
				}
				if got, err := r.View().ReadFile(fmt.Sprintf("/d/%03d", i+1), 10); err != nil || string(got) != fmt.Sprint(i+1) {
					t.Errorf("%q, %v", got, err)
				}
				if got, err := r.View().ReadFile("/d/000", 2<<20); err != nil || len(got) != 1<<20 {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				r.Close()
				if _, err := RemoveImage(store, name); err != nil && !strings.Contains(err.Error(), "not in the store") {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	close(stop)
	collector.Wait()
	if v, err := Verify(context.Background(), store, false); err != nil || len(v.Damaged) > 0 {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := GC(store, GCOptions{Keep: 0}); err != nil {
		t.Error(err)
	}
	for _, d := range []string{"layers", "images", "names", "tmp"} {
		if left := names(t, store+"/"+d); len(left) > 0 {
			t.Errorf("%s: %v", d, left)
		}
	}
}

// TestFullStore: a store that fills up in the middle says so and keeps nothing
// half-made.
func TestFullStore(t *testing.T) {
	if os.Geteuid() != 0 || inUserNamespace(t) {
		t.Skip("mounting needs root; the run as root does it")
	}
	store, dir := t.TempDir(), t.TempDir()
	if err := unix.Mount("tmpfs", store, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=1m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(store, unix.MNT_DETACH)
	big := tarOf(t, dirEntry("d"), fileEntry("d/big", string(textData(3<<20))))
	writeImage(t, dir+"/img", nil, layerTar(t, 1), big)
	writeFile(t, dir+"/big.tar", big)
	for _, arg := range []string{"oci:" + dir + "/img", dir + "/big.tar"} {
		ref, err := Parse(arg)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Prepare(context.Background(), ref, Options{Store: store})
		if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "; make room") {
			t.Errorf("%s: %v", arg, err)
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
}

// importHelper is what a second process of TestManyImporters does.
func importHelper() int {
	src, err := Parse(os.Getenv("HUTCH_ROOTFS_FROM"))
	name, nerr := ParseImage(os.Getenv("HUTCH_ROOTFS_NAME"))
	if err = errors.Join(err, nerr); err == nil {
		_, err = Import(context.Background(), src, name, Options{
			Store: os.Getenv("HUTCH_ROOTFS_STORE"), Format: Format(os.Getenv("HUTCH_ROOTFS_FORMAT")),
		})
	}
	if err != nil {
		io.WriteString(os.Stderr, err.Error()+"\n")
		return 1
	}
	return 0
}

// TestHostileDocuments: what an image's author or a registry may write.
func TestHostileDocuments(t *testing.T) {
	good := digestBytes(nil)
	for _, tt := range []struct{ index, want string }{
		{``, "no JSON"},
		{`<html>`, "web page"},
		{`{}`, "holds no image"},
		{`{"schemaVersion":1}`, "schema 1"},
		{`{"manifests":[{"digest":"sha256:../../etc/passwd","size":1}]}`, "only sha256: and 64"},
		{`{"manifests":[{"digest":"sha512:` + strings.Repeat("0", 128) + `","size":1}]}`, "only sha256: and 64"},
		{`{"manifests":[{"digest":"` + good + `","size":-1}]}`, "says that"},
		{`{"manifests":[{"digest":"` + good + `","size":99999999999}]}`, "more than"},
		{`{"manifests":[{"digest":"` + strings.Replace(good, "e3", "e4", 1) + `","size":1}]}`, "not complete"},
		{`{"manifests":[{"digest":"` + good + `","size":1}]}`, "no JSON"},
	} {
		dir := t.TempDir()
		writeImage(t, dir, nil)
		writeFile(t, dir+"/"+blobPath(good), nil)
		writeFile(t, dir+"/index.json", []byte(tt.index))
		ref := Ref{Kind: KindOCI, Path: dir}
		if r, err := Prepare(context.Background(), ref, Options{Store: t.TempDir()}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v %v, want %q", tt.index, r, err, tt.want)
		}
	}
	// A layout's parts are not looked up outside of it.
	dir, outside := t.TempDir(), t.TempDir()
	writeImage(t, dir, nil, layerTar(t, 1))
	if err := os.Rename(dir+"/blobs", outside+"/blobs"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside+"/blobs", dir+"/blobs"); err != nil {
		t.Fatal(err)
	}
	if _, err := Prepare(context.Background(), Ref{Kind: KindOCI, Path: dir}, Options{Store: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a link led out of the layout: %v", err)
	}
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:00","size":1,"platform":{"os":"linux"}}]}`))
	f.Add([]byte(`{"config":{"digest":"` + digestBytes(nil) + `"},"layers":[{"mediaType":"tar"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.MkdirAll(dir+"/blobs/sha256", 0o755); err != nil {
			t.Fatal(err)
		}
		d := digestBytes(data)
		writeFile(t, dir+"/"+blobPath(d), data)
		writeFile(t, dir+"/index.json", []byte(fmt.Sprintf(`{"manifests":[{"digest":%q,"size":%d}]}`, d, len(data))))
		_, _ = layoutImage(context.Background(), dir, "", "")
		writeFile(t, dir+"/index.json", data)
		_, _ = layoutImage(context.Background(), dir, "x", "linux/arm64/v8")
		writeFile(t, dir+"/manifest.json", data)
		_, _ = dockerImage(dir, "x", "")
	})
}

func TestNames(t *testing.T) {
	for arg, want := range map[string][3]string{
		"debian":                     {"debian:latest", "", "debian"},
		"team/app:1":                 {"team/app:1", "", "team/app"},
		"docker.io/debian":           {"docker.io/library/debian:latest", "docker.io", "library/debian"},
		"docker.io/a/b:c":            {"docker.io/a/b:c", "docker.io", "a/b"},
		"localhost/x":                {"localhost/x:latest", "localhost", "x"},
		"localhost:5000/x:y":         {"localhost:5000/x:y", "localhost:5000", "x"},
		"reg.example:5000/a/b/c":     {"reg.example:5000/a/b/c:latest", "reg.example:5000", "a/b/c"},
		"r.io/x@" + digestBytes(nil): {"r.io/x@" + digestBytes(nil), "r.io", "x"},
	} {
		r, err := ParseImage(arg)
		if err != nil {
			t.Errorf("%s: %v", arg, err)
			continue
		}
		host, repo := r.Host()
		if got := [3]string{r.FullName(), host, repo}; got != want {
			t.Errorf("%s: %q, want %q", arg, got, want)
		}
		if nameOfKey(nameKey(r.FullName())) != r.FullName() {
			t.Errorf("%s: the file name loses it", arg)
		}
	}
}
