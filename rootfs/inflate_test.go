package rootfs

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"os/exec"
	"testing"
	"testing/iotest"
)

// TestGzip: what compress/gzip and gzip(1) write at every level comes out as
// it went in, in whatever pieces it arrives.
func TestGzip(t *testing.T) {
	noise := make([]byte, 300_000)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(noise)
	for name, data := range map[string][]byte{
		"nothing": nil, "one byte": {'x'}, "text": textData(3 << 20), "noise": noise,
		"zeros": make([]byte, 5<<20), "short period": bytes.Repeat([]byte("abcdefg"), 200_000),
		"mixed": append(append(textData(200_000), noise...), make([]byte, 100_000)...),
	} {
		for level := gzip.HuffmanOnly; level <= 9; level++ {
			var b bytes.Buffer
			w, _ := gzip.NewWriterLevel(&b, level)
			w.Write(data)
			w.Close()
			for _, src := range []io.Reader{bytes.NewReader(b.Bytes()), iotest.HalfReader(bytes.NewReader(b.Bytes()))} {
				got, err := io.ReadAll(&gzipReader{f: newInflater(src)})
				if err != nil || !bytes.Equal(got, data) {
					t.Fatalf("%s, level %d: %d bytes of %d, %v", name, level, len(got), len(data), err)
				}
			}
		}
		for _, level := range []string{"-1", "-9"} {
			cmd := exec.Command("gzip", level, "-c")
			cmd.Stdin = bytes.NewReader(data)
			packed, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(&gzipReader{f: newInflater(iotest.OneByteReader(bytes.NewReader(packed)))})
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%s, gzip %s: %d bytes of %d, %v", name, level, len(got), len(data), err)
			}
		}
	}
}

func TestGzipMembers(t *testing.T) {
	a, b := textData(100_000), textData(400_000)[50_000:]
	var named bytes.Buffer
	w := gzip.NewWriter(&named)
	w.Name, w.Comment, w.Extra = "name", "comment", []byte("extra")
	w.Write(b)
	w.Close()
	all := append(append(gzipData(t, a), gzipData(t, nil)...), named.Bytes()...)
	want := append(append([]byte{}, a...), b...)
	for _, tail := range [][]byte{nil, make([]byte, 5000)} {
		got, err := io.ReadAll(&gzipReader{f: newInflater(bytes.NewReader(append(all[:len(all):len(all)], tail...)))})
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d zeros behind: %d bytes of %d, %v", len(tail), len(got), len(want), err)
		}
	}
	if _, err := io.ReadAll(&gzipReader{f: newInflater(bytes.NewReader(append(all[:len(all):len(all)], "garbage"...)))}); err == nil {
		t.Error("garbage behind the end is accepted")
	}
	// A member must not reach back into the one before it.
	if _, err := io.ReadAll(&gzipReader{f: newInflater(bytes.NewReader(append(gzipData(t, a), reachBack()...)))}); !errors.Is(err, errDeflate) {
		t.Errorf("a member that reaches back: %v", err)
	}
}

// reachBack is a member whose first symbol is a match.
func reachBack() []byte {
	b := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	return append(b, 0x03, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00)
}

func TestGzipEveryCut(t *testing.T) {
	packed := gzipData(t, textData(3000))
	for n := range len(packed) {
		_, err := io.ReadAll(&gzipReader{f: newInflater(bytes.NewReader(packed[:n]))})
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d of %d: %v", n, len(packed), err)
		}
	}
}

func TestSourceErrorIsKept(t *testing.T) {
	packed := gzipData(t, textData(300_000))
	broken := errors.New("cable out")
	src := io.MultiReader(bytes.NewReader(packed[:len(packed)/2]), iotest.ErrReader(broken))
	if _, err := io.ReadAll(&gzipReader{f: newInflater(src)}); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

// FuzzInflate: the same bytes and the same verdict as compress/flate.
func FuzzInflate(f *testing.F) {
	for level := flate.HuffmanOnly; level <= 9; level += 3 {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, level)
		w.Write(textData(5000))
		w.Close()
		f.Add(b.Bytes())
	}
	f.Add([]byte{0x03, 0x00})
	f.Add([]byte{1, 0, 0, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		const most = 1 << 22
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data)), most))
		got, err := io.ReadAll(io.LimitReader(newInflater(bytes.NewReader(data)), most))
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, compress/flate says %v", err, wantErr)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, compress/flate gives %d", len(got), len(want))
		}
	})
}
