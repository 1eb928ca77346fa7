package profiles

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func BenchmarkBuiltin(b *testing.B) {
	for b.Loop() {
		if p, ok := Builtin("default"); !ok || p == nil {
			b.Fatal("no default")
		}
	}
}

func BenchmarkBuiltinFilter(b *testing.B) {
	p, _ := Builtin("default")
	for b.Loop() {
		if _, err := p.Filter(""); err != nil {
			b.Fatal(err)
		}
	}
}

// What a user's profile costs from the second time on.
func BenchmarkLoadUsersProfile(b *testing.B) {
	dir := b.TempDir()
	path, cache := filepath.Join(dir, "mine.toml"), filepath.Join(dir, "cache")
	text := "version = 1\nextends = [\"default\"]\n[limits]\nmemory = \"1G\"\n[seccomp]\nallow = [\"ptrace\"]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		p, err := Load(path)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Filter(cache); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetppid(b *testing.B) {
	for b.Loop() {
		_, _, _ = unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	}
}
