package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// erofsRoot packs a root of busybox that no other test has.
func erofsRoot(t *testing.T) (tar string) {
	t.Helper()
	dir := t.TempDir()
	if err := busyboxRoot(dir + "/root"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/root/name", []byte(t.Name()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-C", dir+"/root", "-cf", dir+"/root.tar", ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir + "/root.tar"
}

// imageMounts are those of images that this machine sees.
func imageMounts(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, " erofs ") {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}

// imageLoops are the loop devices of images of these layers. The tests' store
// lies in memory, whose files the driver does not read itself; package rootfs
// tests the other way. Others on this machine have theirs.
func imageLoops(layers []string) (found []string) {
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, f := range files {
		b, err := os.ReadFile(f)
		ours := slices.ContainsFunc(layers, func(l string) bool { return bytes.Contains(b, []byte(filepath.Base(l))) })
		if err == nil && ours && bytes.Contains(b, []byte("fs.erofs")) {
			found = append(found, string(b))
		}
	}
	return found
}

// TestErofsImageInUse: an image that a box runs on stays, whatever is asked for
// meanwhile, and nothing of it is left when hutch is killed.
func TestErofsImageInUse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root mounts an image; what others are told stands in image.txtar")
	}
	root := erofsRoot(t)
	if status, out := hutch(t, nil, "image", "import", "-q", "--store-format", "erofs", root, "erofs-in-use"); status != 0 {
		t.Fatal(out)
	}
	layers, _ := filepath.Glob("/var/lib/hutch/layers/*")
	if len(layers) == 0 {
		t.Fatal("no layer is in the store")
	}
	boxes := make([]*exec.Cmd, 3) // which share the image
	for i := range boxes {
		boxes[i] = exec.Command("hutch", "run", "erofs-in-use", "sh", "-c", "echo ready; exec sleep 1000")
		out, err := boxes[i].StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := boxes[i].Start(); err != nil {
			t.Fatal(err)
		}
		defer boxes[i].Process.Kill()
		if _, err := out.Read(make([]byte, 16)); err != nil {
			t.Fatal(err)
		}
	}
	if seen := imageMounts(t); seen != "" {
		t.Errorf("the host sees %s", seen)
	}
	status, out := hutch(t, nil, "image", "import", "-q", "--store-format", "dir", root, "erofs-in-use")
	if status != 125 || !strings.Contains(out, "its layers are kept in another store format: is in use\nhint: try again when nobody runs it") {
		t.Errorf("%d: %s", status, out)
	}
	if status, out := hutch(t, nil, "image", "gc", "--keep", "0"); status != 0 {
		t.Errorf("%d: %s", status, out)
	}
	if status, out := hutch(t, nil, "run", "erofs-in-use", "cat", "/name"); status != 0 || out != t.Name()+"\n" {
		t.Errorf("%d: %s", status, out)
	}
	for _, b := range boxes {
		b.Process.Kill()
		b.Wait()
	}
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if status, out = hutch(t, nil, "image", "import", "-q", "--store-format", "dir", root, "erofs-in-use"); status == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d: %s", status, out)
		}
	}
	if left := imageMounts(t); left != "" {
		t.Errorf("left: %s", left)
	}
	for end := time.Now().Add(60 * time.Second); len(imageLoops(layers)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("left: %s", imageLoops(layers))
		}
	}
	if status, out := hutch(t, nil, "image", "rm", "erofs-in-use"); status != 0 {
		t.Errorf("%d: %s", status, out)
	}
}

