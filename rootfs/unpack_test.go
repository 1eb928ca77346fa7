package rootfs

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func unpackTo(t testing.TB, dir string, data []byte, opt UnpackOptions) (Stats, error) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return Unpack(context.Background(), bytes.NewReader(data), dir, opt)
}

func mustUnpack(t testing.TB, dir string, data []byte, opt UnpackOptions) Stats {
	t.Helper()
	st, err := unpackTo(t, dir, data, opt)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestOrder: the result is that of one entry after the other, although files
// are written in parallel.
func TestOrder(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 1<<20/16*5)
	tests := []struct {
		name    string
		entries []entry
		want    map[string]string // path → content, "→target", "dir"
	}{
		{"file twice", []entry{fileEntry("f", "one"), fileEntry("f", "two")}, map[string]string{"f": "two"}},
		{"large file, then small", []entry{fileEntry("f", big), fileEntry("f", "two")}, map[string]string{"f": "two"}},
		{"file becomes a link", []entry{fileEntry("f", big), symlinkEntry("f", "g")}, map[string]string{"f": "→g"}},
		{"link becomes a file", []entry{symlinkEntry("f", "g"), fileEntry("g", "old"), fileEntry("f", "new")}, map[string]string{"f": "new", "g": "old"}},
		{"directory becomes a file", []entry{dirEntry("d"), fileEntry("d/x", "x"), fileEntry("d", "file")}, map[string]string{"d": "file"}},
		{"file becomes a directory", []entry{fileEntry("d", big), dirEntry("d"), fileEntry("d/x", "x")}, map[string]string{"d/x": "x"}},
		{"directory twice keeps its files", []entry{dirEntry("d"), fileEntry("d/x", "x"), dirEntry("d")}, map[string]string{"d/x": "x"}},
		{"link to a directory becomes one", []entry{dirEntry("a"), symlinkEntry("d", "a"), dirEntry("d"), fileEntry("d/x", "x")}, map[string]string{"d/x": "x", "a": "dir"}},
		{"through a link", []entry{dirEntry("usr/lib"), symlinkEntry("lib", "usr/lib"), fileEntry("lib/x", "x")}, map[string]string{"usr/lib/x": "x", "lib": "→usr/lib"}},
		{"through an absolute link", []entry{dirEntry("usr/lib"), symlinkEntry("lib", "/usr/lib"), fileEntry("lib/x", "x")}, map[string]string{"usr/lib/x": "x"}},
		{"same file by two ways", []entry{dirEntry("a"), symlinkEntry("b", "a"), fileEntry("a/x", big), fileEntry("b/x", "second")}, map[string]string{"a/x": "second"}},
		{"hard link to a large file", []entry{fileEntry("f", big), linkEntry("h", "f"), fileEntry("f", "new")}, map[string]string{"f": "new", "h": big}},
		{"hard link to an absolute target", []entry{fileEntry("d/f", "x"), linkEntry("h", "/d/f")}, map[string]string{"h": "x"}},
		{"hard link over a file", []entry{fileEntry("f", "x"), fileEntry("h", "old"), linkEntry("h", "f")}, map[string]string{"h": "x"}},
		{"hard link to itself", []entry{fileEntry("f", "x"), linkEntry("f", "f")}, map[string]string{"f": "x"}},
		{"parents without entries", []entry{fileEntry("a/b/c/f", "x")}, map[string]string{"a/b/c/f": "x"}},
		{"dots and slashes", []entry{fileEntry("./a//./b", "x")}, map[string]string{"a/b": "x"}},
		{"file through a replaced parent", []entry{
			dirEntry("p"), fileEntry("p/one", "1"), fileEntry("p", "file"), dirEntry("p"), fileEntry("p/two", "2"),
		}, map[string]string{"p/two": "2"}},
		{"empty file", []entry{fileEntry("f", "")}, map[string]string{"f": ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir() + "/tree"
			mustUnpack(t, dir, tarOf(t, tt.entries...), UnpackOptions{})
			for p, want := range tt.want {
				if got := describe(dir + "/" + p); got != want {
					t.Errorf("%s: %.40q, want %.40q", p, got, want)
				}
			}
			if tt.name == "file through a replaced parent" {
				if _, err := os.Lstat(dir + "/p/one"); err == nil {
					t.Error("p/one is still there")
				}
			}
		})
	}
}

