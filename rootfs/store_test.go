package rootfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hutch/rootfs/decode"
)

// TestMain lets the test binary be a second hutch process.
func TestMain(m *testing.M) {
	UseDecoder(func(format string, r io.Reader) (io.ReadCloser, error) {
		d, err := decode.Open(format, r)
		return inProcess{d}, demand(err)
	})
	switch os.Getenv("HUTCH_ROOTFS_HELPER") {
	case "prepare": // unpack standard input, say so, and stay until killed
		r, err := Prepare(context.Background(), Ref{Kind: KindTar, Path: "-"}, Options{
			Store: os.Getenv("HUTCH_ROOTFS_STORE"), Stdin: os.Stdin,
		})
		if err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Stdout.WriteString(r.Lowers[0] + "\n")
		if os.Getenv("HUTCH_ROOTFS_STAY") != "" {
			select {}
		}
		os.Exit(0)
	case "import":
		os.Exit(importHelper())
	case "":
		os.Exit(m.Run())
	}
}

func helper(store string, stay bool) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "HUTCH_ROOTFS_HELPER=prepare", "HUTCH_ROOTFS_STORE="+store)
	if stay {
		cmd.Env = append(cmd.Env, "HUTCH_ROOTFS_STAY=1")
	}
	return cmd
}

// rootTar writes an archive old enough to be remembered.
func rootTar(t testing.TB, path, content string) {
	t.Helper()
	writeFile(t, path, gzipData(t, tarOf(t, dirEntry("etc"), fileEntry("etc/hostname", content))))
	time.Sleep(50 * time.Millisecond)
}

func prepare(t testing.TB, store, path string) *Root {
	t.Helper()
	ref, err := Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Prepare(context.Background(), ref, Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var n []string
	for _, e := range list {
		n = append(n, e.Name())
	}
	return n
}

func TestPrepareTar(t *testing.T) {
	store, tar := t.TempDir()+"/a/store", t.TempDir()+"/root.tar.gz"
	rootTar(t, tar, "one\n")
	r := prepare(t, store, tar)
	defer r.Close()
	if got := describe(r.Lowers[0] + "/etc/hostname"); got != "one\n" || !filepath.IsAbs(r.Lowers[0]) {
		t.Fatalf("%s: %q", r.Lowers[0], got)
	}
	if fi, _ := os.Stat(store); fi.Mode().Perm() != 0o700 {
		t.Errorf("the store is open to others: %v", fi.Mode())
	}
	if r.Stats.Entries != 2 || !validDigest(r.Digest) {
		t.Errorf("stats %+v, digest %s", r.Stats, r.Digest)
	}

	// The second time, the archive is not even readable.
	if err := os.Chmod(tar, 0); err != nil { // changes the ctime
		t.Fatal(err)
	}
	if err := os.Chmod(tar, 0o644); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	again := prepare(t, store, tar) // hashed, and remembered anew
	defer again.Close()
	if again.Digest != r.Digest || again.Stats.Entries != 0 {
		t.Errorf("unpacked again: %+v", again.Stats)
	}
	atime := func() int64 {
		var st unix.Stat_t
		if err := unix.Stat(tar, &st); err != nil {
			t.Fatal(err)
		}
		return st.Atim.Nano()
	}
	// Reading updates the access time once it is before the modification time.
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, tar, []unix.Timespec{{Sec: 1}, {Sec: 2}}, 0); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	prepare(t, store, tar).Close()
	if atime() == 1e9 {
		t.Log("access times are off here")
	}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, tar, []unix.Timespec{{Sec: 1}, {Nsec: unix.UTIME_OMIT}}, 0); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	prepare(t, store, tar).Close()
	prepare(t, store, tar).Close()

	// Another content under the same name is another entry.
	rootTar(t, tar, "two\n")
	changed := prepare(t, store, tar)
	defer changed.Close()
	if got := describe(changed.Lowers[0] + "/etc/hostname"); got != "two\n" {
		t.Errorf("the old tree for a new archive: %q", got)
	}
	// A copy shares the tree.
	data, _ := os.ReadFile(tar)
	writeFile(t, tar+".copy", data)
	twin := prepare(t, store, tar+".copy")
	defer twin.Close()
	if twin.Lowers[0] != changed.Lowers[0] || twin.Stats.Entries != 0 {
		t.Errorf("a copy was unpacked again: %+v", twin.Stats)
	}
	if left := names(t, store+"/tmp"); len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

