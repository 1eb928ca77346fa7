package cgroup

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
const guestVar = "CGROUP_TEST_GUEST"

// guestInit is process 1 of the guest: the host's root, read-only, with
// cgroup2 and nothing else on /sys/fs/cgroup.
const guestInit = `#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs tmp /mnt
chmod 1777 /mnt
export HOME=/mnt TMPDIR=/mnt %[1]s=1
cd /mnt
%[2]q -test.v -test.timeout=100s %[3]s 2>&1 </dev/null
echo "guest exit status $?"
echo o >/proc/sysrq-trigger
sleep 60
`

// guest boots the packaged User Mode Linux kernel and runs this test binary in
// it. User Mode Linux is an ordinary process of this user.
func guest(t testing.TB, script, args string) string {
	t.Helper()
	if os.Getenv(guestVar) != "" {
		t.Skip("this is the guest")
	}
	if _, err := exec.LookPath(umlguest.Kernel); err != nil {
		t.Skip("linux.uml is not installed: apt-get install user-mode-linux")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	init := filepath.Join(dir, "init")
	if err := os.WriteFile(init, fmt.Appendf(nil, script, guestVar, exe, args), 0o755); err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(dir, "disk")
	if err := os.WriteFile(disk, make([]byte, diskSize), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Second)
	defer cancel()
	text, err := umlguest.Guest{Memory: "256M", Init: init, Disk: disk, Dir: dir}.Run(ctx)
	if err != nil && !strings.Contains(text, "guest exit status") {
		t.Fatalf("%v\n%s", err, text)
	}
	return text
}

// The tests of this package on a real, pure v2 hierarchy.
func TestInV2Guest(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	out := guest(t, guestInit, "-test.skip='^TestIn|^TestV2GuestCost$'")
	t.Logf("guest ran for %v", time.Since(begin).Round(time.Millisecond))
	if !strings.Contains(out, "guest exit status 0\n") || !strings.Contains(out, "--- PASS: TestV2Placement") {
		t.Errorf("%s", out)
	}
	// Nothing may be skipped that the guest could do.
	skips := regexp.MustCompile(`(?m)^\s*--- SKIP: (\S+)`).FindAllStringSubmatch(out, -1)
	for _, s := range skips {
		t.Errorf("skipped in the guest: %s", s[1])
	}
	if testing.Verbose() {
		t.Log(out)
	}
}

// What setting limits costs on v2, beside what starting a process costs there:
// the guest's clock is slow, so only the ratio means something.
func TestV2GuestCost(t *testing.T) {
	t.Parallel()
	out := guest(t, guestInit, "-test.run=xxx -test.bench='^BenchmarkGroup$|^BenchmarkProcess$' -test.benchtime=200x")
	if !strings.Contains(out, "guest exit status 0\n") {
		t.Fatalf("%s", out)
	}
	for _, line := range strings.Split(out, "\n") {
		if strings.Contains(line, "ns/op") {
			t.Log(line)
		}
	}
}

// BenchmarkProcess is the yardstick.
func BenchmarkProcess(b *testing.B) {
	for b.Loop() {
		if err := exec.Command("/bin/true").Run(); err != nil {
			b.Fatal(err)
		}
	}
}
