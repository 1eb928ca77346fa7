package rootfs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// An entry is a header and its data, for archives made by tests.
type entry struct {
	tar.Header
	data string
}

var someTime = time.Date(2020, 2, 3, 4, 5, 6, 789012345, time.UTC)

func fileEntry(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: someTime}, data}
}

func dirEntry(name string) entry {
	return entry{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: someTime}, ""}
}

func linkEntry(name, target string) entry {
	return entry{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644, ModTime: someTime}, ""}
}

func symlinkEntry(name, target string) entry {
	return entry{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, ModTime: someTime}, ""}
}

// with changes an entry's header.
func (e entry) with(change func(*tar.Header)) entry {
	change(&e.Header)
	return e
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipData(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// textData has the statistics of neither noise nor zeros.
func textData(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, n+64)
	for len(b) < n {
		if len(b) > 1000 && r.IntN(3) == 0 {
			from := len(b) - 1 - r.IntN(min(len(b)-1, 40000))
			b = append(b, b[from:min(len(b), from+3+r.IntN(60))]...)
			continue
		}
		for range r.IntN(12) {
			b = append(b, "etaoin shrdlucmfwyp\nvbgkqjxz0123"[min(r.IntN(32), r.IntN(32))])
		}
	}
	return b[:n]
}

func newBytes(b []byte) io.Reader { return bytes.NewReader(b) }

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func fifo(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeFifo, Name: name, Mode: 0o666, ModTime: someTime}
}

// goroot is where the Go distribution with its test data lies.
func goroot() string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "/usr/local/go"
	}
	return strings.TrimSpace(string(out))
}
