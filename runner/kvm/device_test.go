package kvm

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"hutch/runner"
)

func TestNoQEMU(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := findQEMU(t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "qemu-system-x86_64 is not in PATH") || !strings.Contains(runner.Hint(err), "apt-get install qemu-system-x86") {
		t.Errorf("%v, hint %q", err, runner.Hint(err))
	}
}

// deviceRole has the test's own program say what it makes of /dev/kvm.
const deviceRole = "HUTCH_TEST_DEVICE"

// What keeps /dev/kvm from being opened is told, with the remedy: on a machine
// that has none, and to a user who may not.
func TestNoDevice(t *testing.T) {
	if os.Getenv(deviceRole) != "" {
		_, err := (&Engine{}).device()
		os.Stdout.WriteString("error: " + errorText(err) + "\nhint: " + runner.Hint(err) + "\n")
		return
	}
	self := func(c *exec.Cmd, want, remedy string) {
		t.Helper()
		c.Env = append(os.Environ(), deviceRole+"=1")
		out, err := c.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), remedy) {
			t.Errorf("%v\n%s\nwant %q", err, out, want)
		}
	}
	words := []string{"-m"}
	if os.Geteuid() != 0 {
		words = []string{"-rm"}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	hidden := append(words, "sh", "-c", `mount -t tmpfs none /dev && exec "$0" -test.run '^TestNoDevice$'`, exe)
	self(exec.Command("unshare", hidden...), "error: there is no /dev/kvm\n", "modprobe kvm_intel or kvm_amd; or: --accel tcg")

	if info, err := os.Stat("/dev/kvm"); err != nil || info.Mode().Perm()&0o006 == 0o006 {
		return // there is none, or everybody may
	}
	c := exec.Command("/proc/self/exe", "-test.run", "^TestNoDevice$")
	c.Dir = "/"
	if os.Geteuid() == 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	self(c, "error: this user may not open /dev/kvm\n", "usermod -aG kvm USER")
}

func errorText(err error) string {
	if err == nil {
		return "none"
	}
	return err.Error()
}