// TestErofsFullDisk: a disk that fills up while an image is made leaves nothing.
func TestErofsFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root mounts an image; what others are told stands in image.txtar")
	}
	root := erofsRoot(t)
	const store = "/var/lib/hutch"
	if err := unix.Mount("tmpfs", store, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=3m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(store, unix.MNT_DETACH)
	// Room for the tree, and not for the image beside it.
	status, out := hutch(t, nil, "image", "import", "-q", "--store-format", "erofs", root, "full")
	if status != 125 || !strings.Contains(out, "no space left on device\nhint: make room") {
		t.Errorf("%d: %s", status, out)
	}
	var left []string
	for _, dir := range []string{"layers", "images", "names", "tmp"} {
		files, _ := filepath.Glob(store + "/" + dir + "/*")
		left = append(left, files...)
	}
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestErofsInterrupted: Ctrl-C and SIGTERM while an image is made, at many
// moments.
func TestErofsInterrupted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root mounts an image; what others are told stands in image.txtar")
	}
	root := erofsRoot(t)
	interrupted := 0
	for i := range 24 {
		name := fmt.Sprintf("interrupted-%d", i)
		cmd := exec.Command("hutch", "image", "import", "-q", "--store-format", "erofs", root, name)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 2 * time.Millisecond)
		sig := []unix.Signal{unix.SIGINT, unix.SIGTERM}[i%2]
		cmd.Process.Signal(sig)
		cmd.Wait()
		_, list := hutch(t, nil, "image", "ls")
		made := strings.Contains(list, name+":latest ")
		if code := cmd.ProcessState.ExitCode(); made != (code == 0) && code != -1 {
			t.Errorf("%v: %d, made %v: %s", sig, code, made, out.String())
		}
		if made {
			hutch(t, nil, "image", "rm", name)
		} else {
			interrupted++
		}
	}
	if interrupted == 0 {
		t.Error("none was interrupted")
	}
	if left, _ := filepath.Glob("/var/lib/hutch/tmp/*"); len(left) > 0 {
		if status, out := hutch(t, nil, "gc"); status != 0 {
			t.Error(out)
		}
		if left, _ = filepath.Glob("/var/lib/hutch/tmp/*"); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// TestErofsGuest: a guest's disk is the very file that a box mounts.
func TestErofsGuest(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root mounts an image; what others are told stands in image.txtar")
	}
	if _, err := exec.LookPath("linux.uml"); err != nil {
		t.Skip("linux.uml is not installed: apt-get install user-mode-linux")
	}
	root := erofsRoot(t)
	if status, out := hutch(t, nil, "image", "import", "-q", "--store-format", "erofs", root, "erofs-guest"); status != 0 {
		t.Fatal(out)
	}
	defer hutch(t, nil, "image", "rm", "erofs-guest")
	before, _ := filepath.Glob("/var/lib/hutch/blocks/*")
	if status, out := hutch(t, nil, "run", "--engine", "uml", "erofs-guest", "cat", "/name"); status != 0 || strings.TrimSpace(out) != t.Name() {
		t.Errorf("%d: %s", status, out)
	}
	if after, _ := filepath.Glob("/var/lib/hutch/blocks/*"); len(after) != len(before) {
		t.Errorf("a block image was made: %v", after)
	}
}

// TestErofsPulled: a registry's image in either format, from one to the other.
func TestErofsPulled(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root mounts an image; what others are told stands in image.txtar")
	}
	_, _, r := pulled(t, "")
	ref := r.host + "/team/app:1"
	for _, format := range []string{"erofs", "dir", "erofs"} {
		if status, out := hutch(t, nil, "image", "pull", "-q", "--store-format", format, ref); status != 0 {
			t.Fatalf("%d: %s", status, out)
		}
		if _, out := hutch(t, nil, "image", "inspect", ref); !strings.Contains(out, `"format": "`+format+`"`) {
			t.Errorf("%s: %s", format, out)
		}
		if status, out := hutch(t, nil, "run", "-q", "--store-format", format, ref, "x"); status != 0 || out != "entry x\n" {
			t.Errorf("%d: %s", status, out)
		}
	}
	// Another format than it is there in is fetched for it.
	if status, out := hutch(t, nil, "run", "-q", "--store-format", "dir", ref, "y"); status != 0 || out != "entry y\n" {
		t.Errorf("%d: %s", status, out)
	}
	if status, out := hutch(t, nil, "run", "-q", ref, "z"); status != 0 || out != "entry z\n" {
		t.Errorf("%d: %s", status, out)
	}
}
