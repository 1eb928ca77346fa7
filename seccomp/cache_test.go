package seccomp

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

var (
	readOnly  = &Policy{Allow: []string{"read"}}
	writeOnly = &Policy{Allow: []string{"write"}}
)

func mustLoad(t *testing.T, p *Policy, dir string) Filter {
	t.Helper()
	f, err := Load(p, dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustCompile(t *testing.T, p *Policy) Filter {
	t.Helper()
	f, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A second load takes what lies in the cache: a filter that no compiler made of
// this policy, sealed by hand, comes back.
func TestLoadUsesTheCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	first := mustLoad(t, readOnly, dir)
	if !bytes.Equal(first, mustCompile(t, readOnly)) {
		t.Error("the first load differs from what is compiled")
	}
	path := filepath.Join(dir, readOnly.Key().file())
	for file, want := range map[string]os.FileMode{dir: os.ModeDir | 0o700, path: 0o600} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", file, info.Mode(), want)
		}
	}
	planted := mustCompile(t, writeOnly)
	write(t, path, append(readOnly.Key().seal(planted), planted...))
	if got := mustLoad(t, readOnly, dir); !bytes.Equal(got, planted) {
		t.Error("the second load did not use the cache")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("the cache holds %d files, want 1", len(entries))
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What is not exactly what Load stored is compiled anew, and repaired.
func TestLoadDistrustsTheCache(t *testing.T) {
	key := readOnly.Key()
	honest := mustCompile(t, readOnly)
	planted := mustCompile(t, writeOnly)
	sealed := func(f Filter) []byte { return append(key.seal(f), f...) }
	flipped := sealed(honest)
	flipped[len(flipped)-1] ^= 1
	allowAll := assemble([]instruction{{retK, 0, 0, uint32(ActionAllow)}})
	tests := map[string]func(path string){
		"empty":            func(path string) { write(t, path, nil) },
		"cut short":        func(path string) { write(t, path, sealed(honest)[:100]) },
		"a bit flipped":    func(path string) { write(t, path, flipped) },
		"raw filter":       func(path string) { write(t, path, planted) },
		"another key's":    func(path string) { write(t, path, append(writeOnly.Key().seal(planted), planted...)) },
		"longer":           func(path string) { write(t, path, append(sealed(honest), 0)) },
		"allows all":       func(path string) { write(t, path, sealed(allowAll)) },
		"no instruction":   func(path string) { write(t, path, sealed(Filter{})) },
		"odd length":       func(path string) { write(t, path, sealed(planted[:len(planted)-1])) },
		"does not return":  func(path string) { write(t, path, sealed(planted[:8])) },
		"huge":             func(path string) { write(t, path, sealed(make(Filter, 1<<20))) },
		"writable by all":  func(path string) { write(t, path, sealed(planted)); chmod(t, path, 0o666) },
		"the directory is": func(path string) { write(t, path, sealed(planted)); chmod(t, filepath.Dir(path), 0o777) },
		"symlink": func(path string) {
			write(t, path+".other", sealed(planted))
			must(t, os.Remove(path))
			must(t, os.Symlink(path+".other", path))
		},
		"fifo":      func(path string) { must(t, os.Remove(path)); must(t, syscall.Mkfifo(path, 0o600)) },
		"directory": func(path string) { must(t, os.Remove(path)); must(t, os.Mkdir(path, 0o700)) },
	}
	if os.Geteuid() == 0 {
		tests["another's file"] = func(path string) { write(t, path, sealed(planted)); must(t, os.Chown(path, 65534, -1)) }
		tests["another's directory"] = func(path string) {
			write(t, path, sealed(planted))
			must(t, os.Chown(filepath.Dir(path), 65534, -1))
		}
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			mustLoad(t, readOnly, dir)
			spoil(filepath.Join(dir, key.file()))
			if got := mustLoad(t, readOnly, dir); !bytes.Equal(got, honest) {
				t.Errorf("the cache's bytes were used: %s", got.Digest())
			}
		})
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) { t.Helper(); must(t, os.Chmod(path, mode)) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLoadWithoutACache(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	for _, dir := range []string{"", file, "/proc/none/of/these"} {
		if got := mustLoad(t, readOnly, dir); !bytes.Equal(got, mustCompile(t, readOnly)) {
			t.Errorf("%q: another filter", dir)
		}
	}
}
