package cgroup

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"hutch/runner/cgroup/scope"
)

// systemdVar is set in the guest that has systemd as its process 1.
const systemdVar = "CGROUP_TEST_SYSTEMD"

// systemdInit hands the guest over to the host's own systemd, with units in
// /run only: a manager for an ordinary user, as user@.service starts it but
// without PAM, and the tests, as that user, once by the bus and once where there is
// none, and as root.
const systemdInit = `#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o mode=1777 tmp /mnt
mount -t tmpfs -o mode=755 tmp /run
cp %[2]q /mnt/cgroup.test
mkdir -p /run/systemd/system /run/user/65534
chown 65534:65534 /run/user/65534
chmod 700 /run/user/65534
mkdir /mnt/private
ln -s /run/user/65534/systemd /mnt/private/systemd
cat >/run/systemd/system/user@65534.service <<END
[Unit]
Requires=dbus.service
After=dbus.service
DefaultDependencies=no
[Service]
User=65534
Type=notify
Delegate=pids memory
Environment=HOME=/mnt XDG_RUNTIME_DIR=/run/user/65534
ExecStart=/lib/systemd/systemd --user --unit=dbus.socket
END
cat >/run/systemd/system/hutch.service <<END
[Unit]
Requires=dbus.service user@65534.service
After=dbus.service user@65534.service
DefaultDependencies=no
[Service]
Type=oneshot
User=65534
WorkingDirectory=/mnt
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
TimeoutStartSec=180
Environment=HOME=/mnt TMPDIR=/mnt XDG_RUNTIME_DIR=/run/user/65534 %[1]s=1 ` + systemdVar + `=1
ExecStart=/mnt/cgroup.test -test.v %[3]s
ExecStart=/usr/bin/env XDG_RUNTIME_DIR=/mnt/private /mnt/cgroup.test -test.v %[3]s
ExecStart=+/mnt/cgroup.test -test.v %[3]s
ExecStopPost=+/bin/sh -c 'echo "guest exit status \$EXIT_STATUS"; echo o >/proc/sysrq-trigger'
END
exec /lib/systemd/systemd --unit=hutch.service --show-status=false --log-level=notice
`

// A scope from the real systemd, for an ordinary user and for root.
func TestInSystemdGuest(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/lib/systemd/systemd", "/usr/bin/dbus-daemon", "/usr/lib/systemd/user/dbus.socket"} {
		if !exists(path) && os.Getenv(guestVar) == "" {
			t.Skip(path + " is not installed: apt-get install systemd dbus dbus-user-session")
		}
	}
	out := guest(t, systemdInit, "-test.run='^TestSystemdScope$'")
	if !strings.Contains(out, "guest exit status 0\n") || strings.Count(out, "--- PASS: TestSystemdScope") != 3 {
		t.Errorf("%s", out)
	} else if testing.Verbose() {
		t.Log(out)
	}
}

// TestSystemdScope is what runs in that guest.
func TestSystemdScope(t *testing.T) {
	if os.Getenv(systemdVar) == "" {
		if exists("/run/systemd/system") {
			return // asking would move this process; the guest does that
		}
		if _, err := systemdScope(&hierarchy{}, memory, scope.Start); !errors.Is(err, errNoSystemd) {
			t.Errorf("without systemd: %v", err)
		}
		return
	}
	lay, err := readLayout()
	if err != nil {
		t.Fatal(err)
	}
	var inScope string
	if os.Geteuid() == 0 { // root would find a place without systemd
		if inScope, err = systemdScope(&lay.v2, memory|pids, scope.Start); err != nil {
			t.Fatal(err)
		}
	} else if g, err := New("", Limits{Memory: 24 * mib}, Options{}); err == nil {
		t.Fatalf("%v was made without systemd: nothing to see", g.Paths())
	}
	g, err := New("", Limits{Memory: 24 * mib, Processes: 20}, Options{Scope: scope.Start})
	if err != nil {
		out, _ := exec.Command("busctl", "--user", "list").CombinedOutput()
		t.Fatalf("%v\n%s", err, out)
	}
	defer cleanUp(t, g)
	path := g.Paths()[0]
	t.Logf("was in %s, made %s", lay.v2.self, path)
	if !strings.Contains(path, ".scope/hutch-") || !strings.HasPrefix(path, inScope) {
		t.Errorf("%s is not in a scope", path)
	}
	if _, status := run(t, g, eatMemory); !status.Signaled() {
		t.Errorf("ended with %#x", status)
	}
	if killed, err := g.OOMKilled(); err != nil || !killed {
		t.Errorf("OOMKilled: %v, %v; want true", killed, err)
	}
}
