package transfer

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const plenty = 1 << 20

func openPath(t testing.TB, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func write(t testing.TB, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func pack(t testing.TB, path string, o PackOptions) ([]byte, error) {
	t.Helper()
	var b bytes.Buffer
	_, err := Pack(&b, openPath(t, path), o)
	return b.Bytes(), err
}

// listing is every path below dir.
func listing(t testing.TB, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		all = append(all, strings.TrimPrefix(p, dir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestThereAndBack(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	write(t, src+"/x/a\nb", "one")
	write(t, src+"/x/deep/"+strings.Repeat("n", 255), "two")
	write(t, src+"/x/closed/f", "three")
	when := time.Unix(1000000000, 0)
	for _, err := range []error{
		os.Chtimes(src+"/x/a\nb", when, when), os.Chmod(src+"/x/a\nb", 0o4755), os.Chmod(src+"/x/closed", 0o555),
		os.Symlink("/nowhere", src+"/x/link"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	data, err := pack(t, src+"/x", PackOptions{Bytes: plenty, Links: true, Owner: -1})
	if err != nil {
		t.Fatal(err)
	}
	n, err := Place(bytes.NewReader(data), openPath(t, dst), "y", PlaceOptions{Bytes: plenty, Links: true, Umask: 0o022})
	if err != nil || n != 11 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	info, err := os.Stat(dst + "/y/a\nb")
	if err != nil || info.Mode() != 0o755 || !info.ModTime().Equal(when) {
		t.Errorf("%v %v", info, err)
	}
	if target, err := os.Readlink(dst + "/y/link"); target != "/nowhere" {
		t.Errorf("link to %q, %v", target, err)
	}
	if info, err := os.Stat(dst + "/y/closed"); err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("closed: %v %v", info, err)
	}
	if a, b := listing(t, src+"/x"), listing(t, dst+"/y"); strings.Join(a, "\x00") != strings.Join(b, "\x00") {
		t.Errorf("%q became %q", a, b)
	}
	defer func() { // or a user cannot remove them
		os.Chmod(src+"/x/closed", 0o755)
		os.Chmod(dst+"/y/closed", 0o755)
	}()
	// Not a second time, and nothing is left of the attempt, closed as it is.
	_, err = Place(bytes.NewReader(data), openPath(t, dst), "y", PlaceOptions{Bytes: plenty, Links: true})
	if err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("twice: %v", err)
	}
	if names, _ := os.ReadDir(dst); len(names) != 1 {
		t.Errorf("left: %v", names)
	}
}

// Wherever a stream ends, what is at the target is what was there before.
func TestCutOff(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	write(t, src+"/x/a", "one")
	write(t, src+"/x/b", "two")
	write(t, dst+"/y", "before")
	for _, what := range []string{"/x", "/x/a"} {
		data, err := pack(t, src+what, PackOptions{Bytes: plenty, Owner: -1})
		if err != nil {
			t.Fatal(err)
		}
		// Behind the mark come only zeros.
		whole := bytes.LastIndex(data, []byte("end\x00"))
		for n := 0; n < whole; n += 256 {
			_, err := Place(bytes.NewReader(data[:n]), openPath(t, dst), "y", PlaceOptions{Bytes: plenty})
			if !errors.Is(err, ErrCutOff) {
				t.Errorf("%d of %d bytes: %v", n, len(data), err)
			}
		}
	}
	if now, _ := os.ReadFile(dst + "/y"); string(now) != "before" {
		t.Errorf("now %q", now)
	}
	if names, _ := os.ReadDir(dst); len(names) != 1 {
		t.Errorf("left: %v", names)
	}
}

// Each is refused by name, and none of them is waited for.
func TestRefused(t *testing.T) {
	src := t.TempDir()
	if err := os.Mkdir(src+"/socket", 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	t.Chdir(src + "/socket") // the name of a socket has 108 bytes
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: "s"}); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"/link", "/fifo", "/big", "/hard"} {
		if err := os.Mkdir(src+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, src+"/hard/a", "x")
	write(t, src+"/big/s", "")
	for _, err := range []error{
		os.Symlink("/etc/passwd", src+"/link/s"), unix.Mkfifo(src+"/fifo/s", 0o644),
		os.Truncate(src+"/big/s", 1<<40), os.Link(src+"/hard/a", src+"/hard/s"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"link": "symbolic link", "fifo": "FIFO", "socket": "socket", "big": "left of the copy limit", "hard": "hard link",
	} {
		for _, path := range []string{"/" + name, "/" + name + "/s"} {
			began := time.Now()
			data, err := pack(t, src+path, PackOptions{Bytes: plenty, Owner: os.Getuid() + 1})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", path, err)
			}
			if len(data) > 64<<10 || time.Since(began) > 5*time.Second {
				t.Errorf("%s: %d bytes in %v", path, len(data), time.Since(began))
			}
		}
	}
	if _, err := pack(t, src+"/hard", PackOptions{Bytes: plenty, Owner: os.Getuid()}); err != nil {
		t.Errorf("one's own hard link: %v", err)
	}
}

// While a directory is swapped for a symbolic link and back, nothing of where
// the link leads to is ever packed. A walk by names has it within moments, as
// the second half shows.
func TestSwappedWhileCopied(t *testing.T) {
	src, secret := t.TempDir(), t.TempDir()
	write(t, secret+"/f", "SECRET")
	write(t, src+"/d/f", "mine")
	if err := os.Symlink(secret, src+"/l"); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, src+"/d", unix.AT_FDCWD, src+"/l", unix.RENAME_EXCHANGE)
			}
		}
	})
	defer swapper.Wait()
	defer close(stop)
	fd := openPath(t, src)
	for range 2000 {
		var b bytes.Buffer
		_, _ = Pack(&b, fd, PackOptions{Bytes: plenty, Links: true, Owner: -1})
		if bytes.Contains(b.Bytes(), []byte("SECRET")) {
			t.Fatal("the link was followed")
		}
	}
	for end := time.Now().Add(20 * time.Second); ; {
		if data, _ := os.ReadFile(src + "/d/f"); string(data) == "SECRET" {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the attack does not work")
		}
	}
}