// TestPrepareAgainDoesNotRead: the archive's content is not looked at.
func TestPrepareAgainDoesNotRead(t *testing.T) {
	store, tar := t.TempDir(), t.TempDir()+"/root.tar"
	rootTar(t, tar, "x")
	prepare(t, store, tar).Close()
	if os.Geteuid() == 0 {
		// Root may read what it likes; what the entry leads to tells it.
		var st unix.Stat_t
		if err := unix.Stat(tar, &st); err != nil {
			t.Fatal(err)
		}
		if _, err := storeOf(store).byIdentity(&st); err != nil {
			t.Errorf("not in the index: %v", names(t, store+"/index"))
		}
		return
	}
	if err := os.Chmod(tar, 0); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(tar, &st); err != nil {
		t.Fatal(err)
	}
	name, err := os.Readlink(store + "/index/" + names(t, store+"/index")[0])
	if err != nil {
		t.Fatal(err)
	}
	storeOf(store).link(identity(&st), name)
	prepare(t, store, tar).Close() // could not open it
}

func storeOf(dir string) store { return store{dir} }

// Many who want the same file at first unpack it once.
func TestPrepareTogether(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	tar := filepath.Join(t.TempDir(), "root.tar")
	rootTar(t, tar, "one\n")
	var unpacked atomic.Int32
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			r, err := Prepare(context.Background(), Ref{Kind: KindTar, Path: tar}, Options{
				Store: store, Progress: func(p Progress) {
					if p.Done {
						unpacked.Add(1)
					}
				},
			})
			if err != nil {
				t.Error(err)
				return
			}
			_ = r.Close()
		})
	}
	group.Wait()
	if n := unpacked.Load(); n != 1 {
		t.Errorf("unpacked %d times", n)
	}
}

