package uml

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hutch/runner"
	"hutch/runner/guest"
)

// Debian's own kernel, made worse by a few bytes of the same length: each is
// refused by the name of what it lacks.
func TestRealKernelsThatDoNotFit(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath(kernelName)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := guest.Ask(path, "--version")
	if err != nil {
		t.Fatal(err)
	}
	release := strings.TrimSpace(text)
	other := release[:len(release)-1] + "x"
	for name, tt := range map[string]struct{ from, to, want, remedy string }{
		"an option":     {"CONFIG_MEMCG=y", "CONFIG_MEMCG=n", "without CONFIG_MEMCG, which the limit of memory needs", "build it with that option"},
		"a file system": {"CONFIG_HOSTFS=y", "CONFIG_HOSTFS=n", "without CONFIG_HOSTFS, which shares needs", "build it with that option"},
		"its modules":   {release, other, "there are no modules for release " + other, "install the modules of exactly this kernel"},
		"not User Mode": {"CONFIG_UML=y", "CONFIG_UML=n", "it is not a User Mode Linux kernel", "user-mode-linux"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !bytes.Contains(data, []byte(tt.from)) {
				t.Fatalf("the kernel does not hold %q", tt.from)
			}
			worse := filepath.Join(t.TempDir(), "linux")
			if err := os.WriteFile(worse, bytes.ReplaceAll(data, []byte(tt.from), []byte(tt.to)), 0o755); err != nil {
				t.Fatal(err)
			}
			_, err := inspect(worse, t.TempDir())
			for errors.Is(err, syscall.ETXTBSY) { // another test forked while the file was written
				_, err = inspect(worse, t.TempDir())
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(runner.Hint(err), tt.remedy) {
				t.Errorf("%v, hint %q; want %q", err, runner.Hint(err), tt.want)
			}
		})
	}
}