// A packer that lies gets nowhere: names that leave, kinds that are not
// copied, more than was allowed.
func TestLyingPacker(t *testing.T) {
	for _, tt := range []struct {
		name  string
		entry []tar.Header
	}{
		{"up", []tar.Header{{Name: "top/", Typeflag: tar.TypeDir}, {Name: "top/../../out", Typeflag: tar.TypeReg}}},
		{"absolute", []tar.Header{{Name: "/out", Typeflag: tar.TypeReg}}},
		{"beside", []tar.Header{{Name: "topside", Typeflag: tar.TypeReg}}},
		{"two", []tar.Header{{Name: "top", Typeflag: tar.TypeReg}, {Name: "top", Typeflag: tar.TypeReg}}},
		{"none", []tar.Header{{Name: "end", Typeflag: tar.TypeReg}}},
		{"through a file", []tar.Header{{Name: "top", Typeflag: tar.TypeReg}, {Name: "top/x", Typeflag: tar.TypeReg}}},
		{"link", []tar.Header{{Name: "top", Typeflag: tar.TypeSymlink, Linkname: "/"}}},
		{"hard link", []tar.Header{{Name: "top", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}}},
		{"device", []tar.Header{{Name: "top", Typeflag: tar.TypeChar}}},
		{"large", []tar.Header{{Name: "top", Typeflag: tar.TypeReg, Size: plenty + 1}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			for _, h := range append(tt.entry, tar.Header{Name: "end", Typeflag: tar.TypeReg}) {
				if err := w.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
				if _, err := io.CopyN(w, zeros{}, h.Size); err != nil {
					t.Fatal(err)
				}
			}
			out := t.TempDir()
			dst := filepath.Join(out, "in")
			if err := os.Mkdir(dst, 0o755); err != nil {
				t.Fatal(err)
			}
			if _, err := Place(&b, openPath(t, dst), "y", PlaceOptions{Bytes: plenty}); err == nil {
				t.Error("placed")
			}
			if all := listing(t, out); len(all) != 2 {
				t.Errorf("left: %q", all)
			}
		})
	}
}

// Where links are allowed, nothing is written through one.
func TestNothingThroughALink(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	outside := t.TempDir()
	for _, h := range []tar.Header{
		{Name: "top/", Typeflag: tar.TypeDir},
		{Name: "top/l", Typeflag: tar.TypeSymlink, Linkname: outside},
		{Name: "top/l/f", Typeflag: tar.TypeReg},
		{Name: "end", Typeflag: tar.TypeReg},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	dst := t.TempDir()
	if _, err := Place(&b, openPath(t, dst), "y", PlaceOptions{Bytes: plenty, Links: true}); err == nil {
		t.Error("placed")
	}
	if all := append(listing(t, outside), listing(t, dst)...); len(all) != 2 {
		t.Errorf("left: %q", all)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A target inside a box: links lead to places of the box only, and no copy
// goes to a file system that is not its own.
func TestOpenTargetIn(t *testing.T) {
	out := t.TempDir()
	root := filepath.Join(out, "root")
	write(t, root+"/etc/f", "")
	if err := os.Symlink("/etc", root+"/abs"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../..", root+"/up"); err != nil {
		t.Fatal(err)
	}
	fd := openPath(t, root)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	own := []uint64{st.Dev}
	for target, want := range map[string]string{
		"/x": "/x", "/new/deep/x": "/new/deep/x", "/new2/": "/new2/src", "/abs": "/etc/src", "/abs/y": "/etc/y",
		"/up/up/z": "/z", "/": "/src",
	} {
		to, err := OpenTargetIn(fd, target, "some/src", own, PlaceOptions{})
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		write(t, root+want+".parent", "") // it must have one
		at, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(to.Dir))
		if got := filepath.Join(strings.TrimPrefix(at, root), to.Name); err != nil || "/"+strings.TrimPrefix(got, "/") != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
		unix.Close(to.Dir)
	}
	if _, err := OpenTargetIn(fd, "/new/x", "src", []uint64{0}, PlaceOptions{}); err == nil {
		t.Error("on a foreign file system")
	}
	if names, _ := os.ReadDir(out); len(names) != 1 {
		t.Errorf("made outside: %v", names)
	}
}

// Whatever a stream holds, nothing is made outside, and what cannot be placed
// leaves nothing.
func FuzzPlace(f *testing.F) {
	src := f.TempDir()
	write(f, src+"/x/a", "one")
	data, err := pack(f, src+"/x", PackOptions{Bytes: plenty, Owner: -1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		out := t.TempDir()
		dst := filepath.Join(out, "in")
		if err := os.Mkdir(dst, 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := Place(bytes.NewReader(data), openPath(t, dst), "y", PlaceOptions{Bytes: plenty, Links: true})
		names, _ := os.ReadDir(dst)
		if outer, _ := os.ReadDir(out); len(outer) != 1 || err == nil && len(names) != 1 || err != nil && len(names) != 0 {
			t.Fatalf("%v: %v, %v", err, outer, names)
		}
	})
}
