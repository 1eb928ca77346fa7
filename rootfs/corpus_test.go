package rootfs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite the corpus of attacks")

// The corpus is archives by attackers, in testdata/corpus, made by this file:
// go test ./rootfs -run Corpus -update. They are aimed at corpusOutside, and
// the tests that use them, here and of the whole command, aim them at a
// directory of their own.
const corpusOutside = "/tmp/hutch-corpus/outside"

// A corpusFile is one of them. To add one: a row in corpus, and -update.
type corpusFile struct {
	name string
	data func(t testing.TB) []byte
	// want is in the error; "" means that it must be unpacked, and "*" that
	// either is well.
	want string
}

func corpus() []corpusFile {
	var list []corpusFile
	tars := func(name, want string, entries ...entry) {
		list = append(list, corpusFile{name, func(t testing.TB) []byte { return tarOf(t, entries...) }, want})
	}
	raw := func(name, want string, data []byte) {
		list = append(list, corpusFile{name, func(testing.TB) []byte { return data }, want})
	}
	for _, a := range attacks(corpusOutside) {
		want := ""
		if a.refused {
			want = "*" // some only as a layer
		}
		tars("unpack "+a.name, want, a.entries...)
	}
	// Set-up code that follows names of the image; "set-up " and the name of
	// what is a link. The command's test runs them.
	for _, l := range [][2]string{
		{"dev/null", "/proc/sys/kernel/core_pattern"},
		{"dev/null-out", corpusOutside + "/canary"},
		{"dev/console", corpusOutside + "/canary"},
		{"dev/ptmx", corpusOutside + "/canary"},
		{"dev/pts", corpusOutside},
		{"dev/shm", corpusOutside},
		{"dev/fd", corpusOutside},
		{"dev", corpusOutside},
		{"dev-up", "../../../../../../../.." + corpusOutside},
		{"proc", corpusOutside},
		{"proc-self", "proc"},
		{"sys", corpusOutside},
		{"tmp", corpusOutside},
		{"mnt", corpusOutside},
		{"mnt-up", "../../../../../../../.." + corpusOutside},
		{"mnt-proc", "/proc/self/cwd"},
		{"etc/passwd", corpusOutside + "/canary"},
		{"etc/passwd-zero", "/dev/zero"},
	} {
		name, _, _ := strings.Cut(l[0], "-")
		dir, _ := split(name)
		entries := []entry{symlinkEntry(name, l[1])}
		if dir != "" {
			entries = append([]entry{dirEntry(dir)}, entries...)
		}
		tars("set-up "+strings.ReplaceAll(l[0], "/", " "), "", entries...)
	}
	tars("set-up directory, then a link of its name", "", dirEntry("dev"), dirEntry("dev/shm"), symlinkEntry("dev", corpusOutside))
	tars("set-up proc by halves", "", dirEntry("proc"), symlinkEntry("proc/self", corpusOutside), symlinkEntry("proc/sys", corpusOutside))
	raw("set-up endless passwd", "", bytes.Join([][]byte{tarBlocks(dirEntry("etc")), sparseNamed("etc/passwd", 100<<30)}, nil))
	// What an archive may not bring, and numbers that lie.
	device := func(name string, major, minor int64) entry {
		return entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: name, Mode: 0o666, Devmajor: major, Devminor: minor, ModTime: someTime}}
	}
	tars("gift devices", "", device("mem", 1, 1), device("null", 1, 3), device("whiteout", 0, 0))
	tars("gift set-user-id", "", fileEntry("su", "#!/bin/sh\n").with(func(h *tar.Header) { h.Mode = 0o6755 }))
	tars("gift attributes", "", fileEntry("f", "x").with(func(h *tar.Header) {
		h.PAXRecords = map[string]string{
			"SCHILY.xattr.security.selinux": "x", "SCHILY.xattr.security.ima": "x", "SCHILY.xattr.trusted.overlay.redirect": "/",
			"SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.user.overlay.metacopy": "",
		}
	}))
	raw("lie size", "*", rawHeader("f", '0', 200<<30))
	raw("lie size over the limit", "bytes of files", rawHeader("f", '0', 1<<40))
	raw("lie extended header", "extended header", rawHeader("f", 'x', 1<<40))
	raw("lie global header", "extended header", rawHeader("f", 'g', 1<<40))
	raw("lie long name", "bytes in a path", rawHeader("f", 'L', 1<<40))
	raw("lie long link", "bytes in a path", rawHeader("f", 'K', 1<<40))
	raw("lie sparse terabyte", "bytes of files", sparseFile(1<<40))
	tars("bomb depth", "levels", dirEntry(strings.Repeat("d/", 1000)))
	tars("bomb name", "bytes in a path", fileEntry(strings.Repeat("nnnnnnnnn/", 500)+"f", ""))
	tars("bomb one name many times", "", slices.Repeat([]entry{fileEntry("f", "x"), dirEntry("f"), symlinkEntry("f", "g")}, 200)...)
	return append(list, corpusFile{bombZeros, nil, "decompression bomb"})
}

// bombZeros is too large to be made each time.
const bombZeros = "bomb zeros"

