package rootfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// TestUnpackLayer: a layer is what its image says, or there is nothing.
func TestUnpackLayer(t *testing.T) {
	t.Parallel()
	plain := tarOf(t, dirEntry("d"), fileEntry("d/f", "data"), fileEntry("d/.wh.gone", ""), fileEntry("d/.wh..wh..opq", ""))
	packed := gzipData(t, plain)
	right := Layer{Digest: digestOf(packed), DiffID: digestOf(plain), Size: int64(len(packed))}
	other := digestOf([]byte("other"))
	for _, c := range []struct {
		name string
		want Layer
		data []byte
		bad  string
	}{
		{"right", right, packed, ""},
		{"nothing said", Layer{}, packed, ""},
		{"digest", Layer{Digest: other}, packed, "digest"},
		{"diff id", Layer{Digest: right.Digest, DiffID: other}, packed, "diff id"},
		{"too short", Layer{Size: right.Size + 1}, packed, "size"},
		{"too long", Layer{Size: right.Size}, append(bytes.Clone(packed), 0), "size"},
		{"longer in truth", right, append(bytes.Clone(packed), gzipData(t, []byte{0})...), "size"},
	} {
		dir := t.TempDir()
		st, err := UnpackLayer(context.Background(), bytes.NewReader(c.data), dir, c.want, UnpackOptions{})
		var wrong *DigestError
		if (c.bad != "") != errors.As(err, &wrong) || c.bad == "" && err != nil || c.bad != "" && wrong.What != c.bad {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		left, _ := os.ReadDir(dir)
		if c.bad != "" {
			if len(left) > 0 {
				t.Errorf("%s: left behind %v", c.name, left)
			}
			continue
		}
		if st.Digest != right.Digest || c.want.DiffID != "" && st.PlainDigest != right.DiffID {
			t.Errorf("%s: %+v", c.name, st)
		}
		var whiteout unix.Stat_t
		if err := unix.Lstat(dir+"/d/gone", &whiteout); err != nil || whiteout.Mode&unix.S_IFMT != unix.S_IFCHR || whiteout.Rdev != 0 {
			t.Errorf("%s: the whiteout: %v %o", c.name, err, whiteout.Mode)
		}
		if !hasXattr(dir+"/d", opaqueUser) {
			t.Errorf("%s: d is not opaque", c.name)
		}
		if os.Geteuid() == 0 && !inUserNamespace(t) && !hasXattr(dir+"/d", opaqueTrusted) {
			t.Errorf("%s: d is not opaque to root's overlay", c.name)
		}
	}
}

func hasXattr(path, name string) bool {
	var b [8]byte
	n, err := unix.Lgetxattr(path, name, b[:])
	return err == nil && string(b[:n]) == "y"
}

// An endless reader that nobody may read for long.
type endless struct{ read atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	clear(p)
	e.read.Add(int64(len(p)))
	return len(p), nil
}

// TestEndlessLayer: a sender that never stops is not listened to beyond the
// size that the image gives.
func TestEndlessLayer(t *testing.T) {
	t.Parallel()
	head := tarOf(t, fileEntry("f", "x"))
	var more endless
	_, err := UnpackLayer(context.Background(), io.MultiReader(bytes.NewReader(head), &more), t.TempDir(),
		Layer{Size: int64(len(head))}, UnpackOptions{})
	var wrong *DigestError
	if !errors.As(err, &wrong) || wrong.What != "size" || more.read.Load() > 1<<20 {
		t.Errorf("%v after %d bytes", err, more.read.Load())
	}
}

// TestEachLayer: several at once, all of them, and the first error ends it.
func TestEachLayer(t *testing.T) {
	t.Parallel()
	var now, most, done atomic.Int64
	work := func(context.Context, int, int) error {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(20 * time.Millisecond)
		now.Add(-1)
		done.Add(1)
		return nil
	}
	if err := EachLayer(context.Background(), 10, work); err != nil || done.Load() != 10 || most.Load() != layersAtOnce {
		t.Errorf("%v, %d done, %d at once", err, done.Load(), most.Load())
	}
	bad := errors.New("bad")
	var ended atomic.Int64
	err := EachLayer(context.Background(), 100, func(ctx context.Context, i, _ int) error {
		if i == 1 {
			return bad
		}
		<-ctx.Done()
		ended.Add(1)
		return ctx.Err()
	})
	if !errors.Is(err, bad) || ended.Load() > layersAtOnce {
		t.Errorf("%v, %d ended", err, ended.Load())
	}
	if err := EachLayer(context.Background(), 0, nil); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := EachLayer(ctx, 3, work); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
