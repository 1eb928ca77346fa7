package confine

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv("FORGET") == "" {
		os.Exit(m.Run())
	}
	forget()
	data, err := os.ReadFile("/proc/self/environ")
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.Write(data)
	_, _ = os.Stdout.WriteString("left: " + strings.Join(os.Environ(), " "))
}

// What the caller's variables held is not to be read in the process any more, and
// what is about proxies is known.
func TestForget(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"FORGET=1", "SECRET=hunter2", "https_proxy=http://proxy:1", "EMPTY="}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if text := string(out); strings.Contains(text, "hunter2") || strings.Contains(text, "SECRET") || strings.Contains(text, "FORGET") {
		t.Errorf("still there: %q", text)
	}
	if _, left, _ := strings.Cut(string(out), "left: "); left != "https_proxy=http://proxy:1" {
		t.Errorf("left: %q", left)
	}
}
