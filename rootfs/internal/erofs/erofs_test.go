package erofs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// image writes dir as an image and lets fsck.erofs look at it.
func image(t *testing.T, dir string, opt Options) (string, Stats) {
	t.Helper()
	tree, err := Scan(t.Context(), dir)
	check(t, err)
	defer tree.Close()
	out, err := os.Create(filepath.Join(t.TempDir(), "image"))
	check(t, err)
	defer out.Close()
	st, err := tree.Write(t.Context(), out, opt)
	check(t, err)
	if b, err := exec.Command("fsck.erofs", out.Name()).CombinedOutput(); err != nil {
		t.Fatalf("fsck.erofs: %v\n%s", err, b)
	}
	return out.Name(), st
}

// show gives the files of an image: mounted by the kernel where the caller may
// mount, else unpacked by fsck.erofs, an implementation that is not ours.
func show(t *testing.T, image string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "out")
	check(t, os.Mkdir(to, 0o755))
	command := exec.Command("fsck.erofs", "--extract="+to, "--overwrite", "--preserve-perms", image)
	if os.Geteuid() == 0 {
		command = exec.Command("mount", "-t", "erofs", "-o", "loop,ro", image, to)
		t.Cleanup(func() { check(t, exec.Command("umount", to).Run()) })
	}
	if b, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", command, err, b)
	}
	return to
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, data, 0o644))
}

// pattern is n bytes that differ from block to block.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>12) ^ byte(i) ^ byte(i>>20)
	}
	return b
}

// manifest describes every file of a tree: what a copy must have.
func manifest(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		line := fmt.Sprintf("%s %o", name, st.Mode)
		if os.Geteuid() == 0 {
			line += fmt.Sprintf(" %d:%d %d.%d", st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
			if st.Mode&unix.S_IFMT != unix.S_IFDIR {
				line += fmt.Sprintf(" x%d", st.Nlink)
			}
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %x", len(b), sha256.Sum256(b))
		case unix.S_IFLNK:
			to, _ := os.Readlink(path)
			line += " -> " + to
		case unix.S_IFCHR, unix.S_IFBLK:
			line += fmt.Sprintf(" %d,%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		list = append(list, line)
		return nil
	}))
	return list
}

func same(t *testing.T, want, got []string) {
	t.Helper()
	for i := 0; i < max(len(want), len(got)); i++ {
		w, g := "nothing", "nothing"
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if w != g {
			t.Fatalf("line %d:\n want %s\n got  %s", i, w, g)
		}
	}
}