func makeBomb(t testing.TB, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 260 << 20 // beyond ratioFrom
	z := gzip.NewWriter(f)
	if _, err := z.Write(rawHeader("zeros", '0', size)[:512]); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(z, &zeros{size + 1024}); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

// tarBlocks is an archive without its end marker.
func tarBlocks(entries ...entry) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		_ = w.WriteHeader(&e.Header)
		_, _ = io.WriteString(w, e.data)
	}
	_ = w.Flush()
	return b.Bytes()
}

func sparseNamed(name string, size int64) []byte {
	b := sparseFile(size)
	clear(b[:100])
	copy(b, name)
	sum(b)
	return b
}

func corpusPath(name string) string {
	return filepath.Join("testdata", "corpus", strings.ReplaceAll(strings.ReplaceAll(name, ", ", "-"), " ", "-")+".tar.gz")
}

// TestCorpusIsCurrent: what lies in testdata is what this file makes.
func TestCorpusIsCurrent(t *testing.T) {
	if *update {
		if err := os.RemoveAll("testdata/corpus"); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll("testdata/corpus", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for _, c := range corpus() {
		path := corpusPath(c.name)
		names = append(names, path)
		switch {
		case *update && c.name == bombZeros:
			makeBomb(t, path)
		case *update:
			writeFile(t, path, gzipData(t, c.data(t)))
		}
		if c.name == bombZeros {
			continue
		}
		have, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(have)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(z)
		if have.Close(); err != nil || !bytes.Equal(data, c.data(t)) {
			t.Errorf("%s is not what is made now: %v; go test ./rootfs -run Corpus -update", path, err)
		}
	}
	slices.Sort(names)
	have, _ := filepath.Glob("testdata/corpus/*")
	if !slices.Equal(have, names) {
		t.Errorf("testdata/corpus holds %v", have)
	}
}

// aimed gives an archive with its aim moved to outside. The names of headers
// that no writer would make, which archive/tar does not read, hold no aim.
func aimed(t testing.TB, data []byte, outside string) []byte {
	t.Helper()
	if !bytes.Contains(data, []byte(corpusOutside[1:])) {
		return data
	}
	var b bytes.Buffer
	r, w := tar.NewReader(bytes.NewReader(data)), tar.NewWriter(&b)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if h == nil {
			t.Fatal(err)
		}
		h.Name = strings.ReplaceAll(h.Name, corpusOutside[1:], outside[1:])
		h.Linkname = strings.ReplaceAll(h.Linkname, corpusOutside[1:], outside[1:])
		h.Format = tar.FormatUnknown
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestCorpus unpacks all of it, as a root and as a layer: nothing outside
// changes, nothing privileged comes in, and what is refused leaves nothing.
// TestAttacks shows that these archives bite.
func TestCorpus(t *testing.T) {
	for _, c := range corpus() {
		for _, white := range []Whiteouts{WhiteoutsNone, WhiteoutsOverlay} {
			t.Run(fmt.Sprintf("%d/%s", white, c.name), func(t *testing.T) {
				t.Parallel()
				base := t.TempDir()
				resetOutside(t, base+"/outside")
				before := snapshot(t, base+"/outside")
				packed, err := os.ReadFile(corpusPath(c.name))
				if err != nil {
					t.Fatal(err)
				}
				if c.name != bombZeros {
					packed = gzipData(t, aimed(t, c.data(t), base+"/outside"))
				}
				tree := base + "/tree"
				if err := os.Mkdir(tree, 0o700); err != nil {
					t.Fatal(err)
				}
				_, err = Unpack(context.Background(), bytes.NewReader(packed), tree, UnpackOptions{Whiteouts: white, NoEndOK: white != 0})
				if after := snapshot(t, base+"/outside"); after != before {
					t.Fatalf("outside was changed:\n%s\nbefore:\n%s", after, before)
				}
				switch {
				case c.want == "" && err != nil:
					t.Errorf("refused: %v", err)
				case c.want != "" && c.want != "*" && (err == nil || !strings.Contains(err.Error(), c.want)):
					t.Errorf("error %v, want %q", err, c.want)
				}
				if names, _ := os.ReadDir(tree); err != nil && len(names) > 0 {
					t.Errorf("left behind: %v", names)
				}
				harmless(t, tree)
				if err := removePath(tree); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if _, err := os.Lstat(filepath.Dir(corpusOutside)); err == nil {
		t.Errorf("%s is there", corpusOutside)
	}
}

// harmless looks at what came of the gifts.
func harmless(t *testing.T, tree string) {
	t.Helper()
	for _, attr := range []string{"security.selinux", "security.ima", "trusted.overlay.redirect", "user.overlay.opaque", "user.overlay.metacopy"} {
		if _, err := unix.Lgetxattr(tree+"/f", attr, nil); err == nil {
			t.Errorf("%s came in", attr)
		}
	}
	var st unix.Stat_t
	for _, name := range []string{"/mem", "/null", "/whiteout"} {
		err := unix.Lstat(tree+name, &st)
		if err == nil && (name == "/whiteout" || os.Geteuid() != 0 || inUserNamespace(t)) {
			t.Errorf("%s came in", name)
		}
	}
}