func TestPrepareStdin(t *testing.T) {
	store := t.TempDir()
	data := tarOf(t, fileEntry("etc/f", "x"))
	r, err := Prepare(context.Background(), Ref{Kind: KindTar, Path: "-"}, Options{Store: store, Stdin: bytes.NewReader(data)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var seen []Progress
	r2, err := Prepare(context.Background(), Ref{Kind: KindTar, Path: "-"}, Options{
		Store: store, Stdin: bytes.NewReader(data), Progress: func(p Progress) { seen = append(seen, p) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r2.Close()
	if r.Lowers[0] != r2.Lowers[0] {
		t.Errorf("%s and %s", r.Lowers[0], r2.Lowers[0])
	}
	if len(seen) == 0 || !seen[len(seen)-1].Done || seen[len(seen)-1].Read != int64(len(data)) {
		t.Errorf("progress: %+v", seen)
	}
	if left := names(t, store+"/tmp"); len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

func TestPrepareRefuses(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/empty.tar", nil)
	writeFile(t, dir+"/page.tar", []byte("<html>404</html>"))
	good := tarOf(t, fileEntry("etc/f", strings.Repeat("x", 9999)))
	writeFile(t, dir+"/cut.tar", good[:5000])
	writeFile(t, dir+"/docker.tar", tarOf(t, fileEntry("manifest.json", "[]"), fileEntry("abc.json", "{}")))
	writeFile(t, dir+"/oci.tar", tarOf(t, fileEntry("oci-layout", "{}"), fileEntry("index.json", "{}")))
	writeFile(t, dir+"/none.tar", make([]byte, 10240))
	os.Mkdir(dir+"/d", 0o755)
	for _, tt := range []struct {
		ref  Ref
		want string
	}{
		{Ref{Kind: KindTar, Path: dir + "/empty.tar"}, "is empty"},
		{Ref{Kind: KindTar, Path: dir + "/none.tar"}, "archive is empty"},
		{Ref{Kind: KindTar, Path: dir + "/page.tar"}, "HTML"},
		{Ref{Kind: KindTar, Path: dir + "/cut.tar"}, "cut short"},
		{Ref{Kind: KindTar, Path: dir + "/docker.tar"}, "holds no image"},
		{Ref{Kind: KindTar, Path: dir + "/oci.tar"}, "holds no image"},
		{Ref{Kind: KindTar, Path: dir + "/missing.tar"}, "no such file"},
		{Ref{Kind: KindTar, Path: dir + "/d"}, "is a directory"},
		{Ref{Kind: KindTar, Path: "/dev/null"}, "character device"},
		{Ref{Kind: KindTar, Path: "-"}, "no standard input"},
		{Ref{Kind: KindDir, Path: dir + "/missing"}, "no such file"},
		{Ref{Kind: KindDir, Path: dir + "/cut.tar"}, "not a directory"},
		{Ref{Kind: KindOCI, Path: "x"}, "no such file"},
		{Ref{Kind: KindImage, Name: "debian"}, "./DIR"},
		{Ref{}, "unknown kind"},
	} {
		store := dir + "/store"
		r, err := Prepare(context.Background(), tt.ref, Options{Store: store})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v %v, want %q", tt.ref, r, err, tt.want)
		}
		for _, d := range []string{"tmp", "layers", "index"} {
			if left, _ := os.ReadDir(store + "/" + d); len(left) > 0 {
				t.Errorf("%v: left %v", tt.ref, left)
			}
		}
	}
}

func TestPrepareDirAndHost(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir("root", 0o755); err != nil {
		t.Fatal(err)
	}
	r := prepare(t, "", "./root")
	if r.Kind != KindDir || len(r.Lowers) != 1 || r.Lowers[0] != dir+"/root" {
		t.Errorf("%+v", r)
	}
	if r := prepare(t, "", "host"); r.Kind != KindHost || r.Lowers[0] != "/" {
		t.Errorf("%+v", r)
	}
	if err := errors.Join(r.Close(), r.Close(), (*Root)(nil).Close()); err != nil {
		t.Error(err)
	}
	if err := os.Chmod("root", 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		_, err := Prepare(context.Background(), Ref{Kind: KindDir, Path: "root"}, Options{})
		if err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("error %v", err)
		}
	}
}

func TestStoreVersion(t *testing.T) {
	store, tar := t.TempDir(), t.TempDir()+"/root.tar"
	rootTar(t, tar, "x")
	writeFile(t, store+"/version", []byte("2\n"))
	_, err := Prepare(context.Background(), Ref{Kind: KindTar, Path: tar}, Options{Store: store})
	if err == nil || !strings.Contains(err.Error(), "newer hutch") {
		t.Errorf("error %v", err)
	}
	if got := names(t, store); len(got) != 1 {
		t.Errorf("a store of another version was touched: %v", got)
	}
}

func TestGC(t *testing.T) {
	store, dir := t.TempDir(), t.TempDir()
	var roots []*Root
	for _, n := range []string{"one", "two", "three"} {
		rootTar(t, dir+"/"+n, strings.Repeat(n, 1000))
		roots = append(roots, prepare(t, store, dir+"/"+n))
	}
	if st, err := GC(store, GCOptions{Keep: 0}); err != nil || st.Entries != 0 || st.Busy != 3 {
		t.Errorf("entries in use: %+v, %v", st, err)
	}
	if err := Remove(store, roots[0].Digest); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("remove: %v", err)
	}
	for _, r := range roots {
		r.Close()
	}
	prepare(t, store, dir+"/one").Close() // now two is the oldest
	if st, err := GC(store, GCOptions{Keep: 8001}); err != nil || st.Entries != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := os.Stat(roots[1].Lowers[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the least recently used is still there: %v", err)
	}
	if _, err := os.Stat(roots[0].Lowers[0]); err != nil {
		t.Error(err)
	}
	if err := Remove(store, roots[0].Digest); err != nil {
		t.Error(err)
	}
	if st, err := GC(store, GCOptions{Keep: -1}); err != nil || st != (GCStats{Left: 5000}) {
		t.Errorf("%+v, %v", st, err)
	}
	if st, err := GC(store, GCOptions{}); err != nil || st.Entries != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	for _, d := range []string{"index", "layers", "tmp"} {
		if left := names(t, store+"/"+d); len(left) > 0 {
			t.Errorf("%s: %v", d, left)
		}
	}
	r := prepare(t, store, dir+"/two")
	defer r.Close()
	if _, err := os.Stat(r.Lowers[0] + "/etc/hostname"); err != nil {
		t.Error(err)
	}
	if _, err := GC(t.TempDir()+"/none", GCOptions{}); err != nil {
		t.Error(err)
	}
}

// TestKilled: a process that is killed while it unpacks leaves nothing that
// stays, and one that lives is left alone.
func TestKilled(t *testing.T) {
	store := t.TempDir()
	data := tarOf(t, dirEntry("etc"), dirEntry("etc/locked"), fileEntry("etc/locked/f", strings.Repeat("x", 1<<20)))
	start := func() (*exec.Cmd, *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := helper(store, true)
		cmd.Stdin = r
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r.Close()
		if _, err := w.Write(data[:len(data)-4096]); err != nil {
			t.Fatal(err)
		}
		return cmd, w
	}
	drafts := func(n int) {
		t.Helper()
		for range 6000 {
			list, _ := os.ReadDir(store + "/tmp")
			if len(list) == n {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("tmp holds %v, want %d", names(t, store+"/tmp"), n)
	}
	cmd, w := start()
	drafts(1)
	if st, err := GC(store, GCOptions{Keep: 0}); err != nil || st.Temporaries != 0 {
		t.Errorf("the draft of a living process was removed: %+v %v", st, err)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	w.Close()
	drafts(1)
	if st, err := GC(store, GCOptions{Keep: -1}); err != nil || st.Temporaries != 1 {
		t.Errorf("%+v %v", st, err)
	}
	drafts(0)

	// The next unpacking cleans up as well.
	cmd, w = start()
	drafts(1)
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
	w.Close()
	r, err := Prepare(context.Background(), Ref{Kind: KindTar, Path: "-"}, Options{Store: store, Stdin: bytes.NewReader(data)})
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	drafts(0)
}

// TestManyProcesses: they unpack the same archive at once while another
// removes entries; each gets a whole tree.
func TestManyProcesses(t *testing.T) {
	store := t.TempDir()
	var entries []entry
	for i := range 50 {
		entries = append(entries, fileEntry("etc/"+strings.Repeat("f", i+1), "content"))
	}
	data := tarOf(t, entries...)
	stop := make(chan struct{})
	var wait, gc sync.WaitGroup
	gc.Go(func() {
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
	for range 8 {
		wait.Go(func() {
			for range 4 {
				cmd := helper(store, false)
				cmd.Stdin = bytes.NewReader(data)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
				r, err := Prepare(context.Background(), Ref{Kind: KindTar, Path: "-"}, Options{Store: store, Stdin: bytes.NewReader(data)})
				if err != nil {
					t.Error(err)
					continue
				}
				if list, err := os.ReadDir(r.Lowers[0] + "/etc"); err != nil || len(list) != 50 {
					t.Errorf("a tree in use has %d files, %v", len(list), err)
				}
				r.Close()
			}
		})
	}
	wait.Wait()
	close(stop)
	gc.Wait()
	if _, err := GC(store, GCOptions{Keep: -1}); err != nil {
		t.Error(err)
	}
	if left := names(t, store+"/tmp"); len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

// TestSetuidInStore: another user of the host cannot reach a set-user-ID file.
func TestSetuidInStore(t *testing.T) {
	if os.Geteuid() != 0 || inUserNamespace(t) {
		t.Skip("needs root, to become another user; the run as root does it")
	}
	base, err := os.MkdirTemp("/tmp", "hutch-setuid-")
	if err != nil {
		t.Fatal(err)
	}
	defer removePath(base)
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	id, err := os.ReadFile("/usr/bin/id")
	if err != nil {
		t.Fatal(err)
	}
	suid := fileEntry("bin/id", string(id))
	suid.Mode = 0o4755
	r, err := Prepare(context.Background(), Ref{Kind: KindTar, Path: "-"},
		Options{Store: base + "/store", Stdin: bytes.NewReader(tarOf(t, dirEntry("."), dirEntry("bin"), suid))})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	as := func() error {
		cmd := exec.Command(r.Lowers[0] + "/bin/id")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54321}}
		out, err := cmd.CombinedOutput()
		if err == nil && !bytes.Contains(out, []byte("euid=0")) {
			t.Errorf("it did not even become root: %s", out)
		}
		return err
	}
	if err := as(); !errors.Is(err, os.ErrPermission) {
		t.Errorf("another user ran it: %v", err)
	}
	// Without the defence:
	if err := os.Chmod(base+"/store", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"/layers"} {
		if err := os.Chmod(base+"/store"+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(r.Lowers[0]), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := as(); err != nil {
		t.Errorf("the test does not bite: %v", err)
	}
}

// inProcess decodes as hutch-decompress does, here.
type inProcess struct{ io.ReadCloser }

func (d inProcess) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	return n, demand(err)
}

func demand(err error) error {
	if errors.Is(err, decode.ErrDemand) {
		return &DemandError{err.Error()}
	}
	return err
}