func describe(p string) string {
	fi, err := os.Lstat(p)
	switch {
	case err != nil:
		return err.Error()
	case fi.IsDir():
		return "dir"
	case fi.Mode()&os.ModeSymlink != 0:
		l, _ := os.Readlink(p)
		return "→" + l
	}
	b, err := os.ReadFile(p)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// TestRefused: each is one clear error, and leaves nothing behind.
func TestRefused(t *testing.T) {
	good := tarOf(t, dirEntry("d"), fileEntry("d/f", strings.Repeat("x", 100000)), fileEntry("g", "y"))
	tests := []struct {
		name string
		data []byte
		want string
		lim  UnpackLimits
	}{
		{"empty", nil, "is empty", UnpackLimits{}},
		{"html", []byte("\n<!DOCTYPE html><html>404</html>"), "HTML", UnpackLimits{}},
		{"json", []byte(`{"errors":[]}`), "JSON", UnpackLimits{}},
		{"zip", []byte("PK\x03\x04" + strings.Repeat("x", 600)), "zip", UnpackLimits{}},
		{"deb", []byte("!<arch>\ndebian-binary"), "Debian package", UnpackLimits{}},
		{"rubbish", bytes.Repeat([]byte("rubbish "), 100), "neither a tar", UnpackLimits{}},
		{"short", []byte("abc"), "too short", UnpackLimits{}},
		{"first header damaged", append([]byte("X"), good[1:]...), "first header is damaged", UnpackLimits{}},
		{"cut in a header", good[:512+100], "cut short", UnpackLimits{}},
		{"cut in a file", good[:512*20], "cut short", UnpackLimits{}},
		{"cut between entries", good[:512], "cut short", UnpackLimits{}},
		{"cut before the end marker", good[:len(good)-1024], "cut short", UnpackLimits{}},
		{"gz cut", gzipData(t, good)[:200], "cut short", UnpackLimits{}},
		{"gz without its trailer", gzipData(t, good)[:len(gzipData(t, good))-8], "cut short", UnpackLimits{}},
		{"gz with a wrong sum", flip(gzipData(t, good), -8), "damaged", UnpackLimits{}},
		{"gz of no tar", gzipData(t, []byte(strings.Repeat("no tar", 1000))), "checksum", UnpackLimits{}},
		{"only a gz header", gzipData(t, good)[:10], "cut short", UnpackLimits{}},
		{"xz header only", []byte("\xfd7zXZ\x00"), "cut short", UnpackLimits{}},
		{"zst header only", []byte("\x28\xb5\x2f\xfd"), "cut short", UnpackLimits{}},
		{"bz2 header only", []byte("BZh9"), "cut short", UnpackLimits{}},
		{"xz with a 1.5 GiB dictionary", []byte("\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x25\x00\x00\x00\x00\x00\x00\x00"), "dictionary", UnpackLimits{}},
		{"too many bytes", good, "limit of 1000 bytes", UnpackLimits{Bytes: 1000}},
		{"too many entries", good, "limit of 2 entries", UnpackLimits{Entries: 2}},
		{"too deep", tarOf(t, dirEntry(strings.Repeat("d/", 20))), "limit of 10 levels", UnpackLimits{Depth: 10}},
		{"too deep by default", tarOf(t, dirEntry(strings.Repeat("d/", 1000))), "limit of 512 levels", UnpackLimits{}},
		{"name of 256 bytes", tarOf(t, fileEntry(strings.Repeat("n", 256), "")), "longer than 255", UnpackLimits{}},
		{"path too long", tarOf(t, fileEntry(strings.Repeat("nnnnnnnnn/", 500)+"f", "")), "bytes in a path", UnpackLimits{}},
		{"large extended header", tarOf(t, fileEntry("f", "").with(func(h *tar.Header) {
			h.PAXRecords = map[string]string{"HUTCH.x": strings.Repeat("x", 1000)}
		})), "limit of 1000 bytes in one extended header", UnpackLimits{PAX: 1000}},
		{"parent is a file", tarOf(t, fileEntry("f", "x"), fileEntry("f/g", "y")), "f/g", UnpackLimits{}},
		{"link to nothing", tarOf(t, linkEntry("h", "nothing")), "nothing", UnpackLimits{}},
		{"link to a directory", tarOf(t, dirEntry("d"), linkEntry("h", "d")), "directory", UnpackLimits{}},
		{"link to the root", tarOf(t, linkEntry("h", "/")), "root", UnpackLimits{}},
		{"links in a circle", tarOf(t, symlinkEntry("a", "b"), symlinkEntry("b", "a"), fileEntry("a/f", "")), "a/f", UnpackLimits{}},
		{"owner out of range", tarOf(t, fileEntry("f", "").with(func(h *tar.Header) { h.Uid = 1 << 32 })), "out of range", UnpackLimits{}},
		{"owner -1", tarOf(t, fileEntry("f", "").with(func(h *tar.Header) { h.Gid = 1<<32 - 1 })), "out of range", UnpackLimits{}},
		{"unknown type", rawHeader("f", 'Q', 0), "unknown type", UnpackLimits{}},
		{"size that lies", rawHeader("f", '0', 1<<40), "cut short", UnpackLimits{Bytes: -1}},
		{"size that lies, over the limit", rawHeader("f", '0', 1<<40), "limit of 274877906944 bytes", UnpackLimits{}},
		{"sparse terabyte", sparseFile(1 << 40), "bytes of files", UnpackLimits{}},
		{"extended header of a lying size", rawHeader("f", 'x', 1<<40), "extended header", UnpackLimits{}},
		{"long name of a lying size", rawHeader("f", 'L', 1<<40), "bytes in a path", UnpackLimits{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir() + "/tree"
			_, err := unpackTo(t, dir, tt.data, UnpackOptions{Limits: tt.lim})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of several lines: %v", err)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[len(b)+at] ^= 1
	return b
}

// rawHeader makes a header that no writer would, followed by an end marker.
func rawHeader(name string, kind byte, size int64) []byte {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], "0000644\x00")
	copy(b[108:], "0000000\x00")
	copy(b[116:], "0000000\x00")
	copy(b[124:], fmt.Sprintf("%011o\x00", size))
	if size >= 1<<33 {
		b[124] = 0x80
		for i := range 11 {
			b[135-i] = byte(size >> (8 * i))
		}
	}
	copy(b[136:], "00000000000\x00")
	b[156] = kind
	copy(b[257:], "ustar\x0000")
	sum(b)
	return append(b, make([]byte, 1024)...)
}

func sum(b []byte) {
	copy(b[148:156], "        ")
	n := 0
	for _, c := range b[:512] {
		n += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", n))
}

// sparseFile is GNU's type S: no data, and a length.
func sparseFile(size int64) []byte {
	b := rawHeader("sparse", 'S', 0)
	copy(b[257:], "ustar  \x00")
	b[483] = 0x80
	for i := range 11 {
		b[494-i] = byte(size >> (8 * i))
	}
	sum(b)
	return b
}

func TestHoleIsKept(t *testing.T) {
	dir := t.TempDir() + "/tree"
	mustUnpack(t, dir, sparseFile(10<<30), UnpackOptions{})
	var st unix.Stat_t
	if err := unix.Stat(dir+"/sparse", &st); err != nil || st.Size != 10<<30 || st.Blocks > 16 {
		t.Errorf("size %d, blocks %d, %v", st.Size, st.Blocks, err)
	}
}

// TestBomb: 10 GB of zeros in 10 MB stop at the ratio, and memory is bounded
// even when they may go on.
func TestBomb(t *testing.T) {
	r, w := io.Pipe()
	go func() {
		z := gzip.NewWriter(w)
		_, _ = z.Write(rawHeader("zeros", '0', 10_000_000_000)[:512])
		_, _ = io.Copy(z, &zeros{10_000_000_000})
		w.CloseWithError(z.Close())
	}()
	defer r.Close()
	dir := t.TempDir()
	var limit *LimitError
	_, err := Unpack(context.Background(), r, dir, UnpackOptions{})
	if !errors.As(err, &limit) || limit.What != "ratio" {
		t.Fatalf("error %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	debug.FreeOSMemory()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	// The data goes to a sparse map that covers it, so that it costs no disk:
	// what counts is what passes through.
	data := io.MultiReader(bytes.NewReader(rawHeader("zeros", '0', 600<<20)[:512]), &zeros{600 << 20}, &zeros{1024})
	dir := t.TempDir()
	if _, err := Unpack(context.Background(), data, dir, UnpackOptions{}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := (after.Sys - before.Sys) >> 20; after.Sys > before.Sys && got > 48 {
		t.Errorf("%d MiB more memory", got)
	}
}

func TestManyDirectoriesFewDescriptors(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	low := old
	low.Cur = 100
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	var e []entry
	for i := range 600 {
		d := fmt.Sprintf("a%d/b%d/c%d", i%7, i%29, i)
		e = append(e, dirEntry(d), fileEntry(d+"/f", d), linkEntry(fmt.Sprintf("a%d/l%d", i%5, i), fmt.Sprintf("a%d/b%d/c%d/f", (i/2)%7, (i/2)%29, i/2)))
	}
	dir := t.TempDir() + "/tree"
	mustUnpack(t, dir, tarOf(t, e...), UnpackOptions{})
	for i := range 600 {
		d := fmt.Sprintf("a%d/b%d/c%d", i%7, i%29, i)
		if got := describe(dir + "/" + d + "/f"); got != d {
			t.Fatalf("%s: %q", d, got)
		}
		fi, err := os.Stat(dir + "/" + d)
		if err != nil || !fi.ModTime().Equal(someTime.Round(time.Second)) {
			t.Fatalf("%s: time %v %v", d, fi.ModTime(), err)
		}
	}
	if err := removePath(dir); err != nil {
		t.Error(err)
	}
}

func TestMetadata(t *testing.T) {
	pax := func(h *tar.Header) { h.Format = tar.FormatPAX }
	data := tarOf(t,
		dirEntry("d").with(func(h *tar.Header) { pax(h); h.Mode = 0o2751; h.Uid, h.Gid = 7, 8 }),
		fileEntry("d/f", "x").with(func(h *tar.Header) {
			pax(h)
			h.Mode, h.Uid, h.Gid = 0o6755, 1000, 1001
			h.PAXRecords = map[string]string{
				"SCHILY.xattr.user.color":              "red\x00blue",
				"SCHILY.xattr.trusted.overlay.opaque":  "y",
				"SCHILY.xattr.user.overlay.redirect":   "/etc",
				"SCHILY.xattr.security.selinux":        "x",
				"SCHILY.acl.access":                    "user::rwx,user:joe:r-x:502,group::r-x,mask::r-x,other::r-x",
				"LIBARCHIVE.xattr.user.sh%61pe":        "cm91bmQ",
				"SCHILY.xattr.user.empty":              "",
				"SCHILY.xattr.security.capability":     "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
				"SCHILY.xattr.system.nonsense.unknown": "x",
			}
		}),
		fileEntry("d/none", "secret").with(func(h *tar.Header) { h.Mode = 0 }),
		dirEntry("locked").with(func(h *tar.Header) { h.Mode = 0 }),
		fileEntry("locked/f", "x"),
		symlinkEntry("l", "d").with(func(h *tar.Header) { pax(h); h.Uid = 9 }),
		entry{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "p", Mode: 0o620, ModTime: someTime}},
		entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3, ModTime: someTime}},
		entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: "white", Mode: 0o666, ModTime: someTime}},
		linkEntry("null2", "null"),
	)
	dir := t.TempDir() + "/tree"
	st := mustUnpack(t, dir, data, UnpackOptions{})
	keep := ourOwners().keep
	stat := func(p string) unix.Stat_t {
		var s unix.Stat_t
		if err := unix.Lstat(dir+"/"+p, &s); err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		return s
	}
	for _, w := range []struct {
		path           string
		mode, rootless uint32
		uid, gid       uint32
		nsec           int64
	}{
		{"d", unix.S_IFDIR | 0o2751, unix.S_IFDIR | 0o2751, 7, 8, 789012345},
		{"d/f", unix.S_IFREG | 0o6755, unix.S_IFREG | 0o6755, 1000, 1001, 789012345},
		{"d/none", unix.S_IFREG, unix.S_IFREG | 0o400, 0, 0, 0},
		{"locked", unix.S_IFDIR, unix.S_IFDIR | 0o700, 0, 0, 0},
		{"l", unix.S_IFLNK | 0o777, unix.S_IFLNK | 0o777, 9, 0, 789012345},
		{"p", unix.S_IFIFO | 0o620, unix.S_IFIFO | 0o620, 0, 0, 0},
	} {
		s := stat(w.path)
		mode, uid, gid := w.mode, w.uid, w.gid
		if !keep {
			mode, uid, gid = w.rootless, uint32(os.Geteuid()), uint32(os.Getegid())
		}
		when := someTime.Round(time.Second).Unix() // what archive/tar writes without PAX
		if w.nsec != 0 {
			when = someTime.Unix()
		}
		if s.Mode != mode || s.Uid != uid || s.Gid != gid || s.Mtim.Sec != when || s.Mtim.Nsec != w.nsec {
			t.Errorf("%s: mode %o, owner %d:%d, time %d.%d; want %o, %d:%d, %d.%d", w.path,
				s.Mode, s.Uid, s.Gid, s.Mtim.Sec, s.Mtim.Nsec, mode, uid, gid, when, w.nsec)
		}
	}
	attr := func(name string) string {
		b := make([]byte, 100)
		n, err := unix.Getxattr(dir+"/d/f", name, b)
		if err != nil {
			return err.Error()
		}
		return string(b[:n])
	}
	for name, want := range map[string]string{
		"user.color": "red\x00blue", "user.shape": "round", "user.overlay.redirect": unix.ENODATA.Error(),
	} {
		if got := attr(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	// In a namespace of one id, joe has no number.
	if got := attr(aclAccess); len(got) != 4+5*8 && (keep || !inUserNamespace(t)) {
		t.Errorf("access list: %q", got)
	}
	if caps := attr("security.capability"); keep && len(caps) != 20 && len(caps) != 24 {
		t.Errorf("capabilities: %q", caps)
	}
	if st.Xattrs < 3 || !strings.Contains(strings.Join(st.XattrNames, " "), "trusted.overlay.opaque") {
		t.Errorf("left out: %d %v", st.Xattrs, st.XattrNames)
	}
	mayMknod := keep && !inUserNamespace(t)
	if _, err := os.Lstat(dir + "/null"); mayMknod != (err == nil) {
		t.Errorf("/null: %v, %d devices left out", err, st.Devices)
	}
	if _, err := os.Lstat(dir + "/white"); err == nil || st.Devices == 0 {
		t.Errorf("a device 0:0 was made: it would hide what lies below")
	}
	if !keep && (st.Owners != 3 || st.Modes != 2) {
		t.Errorf("owners not kept %d, modes not kept %d", st.Owners, st.Modes)
	}
	if err := removePath(dir); err != nil {
		t.Errorf("a tree with mode 000 directories cannot be removed: %v", err)
	}
}

func inUserNamespace(t *testing.T) bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	return !strings.Contains(string(b), "4294967295")
}

func TestWhiteouts(t *testing.T) {
	data := tarOf(t,
		dirEntry("a"), fileEntry("a/.wh.gone", ""),
		dirEntry("o"), fileEntry("o/.wh..wh..opq", ""), fileEntry("o/new", "x"),
		fileEntry(".wh.back", ""), fileEntry("back", "file wins"),
		fileEntry("first", "file wins"), fileEntry(".wh.first", ""),
		fileEntry(".wh.dir", ""), dirEntry("dir"), fileEntry("dir/f", "x"),
		dirEntry("dir2"), fileEntry(".wh.dir2", ""),
		fileEntry(".wh..wh.plnk", ""),
	)
	dir := t.TempDir() + "/tree"
	mustUnpack(t, dir, data, UnpackOptions{Whiteouts: WhiteoutsOverlay})
	var st unix.Stat_t
	if err := unix.Lstat(dir+"/a/gone", &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		t.Errorf("a/gone is no whiteout: %v %o %d", err, st.Mode, st.Rdev)
	}
	for p, want := range map[string]string{"back": "file wins", "first": "file wins", "dir/f": "x", "o/new": "x"} {
		if got := describe(dir + "/" + p); got != want {
			t.Errorf("%s: %q", p, got)
		}
	}
	for p, want := range map[string]bool{"o": true, "dir": true, "dir2": true, "a": false} {
		b := make([]byte, 10)
		n, _ := unix.Getxattr(dir+"/"+p, "user.overlay.opaque", b)
		if (n == 1) != want {
			t.Errorf("%s: opaque %v", p, n == 1)
		}
	}
	if left, _ := filepath.Glob(dir + "/.wh*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestForeignArchives: the Go project's test archives are unpacked or refused
// with one clear error; those that archive/tar reads must be unpacked.
func TestForeignArchives(t *testing.T) {
	files, _ := filepath.Glob(goroot() + "/src/archive/tar/testdata/*.tar*")
	if len(files) < 30 {
		t.Fatalf("%d files in GOROOT", len(files))
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(f, ".base64") {
				data, err = io.ReadAll(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(data)))
			} else if strings.HasSuffix(f, ".bz2") {
				data, err = io.ReadAll(io.LimitReader(bzip2.NewReader(bytes.NewReader(data)), 1<<28))
			}
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir() + "/tree"
			_, uerr := unpackTo(t, dir, data, UnpackOptions{NoEndOK: true, Limits: UnpackLimits{Ratio: -1}})
			t.Logf("error: %v", uerr)
			if uerr != nil && strings.Contains(uerr.Error(), "\n") {
				t.Errorf("error of several lines: %v", uerr)
			}
			if uerr == nil {
				compareWithStdlib(t, dir, data)
			} else if ourOwners().keep && inUserNamespace(t) && strings.Contains(uerr.Error(), "id map") {
				return // an owner beyond the range
			} else if names := goodNames(data); len(names) > 0 && !expectedRefusal(filepath.Base(f)) {
				t.Errorf("archive/tar reads it: %v", names)
			}
		})
	}
}

// expectedRefusal are archives that archive/tar reads and that still cannot
// be a root filesystem here. Each with its reason.
func expectedRefusal(name string) bool {
	switch name {
	case "hardlink.tar": // its target is not in the archive
	case "writer-big.tar", "writer-big-long.tar.base64": // the data is left out of the file
	case "ustar-file-devs.tar", "hdr-only.tar": // links whose targets are missing
	case "neg-size.tar.base64", "issue10968.tar", "issue12435.tar":
	default:
		return false
	}
	return true
}

func goodNames(data []byte) []string {
	var names []string
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			return nil
		}
		if h.Size < 1<<30 {
			if _, err := io.Copy(io.Discard, r); err != nil {
				return nil
			}
		}
		names = append(names, h.Name)
	}
}

