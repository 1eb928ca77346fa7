package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hutch/rootfs/decode"
)

// fuzzMemory bounds what an archive may make the unpacker allocate.
const fuzzMemory = decode.DictMax + 32<<20

// FuzzUnpack: whatever the bytes, nothing outside the tree changes, an error
// leaves nothing behind, the limits hold, memory is bounded, and what was
// unpacked can be removed.
func FuzzUnpack(f *testing.F) {
	for _, a := range attacks("/tmp/outside") {
		f.Add(fuzzTar(f, a.entries), false)
		f.Add(fuzzTar(f, a.entries), true)
	}
	files, _ := filepath.Glob(goroot() + "/src/archive/tar/testdata/*.tar*")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if strings.HasSuffix(name, ".base64") {
			data, _ = io.ReadAll(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(data)))
		}
		if len(data) < 64<<10 {
			f.Add(data, true)
		}
	}
	lim := UnpackLimits{Bytes: 64 << 20, Entries: 300, Ratio: 100, Depth: 50}
	f.Fuzz(func(t *testing.T, data []byte, white bool) {
		base := t.TempDir()
		resetOutsideFuzz(t, base+"/outside")
		before := snapshot(t, base+"/outside")
		if err := os.Mkdir(base+"/tree", 0o700); err != nil {
			t.Fatal(err)
		}
		opt := UnpackOptions{Limits: lim, NoEndOK: true}
		if white {
			opt.Whiteouts = WhiteoutsOverlay
		}
		// The archives aim at /tmp/outside; here that is this run's own, as it
		// is seen from a link in the tree.
		data = bytes.ReplaceAll(fixSums(data), []byte("/tmp/outside"), []byte("./../outside"))
		data = fixSums(data)
		var heap, now runtime.MemStats
		runtime.ReadMemStats(&heap)
		st, err := Unpack(context.Background(), bytes.NewReader(data), base+"/tree", opt)
		runtime.ReadMemStats(&now)
		// All that was ever allocated is more than was held at once: the buffers,
		// a dictionary, what the entries need.
		if got := int64(now.TotalAlloc - heap.TotalAlloc); got > fuzzMemory+int64(len(data))*64 {
			t.Fatalf("%d MiB allocated for %d bytes", got>>20, len(data))
		}
		if after := snapshot(t, base+"/outside"); after != before {
			t.Fatalf("outside changed:\n%s\nbefore\n%s", after, before)
		}
		left, _ := os.ReadDir(base)
		if len(left) != 2 {
			t.Fatalf("beside the tree: %v", left)
		}
		if err != nil {
			if names, _ := os.ReadDir(base + "/tree"); len(names) > 0 {
				t.Fatalf("error %v, and left behind %v", err, names)
			}
			return
		}
		if st.Entries > lim.Entries || st.Bytes > lim.Bytes {
			t.Fatalf("over the limits: %+v", st)
		}
		if err := removePath(base + "/tree"); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzErofs: whatever a layer holds, the image that is made of it is sound in
// the eyes of the format's own tools, and shows what the tree shows.
func FuzzErofs(f *testing.F) {
	for _, a := range attacks("/tmp/outside") {
		f.Add(fuzzTar(f, a.entries))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		base := t.TempDir()
		if err := os.MkdirAll(base+"/tree/d", 0o700); err != nil {
			t.Fatal(err)
		}
		lim := UnpackLimits{Bytes: 1 << 20, Entries: 300, Ratio: 100, Depth: 50}
		opt := UnpackOptions{Limits: lim, NoEndOK: true, Whiteouts: WhiteoutsOverlay}
		if _, err := Unpack(context.Background(), bytes.NewReader(fixSums(data)), base+"/tree/d", opt); err != nil {
			return
		}
		if _, err := packTree(context.Background(), base+"/tree", base+"/image"); err != nil {
			t.Fatal(err)
		}
		sound(t, base+"/image")
		if os.Geteuid() == 0 && !inUserNamespace(t) {
			tree, err := MountLayer(base + "/image")
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(tree)
			if want, got := listing(t, base+"/tree/d"), listing(t, "/proc/self/fd/"+itoa(int64(tree))+"/d"); want != got {
				t.Errorf("differs:\n%s", diffLines(want, got))
			}
		}
		if err := removePath(base + "/tree"); err != nil {
			t.Fatal(err)
		}
	})
}

func fuzzTar(f *testing.F, entries []entry) []byte {
	return tarOf(f, entries...)
}

func resetOutsideFuzz(t *testing.T, outside string) {
	if err := os.MkdirAll(outside+"/dir", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, outside+"/canary", []byte("canary"))
	writeFile(t, outside+"/dir/file", []byte("file"))
}

// fixSums sets the checksums right, so that the fuzzer gets past them: of
// every block that says ustar.
func fixSums(data []byte) []byte {
	data = bytes.Clone(data)
	for at := 0; at+512 <= len(data); at += 512 {
		if string(data[at+257:at+262]) == "ustar" {
			sum(data[at : at+512])
		}
	}
	return data
}

// FuzzHeader: where archive/tar and this parser both accept an archive, they
// agree on what is in it.
func FuzzHeader(f *testing.F) {
	files, _ := filepath.Glob(goroot() + "/src/archive/tar/testdata/*.tar")
	for _, name := range files {
		if data, err := os.ReadFile(name); err == nil && len(data) < 64<<10 {
			f.Add(data)
		}
	}
	f.Add(tarOf(f, fileEntry(strings.Repeat("n/", 200)+"x", "data"), fileEntry("y", "z").with(func(h *tar.Header) {
		h.Format = tar.FormatPAX
		h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b"}
	})))
	f.Fuzz(func(t *testing.T, data []byte) {
		data = fixSums(data)
		if sniff(data[:min(len(data), 512)]) != "tar" {
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		in, err := openStream(ctx, bytes.NewReader(data), UnpackLimits{}.withDefaults(), UnpackOptions{})
		if err != nil {
			return
		}
		ours := tarReader{in: in, lim: in.lim, lax: true}
		theirs := tar.NewReader(bytes.NewReader(data))
		for range 100 {
			h, err := ours.next()
			if err != nil {
				return
			}
			var want *tar.Header
			var wantErr error
			for { // the ones that we do not report
				want, wantErr = theirs.Next()
				if wantErr != nil || want.Typeflag != tar.TypeXGlobalHeader {
					break
				}
			}
			if errors.Is(wantErr, tar.ErrInsecurePath) {
				wantErr = nil
			}
			if wantErr != nil {
				return // archive/tar is stricter in places
			}
			if want.Format == tar.FormatUnknown {
				return // it guesses at a prefix of before Go 1.8, by other signs
			}
			if h.name != want.Name || h.link != want.Linkname || h.realSize != want.Size && want.Typeflag == tar.TypeReg {
				t.Fatalf("%+v, archive/tar says %+v", h, want)
			}
			if in.skip(h.size+padding(h.size)) != nil {
				return
			}
		}
	})
}
