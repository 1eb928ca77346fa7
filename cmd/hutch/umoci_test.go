package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDiffIsALayer has umoci put the layer that --diff writes onto the root,
// and unpack the two: the tree is what the next box sees with --keep.
func TestDiffIsALayer(t *testing.T) {
	t.Parallel()
	dir, root := t.TempDir(), smallRoot(t)
	for _, d := range []string{"sub/deep", "gone", "replaced"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, d, "old"), []byte("old\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	command := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME=")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %v: %v: %s%s", name, args, err, out, &stderr)
		}
		return string(out)
	}
	const change = `set -e
b=/bin/busybox
echo new >/etc/new; $b ln /etc/new /hard; $b ln -s ../etc/new /sub/soft; $b chmod 4755 /etc/new
$b rm -r /gone /sub/deep/old; $b rm -r /replaced; $b mkdir /replaced; echo x >/replaced/x
$b mkfifo -m 640 /pipe; $b touch -d @1000000000 /sub/deep; echo more >>/etc/passwd
long=/$($b seq -s/ 100 | $b head -c 230); $b mkdir -p $long; echo long >$long/f
$b dd if=/dev/zero of=/hole bs=1 count=1 seek=1000000 2>/dev/null`
	command("hutch", "run", "--keep", "umoci", "--diff", "layer.tar", root, "sh", "-c", change)
	defer command("hutch", "keep", "rm", "umoci")
	// Tells a tree without what belongs to the box and not to the layer.
	tell := `cd "$1"; b=/bin/busybox
$b find . -xdev ! -path . ! -path ./proc ! -path ./dev ! -path ./tmp ! -path './proc/*' ! -path './dev/*' ! -path './tmp/*' | $b sort |
while read -r f; do $b stat -c '%N %f %u:%g %Y' "$f"; [ ! -f "$f" ] || $b md5sum <"$f"; done`
	if os.Geteuid() != 0 { // whom umoci then gives all to
		tell = strings.ReplaceAll(tell, " %u:%g", "")
	}
	seen := command("hutch", "run", "--keep", "umoci", root, "sh", "-c", tell, "sh", "/")

	command("tar", "--owner=0", "--group=0", "-cf", "base.tar", "-C", root, ".")
	command("umoci", "init", "--layout", "image")
	command("umoci", "new", "--image", "image:x")
	for _, layer := range []string{"base.tar", "layer.tar"} {
		command("umoci", "raw", "add-layer", "--image", "image:x", layer)
	}
	unpack := []string{"unpack", "--image", "image:x", "bundle"}
	if os.Geteuid() != 0 {
		unpack = slices.Insert(unpack, 1, "--rootless")
	}
	command("umoci", unpack...)
	told := command("busybox", "sh", "-c", tell, "sh", filepath.Join(dir, "bundle/rootfs"))
	if seen != told {
		t.Errorf("the box sees, umoci unpacks:\n%s", lineDiff(seen, told))
	}
	for _, want := range []string{"./etc/new 89ed", "./replaced/x", "'./sub/soft'", "./pipe", "/f 81a4"} {
		if !strings.Contains(seen, want) {
			t.Errorf("no %s in\n%s", want, seen)
		}
	}
	for _, gone := range []string{"./gone", "./replaced/old", "./sub/deep/old"} {
		if strings.Contains(told, gone) {
			t.Errorf("%s is there", gone)
		}
	}
}

func lineDiff(a, b string) string {
	var out strings.Builder
	for _, s := range []struct{ mark, one, other string }{{"-", a, b}, {"+", b, a}} {
		for line := range strings.Lines(s.one) {
			if !strings.Contains(s.other, line) {
				out.WriteString(s.mark + line)
			}
		}
	}
	return out.String()
}
