package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain is main for the test below, which runs itself.
func TestMain(m *testing.M) {
	if os.Getenv("BE_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// As another process than a guest's first it must touch nothing, whatever the
// environment says: it would switch the machine off.
func TestOnlyInAGuest(t *testing.T) {
	for _, channel := range []string{"", "virtio:hutch", "/dev/null"} {
		c := exec.Command(os.Args[0])
		c.Env = []string{"BE_MAIN=1", "HUTCH_GUEST=" + channel}
		out, err := c.CombinedOutput()
		if c.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "is process 1 of a guest") {
			t.Errorf("with %q: %v: %s", channel, err, out)
		}
	}
}
