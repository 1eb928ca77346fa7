package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hutch/runner/host/umlguest"
)

// quotaInit is process 1 of a guest whose store lies on an ext4 with project
// quotas, which the kernel of a test machine may not have.
const quotaInit = `#!/bin/sh
export PATH=%[1]s:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/mnt TMPDIR=/mnt
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /mnt
for m in fs/quota/quota_tree fs/quota/quota_v2 fs/overlayfs/overlay; do
	busybox insmod /usr/lib/uml/modules/$(uname -r)/kernel/$m.ko || echo "no module $m"
done
mkdir /mnt/disk
mount -t ext4 -o prjquota /dev/ubda /mnt/disk || echo "no quota"
mkdir -p /mnt/disk/store /mnt/disk/root
cp -a %[2]s/. /mnt/disk/root
mkdir /mnt/cache
mount -t tmpfs tmp /var/lib
mkdir /var/lib/hutch
mount --bind /mnt/disk/store /var/lib/hutch
mount --bind /mnt/cache /var/cache
cd /mnt/disk
run() { hutch run --result /mnt/result "$@" 2>&1 </dev/null; echo "status $?"; grep -o '"cause":"[^"]*"' /mnt/result; }
echo "== fill"
run --keep q --disk 4M --inodes 100 root sh -c 'dd if=/dev/zero of=/big bs=64k; stat -c "size %%s" /big; exit 9'
echo "== kept"
run --keep q root sh -c 'stat -c "size %%s" /big; /bin/busybox rm /big; echo new >/new && cat /new'
echo "== inodes"
run --keep q root sh -c 'mkdir /d; i=0; while echo >/d/$i; do i=$((i+1)); done 2>/dev/null; echo "files $i"'
echo "== larger"
run --keep q --disk 8M root sh -c 'dd if=/dev/zero of=/big bs=64k; stat -c "size %%s" /big'
echo "== end"
ls -d /var/lib/hutch/keep/q/data
hutch keep rm q && echo removed
echo o >/proc/sysrq-trigger
sleep 60
`

// TestKeepQuota: where the store's file system has project quotas, they cap
// what is kept, and the cap can be changed.
func TestKeepQuota(t *testing.T) {
	t.Parallel()
	hutch, err := exec.LookPath("hutch")
	if err != nil {
		t.Fatal(err)
	}
	dir, root := t.TempDir(), smallRoot(t)
	disk, init := filepath.Join(dir, "disk"), filepath.Join(dir, "init")
	for _, cmd := range []*exec.Cmd{
		exec.Command("truncate", "-s", "64M", disk),
		exec.Command("mke2fs", "-q", "-F", "-t", "ext4", "-O", "quota,project", "-E", "quotatype=prjquota", disk),
	} {
		cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/sbin:"+os.Getenv("PATH"))
		if cmd.Err != nil {
			cmd.Path, cmd.Err = "/usr/sbin/"+cmd.Args[0], nil
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if err := os.WriteFile(init, fmt.Appendf(nil, quotaInit, filepath.Dir(hutch), root), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Second)
	defer cancel()
	text, err := umlguest.Guest{Memory: "256M", Init: init, Disk: disk, Dir: dir}.Run(ctx)
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatal("linux.uml is not installed: apt-get install user-mode-linux")
	}
	if !strings.Contains(text, "removed\n") {
		t.Fatalf("%v\n%s", err, text)
	}
	part := func(name string) string {
		_, after, _ := strings.Cut(text, "== "+name+"\n")
		before, _, _ := strings.Cut(after, "== ")
		return before
	}
	for _, want := range []struct{ part, text string }{
		{"fill", "Disk quota exceeded"},
		{"fill", "size 4"},
		{"fill", "status 9\n\"cause\":\"disk-limit\""},
		{"kept", "size 4"},
		{"kept", "new\nstatus 0\n"},
		{"inodes", "files 8"},
		{"larger", "Disk quota exceeded"},
		{"larger", "size 8"},
		{"end", "/var/lib/hutch/keep/q/data"},
	} {
		if !strings.Contains(part(want.part), want.text) {
			t.Errorf("%s: no %q in\n%s", want.part, want.text, text)
		}
	}
}