func compareWithStdlib(t *testing.T, dir string, data []byte) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err != nil {
			return
		}
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse {
			continue
		}
		fi, err := os.Lstat(dir + "/" + h.Name)
		if err != nil {
			t.Error(err)
			continue
		}
		if !fi.Mode().IsRegular() {
			continue // replaced by a later entry
		}
		if fi.Size() != h.Size {
			t.Errorf("%s: %d bytes, archive/tar says %d", h.Name, fi.Size(), h.Size)
		}
		if h.Size > 1<<24 {
			continue
		}
		want, _ := io.ReadAll(r)
		got, err := os.ReadFile(dir + "/" + h.Name)
		if errors.Is(err, os.ErrPermission) {
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: content differs (%v)", h.Name, err)
		}
	}
}

// TestCancel: when the context ends, nothing is left behind.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	go func() {
		data := tarOf(t, dirEntry("d"), fileEntry("d/f", strings.Repeat("x", 3<<20)))
		_, _ = w.Write(data[:len(data)-2000])
		cancel() // and the pipe stays open, silent
	}()
	dir := t.TempDir()
	done := make(chan error, 1)
	go func() {
		_, err := Unpack(ctx, r, dir, UnpackOptions{})
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("hangs")
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestUnpackNeedsEmptyDirectory(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/precious", []byte("x"))
	_, err := Unpack(context.Background(), bytes.NewReader(tarOf(t, fileEntry("f", ""))), dir, UnpackOptions{})
	if !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(dir + "/precious"); err != nil {
		t.Error(err)
	}
}

func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 || inUserNamespace(t) {
		t.Skip("mounting needs root; the run as root does it")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	_, err := unpackTo(t, dir+"/tree", tarOf(t, fileEntry("a", "x"), fileEntry("f", strings.Repeat("x", 4<<20))), UnpackOptions{})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "f: no space left") {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(dir + "/tree"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestRemoveDeep: a tree deeper than any path, with closed directories.
func TestRemoveDeep(t *testing.T) {
	root := t.TempDir() + "/tree"
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		if err := errors.Join(unix.Mkdirat(fd, "directory", 0o700), unix.Mkdirat(fd, "closed", 0)); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(fd, "directory", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			if err := unix.Fchmod(fd, 0o100); err != nil {
				t.Fatal(err)
			}
		}
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	if err := removePath(root); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(root); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestRoundTrip: what GNU tar packs is unpacked as GNU tar does it.
func TestRoundTrip(t *testing.T) {
	src := t.TempDir() + "/src"
	makeSource(t, src)
	for _, args := range [][]string{
		{"--format=gnu", "--sparse"},
		{"--format=posix"},
		{"--format=posix", "--xattrs", "--xattrs-include=*", "--acls"},
		{"--format=posix", "--sparse", "--sparse-version=0.0"},
		{"--format=posix", "--sparse", "--sparse-version=0.1"},
		{"--format=posix", "--sparse", "--sparse-version=1.0"},
		{"--format=oldgnu", "--sparse"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			base := t.TempDir()
			archive := base + "/a.tar"
			run(t, "tar", append(args, "--numeric-owner", "-cf", archive, "-C", src, ".")...)
			want := base + "/want"
			if err := os.Mkdir(want, 0o700); err != nil {
				t.Fatal(err)
			}
			x := []string{"--numeric-owner", "-xpf", archive, "-C", want}
			if strings.Contains(strings.Join(args, " "), "--acls") {
				x = append([]string{"--xattrs", "--xattrs-include=*", "--acls"}, x...)
			}
			run(t, "tar", x...)
			data, err := os.ReadFile(archive)
			if err != nil {
				t.Fatal(err)
			}
			mustUnpack(t, base+"/got", data, UnpackOptions{})
			got, expect := listing(t, base+"/got"), listing(t, want)
			if got != expect {
				t.Errorf("differs from GNU tar:\n%s", diffLines(expect, got))
			}
		})
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

func makeSource(t *testing.T, src string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	long := src + "/" + strings.Repeat("long-name-", 12) + "/" + strings.Repeat("n", 250)
	must(os.MkdirAll(filepath.Dir(long), 0o755))
	writeFile(t, long, []byte("long"))
	writeFile(t, src+"/plain", textData(700_000))
	must(os.Chmod(src+"/plain", 0o4751))
	must(os.Link(src+"/plain", src+"/hard"))
	must(os.Symlink(strings.Repeat("t/", 150), src+"/symlink"))
	must(unix.Mkfifo(src+"/fifo", 0o640))
	must(os.Mkdir(src+"/sticky", 0o755))
	must(os.Chmod(src+"/sticky", os.ModeSticky|0o777))
	writeFile(t, src+"/sticky/ünïcode \n name", []byte("x"))
	f, err := os.Create(src + "/sparse")
	must(err)
	for i := range int64(30) {
		_, err := f.WriteAt([]byte("data"), i*(1<<20)+4096*i)
		must(err)
	}
	must(f.Truncate(64 << 20))
	must(f.Close())
	f, err = os.Create(src + "/hole")
	must(err)
	must(f.Truncate(1 << 20))
	must(f.Close())
	must(unix.Setxattr(src+"/plain", "user.note", []byte("a\nb\x00c"), 0))
	acl := aclValue("user::rwx,user:" + itoa(int64(os.Geteuid())) + ":r--,group::r-x,mask::r-x,other::--x")
	must(unix.Setxattr(src+"/sticky", aclDefault, acl, 0))
	for i, p := range []string{"/plain", "/sparse", "/sticky", "/fifo"} {
		must(os.Chtimes(src+p, time.Unix(1e9, 5), time.Unix(1e9+int64(i), 123456789)))
		if os.Geteuid() == 0 && !inUserNamespace(t) {
			must(os.Lchown(src+p, 1000+i, 2000+i))
		}
	}
	must(os.Chmod(src+"/plain", 0o4751))
}

// listing describes a tree: everything that an archive keeps.
func listing(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		fmt.Fprintf(&b, "%q mode %o owner %d:%d time %d.%09d", p[len(root):], st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " links %d size %d sum %x blocks<size %v", st.Nlink, st.Size, shortSum(data), st.Blocks*512 < st.Size)
		case unix.S_IFLNK:
			l, _ := os.Readlink(p)
			fmt.Fprintf(&b, " to %s", l)
		case unix.S_IFCHR, unix.S_IFBLK:
			fmt.Fprintf(&b, " device %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		names := make([]byte, 4096)
		n, _ := unix.Llistxattr(p, names)
		list := strings.Split(strings.TrimRight(string(names[:max(n, 0)]), "\x00"), "\x00")
		slices.Sort(list) // each file system has an order of its own
		for _, name := range list {
			v := make([]byte, 4096)
			if n, err := unix.Lgetxattr(p, name, v); name != "" && err == nil {
				fmt.Fprintf(&b, " %s=%q", name, v[:n])
			}
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func shortSum(b []byte) (n uint64) {
	for _, c := range b {
		n = n*1099511628211 ^ uint64(c)
	}
	return n
}

func diffLines(want, got string) string {
	g := map[string]bool{}
	for l := range strings.Lines(got) {
		g[l] = true
	}
	var b strings.Builder
	for l := range strings.Lines(want) {
		if !g[l] {
			b.WriteString("-" + l)
		}
		delete(g, l)
	}
	for l := range g {
		b.WriteString("+" + l)
	}
	return b.String()
}

// TestRerun runs all tests again as those who cannot or can do less than root:
// an unprivileged user, and root of a user namespace.
func TestRerun(t *testing.T) {
	if os.Getenv("HUTCH_ROOTFS_RERUN") != "" || os.Geteuid() != 0 {
		t.Skip("is the rerun itself, or has no privilege to give up")
	}
	const user = 54321
	for _, c := range []struct {
		name  string
		owner int
		attr  syscall.SysProcAttr
	}{
		{"unprivileged", user, syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}},
		{"namespace with a range", 100000, namespace(100000, 65536)},
		{"namespace with one id", user, namespace(user, 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("/tmp", "hutch-rerun-")
			if err != nil {
				t.Fatal(err)
			}
			defer removePath(dir)
			exe, err := os.ReadFile("/proc/self/exe")
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.WriteFile(dir+"/test", exe, 0o755), os.Chmod(dir, 0o755), os.Mkdir(dir+"/tmp", 0o700),
				os.Chown(dir+"/tmp", c.owner, c.owner)); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(dir+"/tmp/testdata", os.DirFS("testdata")); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(dir+"/test", "-test.count=1", "-test.timeout=5m")
			cmd.Dir = dir + "/tmp"
			cmd.Env = append(os.Environ(), "HUTCH_ROOTFS_RERUN=1", "TMPDIR="+dir+"/tmp", "GOTMPDIR=", "HOME="+dir+"/tmp", "XDG_DATA_HOME=")
			attr := c.attr
			cmd.SysProcAttr = &attr
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func namespace(host, size int) syscall.SysProcAttr {
	return syscall.SysProcAttr{
		Cloneflags:                 syscall.CLONE_NEWUSER,
		UidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: host, Size: size}},
		GidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: host, Size: size}},
		GidMappingsEnableSetgroups: true,
		Credential:                 &syscall.Credential{Uid: 0, Gid: 0},
	}
}
