package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openPath(t testing.TB, dir string) int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func packed(t testing.TB, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := Pack(context.Background(), &b, openPath(t, dir), PackLimits{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPackRoundTrip: what UnpackLayer makes of a layer, Pack makes that layer
// of again, and both give the same tree; GNU tar can list it.
func TestPackRoundTrip(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long/", 40) + strings.Repeat("n", 200)
	layer := tarOf(t,
		dirEntry("d"), fileEntry("d/f", "data"), fileEntry("d/.wh.gone", ""),
		dirEntry("o"), fileEntry("o/.wh..wh..opq", ""), fileEntry("o/new", "x"),
		linkEntry("hard", "d/f"), symlinkEntry("soft", "/etc/passwd"), entry{Header: fifo("pipe")},
		fileEntry(long, "deep"), fileEntry("naïve\xff", "name"),
		fileEntry("x", "attr").with(func(h *tar.Header) {
			h.Mode, h.Format = 0o751, tar.FormatPAX
			h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b\x00c"}
		}),
		fileEntry(".wh.root", ""),
	)
	one, two := t.TempDir(), t.TempDir()
	if _, err := UnpackLayer(context.Background(), bytes.NewReader(layer), one, Layer{}, UnpackOptions{}); err != nil {
		t.Fatal(err)
	}
	first := packed(t, one)
	if _, err := UnpackLayer(context.Background(), bytes.NewReader(first), two, Layer{}, UnpackOptions{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, packed(t, two)) {
		t.Error("the second layer differs from the first")
	}
	cmd := exec.Command("tar", "--list", "--file=-")
	cmd.Stdin = bytes.NewReader(first)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"d/.wh.gone\n", "o/.wh..wh..opq\n", ".wh.root\n", long + "\n", "soft\n", "pipe\n"} {
		if !strings.Contains("\n"+string(out), "\n"+want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	var st unix.Stat_t
	if err := unix.Lstat(two+"/x", &st); err != nil || st.Mode&0o777 != 0o751 || st.Mtim.Nsec != int64(someTime.Nanosecond()) {
		t.Errorf("x: %v %o %d", err, st.Mode, st.Mtim.Nsec)
	}
	var value [8]byte
	if n, err := unix.Lgetxattr(two+"/x", "user.a", value[:]); err != nil || string(value[:n]) != "b\x00c" {
		t.Errorf("user.a: %v %q", err, value[:n])
	}
}

// TestPackIsNotLed: what a job leaves behind leads the packer nowhere and
// holds it up nowhere.
func TestPackIsNotLed(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	writeFile(t, base+"/secret", []byte("secret of the host"))
	dir := base + "/upper"
	if err := errors.Join(os.MkdirAll(dir+"/d", 0o755), os.Symlink(base+"/secret", dir+"/link"), os.Symlink(base, dir+"/dirlink"),
		unix.Mkfifo(dir+"/fifo", 0o666), unix.Mknod(dir+"/sock", unix.S_IFSOCK|0o666, 0), os.Symlink(".", dir+"/d/self")); err != nil {
		t.Fatal(err)
	}
	done := make(chan []byte, 1)
	var st PackStats
	go func() {
		var b bytes.Buffer
		st, _ = Pack(context.Background(), &b, openPath(t, dir), PackLimits{})
		done <- b.Bytes()
	}()
	select {
	case data := <-done:
		if bytes.Contains(data, []byte("secret of")) || st.Left != 1 || st.Entries != 5 {
			t.Errorf("%+v, %d bytes", st, len(data))
		}
	case <-time.After(60 * time.Second):
		t.Fatal("hangs")
	}
}

// TestPackRefuses: what a layer cannot say, or nobody could unpack.
func TestPackRefuses(t *testing.T) {
	t.Parallel()
	deep := func(dir string) error {
		for range 600 {
			dir += "/d"
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
		}
		return nil
	}
	for _, c := range []struct {
		name, want string
		make       func(dir string) error
	}{
		{"a whiteout of its own", "/.wh.x: a layer cannot hold", func(dir string) error { return os.WriteFile(dir+"/.wh.x", nil, 0o644) }},
		{"an opaque marker of its own", "/d/.wh..wh..opq: a layer", func(dir string) error {
			return errors.Join(os.Mkdir(dir+"/d", 0o755), os.WriteFile(dir+"/d/.wh..wh..opq", nil, 0o644))
		}},
		{"a sparse terabyte", "/t: is a file of 1099511627776 bytes", func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/t", nil, 0o644), os.Truncate(dir+"/t", 1<<40))
		}},
		{"many sparse files", "/s1: is a file of", func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/s0", nil, 0o644), os.Truncate(dir+"/s0", 1<<29),
				os.WriteFile(dir+"/s1", nil, 0o644), os.Truncate(dir+"/s1", 1<<30))
		}},
		{"depth", "levels of directories", deep},
	} {
		dir := t.TempDir()
		if err := c.make(dir); err != nil {
			t.Fatal(err)
		}
		_, err := Pack(context.Background(), discard{}, openPath(t, dir), PackLimits{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := removePath(dir); err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := t.TempDir()
	writeFile(t, dir+"/f", []byte("x"))
	if _, err := Pack(ctx, discard{}, openPath(t, dir), PackLimits{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// TestPlainCapability: capabilities of a user namespace count for everybody
// who unpacks them.
func TestPlainCapability(t *testing.T) {
	t.Parallel()
	v3 := []byte("\x01\x00\x00\x03abcdefghijklmnop\x00\x00\x00\x70")
	if got := plainCapability(v3); string(got) != "\x01\x00\x00\x02abcdefghijklmnop" {
		t.Errorf("%q", got)
	}
	for _, v := range []string{"", "short", "\x01\x00\x00\x02abcdefghijklmnop", "\x01\x00\x00\x02abcdefghijklmnop????"} {
		if got := plainCapability([]byte(v)); string(got) != v {
			t.Errorf("%q became %q", v, got)
		}
	}
}
