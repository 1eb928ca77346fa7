package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"hutch/runner/host/umlguest"
)

// guestVar is set inside the guest.
const guestVar = "HUTCH_TEST_GUEST"

// guestInit is process 1 of the guest: the machine's root, read-only, cgroup2
// and nothing else on /sys/fs/cgroup, and a disk whose files can have mapped
// owners. It runs the tests as root, in the root group, and as an ordinary
// user in a group that was delegated to it.
const guestInit = `#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 none /sys/fs/cgroup
mount -t ext4 /dev/ubda /mnt
mkdir -p -m 1777 /mnt/tmp /mnt/var
mount --bind /mnt/var /var/lib
mount --bind /mnt/var /var/cache
busybox insmod /usr/lib/uml/modules/"$(uname -r)"/kernel/fs/overlayfs/overlay.ko
# Owned by root: this kernel has no Landlock, and who could write it may not use it.
mkdir /mnt/bin
cp %[2]q /mnt/bin/hutch.test
ln -s hutch.test /mnt/bin/hutch
chmod -R 755 /mnt/bin
export PATH=/mnt/bin:$PATH HOME=/mnt/tmp TMPDIR=/mnt/tmp %[1]s=1
cd /mnt
# Output and disk are the same on every hierarchy; of disks package cgroup has its own guest.
run='/mnt/bin/hutch.test -test.v -test.timeout=100s -test.skip=^TestLimit(Output|IO|WithoutTree|sSideBySide) -test.run=^TestLimit/^(memory|cpu_time|killed|timeout)'
$run 2>&1 </dev/null
echo "root exit status $?"
for f in /mnt/tmp/* /mnt/var/*; do rm -rf "$f"; done
echo "+memory +cpu +pids +io" >/sys/fs/cgroup/cgroup.subtree_control
mkdir -p /sys/fs/cgroup/user/login
chown -R 65534:65534 /sys/fs/cgroup/user
echo $$ >/sys/fs/cgroup/user/login/cgroup.procs
setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all $run 2>&1 </dev/null
echo "user exit status $?"
echo o >/proc/sysrq-trigger
sleep 60
`

// The limits of whole runs on a real, pure v2 hierarchy, as root and as a user
// to whom a part of it was delegated. User Mode Linux is an ordinary process.
func TestInV2Guest(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("the root half boots the guest, which has an ordinary user too")
	}
	if _, err := exec.LookPath(umlguest.Kernel); err != nil {
		t.Skip("linux.uml is not installed: apt-get install user-mode-linux")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	init, disk := filepath.Join(dir, "init"), filepath.Join(dir, "disk")
	if err := os.WriteFile(init, fmt.Appendf(nil, guestInit, guestVar, exe), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", disk, "256M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Second)
	defer cancel()
	begin := time.Now()
	text, err := umlguest.Guest{Memory: "512M", Init: init, Disk: disk, Dir: dir}.Run(ctx)
	t.Logf("the guest ran for %v", time.Since(begin).Round(time.Millisecond))
	for _, who := range []string{"root", "user"} {
		if !strings.Contains(text, who+" exit status 0\n") {
			t.Errorf("%s: %v", who, err)
		}
	}
	if n := strings.Count(text, "--- PASS: TestLimitsHold"); n != 2 {
		t.Errorf("TestLimitsHold passed %d times", n)
	}
	// Nothing may be skipped that the guest could do.
	for _, s := range regexp.MustCompile(`(?m)^\s*--- SKIP: (\S+)`).FindAllStringSubmatch(text, -1) {
		t.Errorf("skipped in the guest: %s", s[1])
	}
	if t.Failed() || testing.Verbose() {
		t.Log(text)
	}
}