// sizes are around every border of the layout.
var sizes = []int{
	0, 1, 31, 32, 2047, longestEnd, longestEnd + 1, 4000, 4032, 4033, 4095, 4096, 4097,
	8191, 8192, 8193, 4096 + longestEnd, 4097 + longestEnd, 300 << 10, 300<<10 + 1, 1<<20 + 77,
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	for _, n := range sizes {
		write(t, filepath.Join(dir, fmt.Sprint("size-", n)), pattern(n))
	}
	check(t, os.MkdirAll(dir+"/empty/deeper", 0o700))
	write(t, dir+"/modes/setuid", pattern(10))
	if os.Geteuid() == 0 { // fsck.erofs drops these bits
		check(t, os.Chmod(dir+"/modes/setuid", 0o755|fs.ModeSetuid|fs.ModeSetgid))
		check(t, unix.Mknod(dir+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		check(t, unix.Mknod(dir+"/odd-device", unix.S_IFBLK|0o600, int(unix.Mkdev(4000, 1000_000))))
		check(t, unix.Mknod(dir+"/whiteout", unix.S_IFCHR, 0))
		check(t, os.Lchown(dir+"/modes/setuid", 12345, 1<<31))
	}
	check(t, os.Chmod(dir+"/modes", 0o755|fs.ModeSticky))
	for i, target := range []string{"a", "/etc/passwd", strings.Repeat("long/", 500), strings.Repeat("x", 4000)} {
		check(t, os.Symlink(target, fmt.Sprintf("%s/link%d", dir, i)))
	}
	check(t, unix.Mkfifo(dir+"/fifo", 0o640))
	for _, name := range []string{"!before-dot", "-x", "\xff\xfe", "with\nnewline", strings.Repeat("n", 255)} {
		write(t, filepath.Join(dir, "names", name), []byte(name))
	}
	want := manifest(t, dir)
	img, st := image(t, dir, Options{})
	same(t, want, manifest(t, show(t, img)))
	if int(st.Inodes) != len(want) {
		t.Errorf("%d inodes for %d names", st.Inodes, len(want))
	}
}

func TestBigDirectory(t *testing.T) {
	dir := t.TempDir()
	for i := range 3000 {
		write(t, fmt.Sprintf("%s/big/%d-%s", dir, i, strings.Repeat("n", i%200)), nil)
	}
	img, _ := image(t, dir, Options{})
	same(t, manifest(t, dir), manifest(t, show(t, img)))
}

func TestHoles(t *testing.T) {
	dir := t.TempDir()
	sparse := func(name string, size int64, at ...int64) {
		f, err := os.Create(filepath.Join(dir, name))
		check(t, err)
		defer f.Close()
		check(t, f.Truncate(size))
		for _, a := range at {
			_, err := f.WriteAt(pattern(5000), a)
			check(t, err)
		}
	}
	sparse("all", 1<<20)
	sparse("odd", 1<<20+123, 0, 500_000)
	sparse("end", 300_000, 295_000)
	sparse("wide", 200<<20+5, 0, 77<<20, 200<<20-4999)
	img, st := image(t, dir, Options{})
	if os.Geteuid() == 0 { // fsck.erofs 1.5 checks files with holes, and does not unpack them right
		same(t, manifest(t, dir), manifest(t, show(t, img)))
	}
	if st.Bytes > 2<<20 {
		t.Errorf("an image of %d bytes for files of holes", st.Bytes)
	}
}

// A terabyte of nothing must not become one.
func TestTerabyte(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(dir + "/huge")
	check(t, err)
	check(t, f.Truncate(1<<40))
	_, err = f.WriteAt([]byte("here"), 1<<39)
	check(t, err)
	check(t, f.Close())
	tree, err := Scan(t.Context(), dir)
	check(t, err)
	defer tree.Close()
	out, err := os.Create(t.TempDir() + "/image")
	check(t, err)
	defer out.Close()
	_, err = tree.Write(t.Context(), out, Options{})
	check(t, err)
	var st unix.Stat_t
	check(t, unix.Fstat(int(out.Fd()), &st))
	if got := st.Blocks * 512; got > 8<<20 {
		t.Errorf("the image takes %d bytes of disk", got)
	}
}

func TestHardLinks(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a/file", pattern(9000))
	check(t, os.MkdirAll(dir+"/b", 0o755))
	check(t, os.Link(dir+"/a/file", dir+"/b/same"))
	check(t, os.Link(dir+"/a/file", dir+"/b/also"))
	img, st := image(t, dir, Options{})
	if st.Inodes != 4 {
		t.Errorf("%d inodes, want root, a, b and one file", st.Inodes)
	}
	same(t, manifest(t, dir), manifest(t, show(t, img)))
}

func TestXattrs(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("v", 3000)
	for i, v := range []string{"", "1", "22", "333", "4444", long} {
		path := fmt.Sprintf("%s/f%d", dir, i)
		write(t, path, pattern(i*1000))
		if err := unix.Lsetxattr(path, "user.hutch.test", []byte(v), 0); err != nil {
			t.Fatalf("the file system of TMPDIR has no attributes: %v", err)
		}
		check(t, unix.Lsetxattr(path, "user.a", []byte("b"), 0))
	}
	if os.Geteuid() == 0 {
		check(t, unix.Lsetxattr(dir, "trusted.overlay.opaque", []byte("y"), 0))
		check(t, unix.Lsetxattr(dir+"/f3", "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
		check(t, exec.Command("setfacl", "-m", "u:1234:rw,d:g:77:r", dir).Run())
	}
	img, _ := image(t, dir, Options{})
	got := show(t, img)
	if os.Geteuid() == 0 {
		same(t, attributes(t, dir), attributes(t, got))
	}
	for i, v := range []string{"", "1", "22", "333", "4444", long} {
		b, err := os.ReadFile(img)
		check(t, err)
		if want := []byte("hutch.test" + v); !bytes.Contains(b, want) {
			t.Errorf("f%d: its attribute is not in the image", i)
		}
	}
	same(t, manifest(t, dir), manifest(t, got))
}

// attributes lists those of every file.
func attributes(t *testing.T, dir string) []string {
	t.Helper()
	cmd := exec.Command("sh", "-c", "for f in . *; do getfattr -d -h -m - -e hex $f | sort; done")
	cmd.Dir = dir
	out, err := cmd.Output()
	check(t, err)
	if !bytes.Contains(out, []byte("user.hutch.test")) {
		t.Fatalf("getfattr shows nothing: %s", out)
	}
	return strings.Split(string(out), "\n")
}

func TestDeterministic(t *testing.T) {
	dir := t.TempDir()
	for i := range 300 {
		write(t, fmt.Sprintf("%s/d%d/f%d", dir, i%7, i), pattern(i*57))
	}
	var first []byte
	for i := range 3 {
		img, _ := image(t, dir, Options{})
		b, err := os.ReadFile(img)
		check(t, err)
		if i > 0 && !bytes.Equal(first, b) {
			t.Fatal("two images of one tree differ")
		}
		first = b
	}
}

func TestOwner(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/f", nil)
	tree, err := Scan(t.Context(), dir)
	check(t, err)
	defer tree.Close()
	out, err := os.Create(t.TempDir() + "/image")
	check(t, err)
	defer out.Close()
	_, err = tree.Write(t.Context(), out, Options{Owner: func(_, _ uint32) (uint32, uint32) { return 70000, 1234567 }})
	check(t, err)
	b := make([]byte, inodeSize)
	_, err = out.ReadAt(b, tree.root.children[0].offset)
	check(t, err)
	if got := fmt.Sprintf("% x", b[24:32]); got != "70 11 01 00 87 d6 12 00" {
		t.Errorf("owner %s", got)
	}
}

func TestOwnACLs(t *testing.T) {
	acl := []byte{
		2, 0, 0, 0, // version
		1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff, // the owner
		2, 0, 4, 0, 10, 0, 0, 0, // user 10
		8, 0, 4, 0, 20, 0, 0, 0, // group 20
	}
	b := append(make([]byte, xattrHeader), 0, 2, byte(len(acl)), 0)
	b = append(b, acl...)
	ownACLs(b, func(uid, gid uint32) (uint32, uint32) { return uid + 1, gid + 2 })
	got := b[xattrHeader+4:]
	if got[8] != 0xff || got[16] != 11 || got[24] != 22 {
		t.Errorf("% x", got)
	}
}

func TestFingerprint(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/f", []byte("one"))
	print := func() [32]byte {
		tree, err := Scan(t.Context(), dir)
		check(t, err)
		defer tree.Close()
		return tree.Fingerprint()
	}
	first := print()
	if first != print() {
		t.Error("the same tree has two fingerprints")
	}
	var st unix.Stat_t
	check(t, unix.Stat(dir+"/f", &st))
	// The same length and time of modification: the time of the change tells.
	check(t, os.WriteFile(dir+"/f", []byte("two"), 0o644))
	check(t, unix.UtimesNanoAt(unix.AT_FDCWD, dir+"/f", []unix.Timespec{st.Atim, st.Mtim}, 0))
	if first == print() {
		t.Error("a changed file has the same fingerprint")
	}
}

// The tree changes between the look and the copy.
func TestChanged(t *testing.T) {
	for _, how := range []string{"shorter", "replaced", "link", "gone"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir+"/f", pattern(100_000))
			tree, err := Scan(t.Context(), dir)
			check(t, err)
			defer tree.Close()
			switch how {
			case "shorter":
				check(t, os.Truncate(dir+"/f", 10))
			case "replaced":
				write(t, dir+"/g", pattern(100_000))
				check(t, os.Rename(dir+"/g", dir+"/f"))
			case "link":
				check(t, os.Remove(dir+"/f"))
				check(t, os.Symlink("/etc/passwd", dir+"/f"))
			case "gone":
				check(t, os.Remove(dir+"/f"))
			}
			out, err := os.Create(t.TempDir() + "/image")
			check(t, err)
			defer out.Close()
			if _, err := tree.Write(t.Context(), out, Options{}); err == nil || !strings.Contains(err.Error(), "f: ") {
				t.Errorf("error %v, want one that names the file", err)
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Scan(ctx, "/usr"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		// Root reads everything; the same test runs as an ordinary user.
		tree, err := Scan(t.Context(), t.TempDir())
		check(t, err)
		defer tree.Close()
		if tree.Unreadable != 0 {
			t.Error("root could not read an empty directory")
		}
		return
	}
	dir := t.TempDir()
	write(t, dir+"/secret", []byte("x"))
	check(t, os.Chmod(dir+"/secret", 0))
	write(t, dir+"/closed/f", []byte("x"))
	write(t, dir+"/listed/f", []byte("x"))
	check(t, os.Chmod(dir+"/closed", 0o111))
	check(t, os.Chmod(dir+"/listed", 0o444))
	defer os.Chmod(dir+"/closed", 0o755)
	defer os.Chmod(dir+"/listed", 0o755)
	img, st := image(t, dir, Options{})
	if st.Unreadable != 3 {
		t.Errorf("%d unreadable, want 3", st.Unreadable)
	}
	out, err := exec.Command("dump.erofs", "--path=/secret", img).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "socket") && !strings.Contains(string(out), "SOCK") {
		t.Errorf("dump.erofs: %v\n%s", err, out)
	}
}

// What lies in memory while an image is made is bounded.
func TestBounds(t *testing.T) {
	t.Parallel()
	t.Run("attributes", func(t *testing.T) {
		dir := t.TempDir()
		value := pattern(3900)
		for i := range allXattrs/len(value) + 1 {
			path := filepath.Join(dir, fmt.Sprint(i))
			write(t, path, nil)
			if err := unix.Setxattr(path, "user.x", value, 0); err != nil {
				t.Fatal(err)
			}
		}
		tree, err := Scan(t.Context(), dir)
		check(t, err)
		defer tree.Close()
		out, err := os.Create(filepath.Join(t.TempDir(), "image"))
		check(t, err)
		defer out.Close()
		if _, err := tree.Write(t.Context(), out, Options{}); err == nil || !strings.Contains(err.Error(), "of extended attributes") {
			t.Errorf("%v", err)
		}
	})
	t.Run("names", func(t *testing.T) {
		tree := &Tree{}
		if err := tree.count(maxNames); err != nil {
			t.Error(err)
		}
		if err := tree.count(1); err == nil {
			t.Error("one more is taken")
		}
	})
}
