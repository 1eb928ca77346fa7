package uml

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// badKernel compiles a program that has all options and does mode; without is
// an option that it has not, asModule one that is a module.
func badKernel(t *testing.T, mode, without, asModule string) string {
	t.Helper()
	config := "CONFIG_UML=y\n"
	for _, o := range options {
		switch o.name {
		case without:
		case asModule:
			config += "CONFIG_" + o.name + "=m\n"
		default:
			config += "CONFIG_" + o.name + "=y\n"
		}
	}
	name := filepath.Join(t.TempDir(), "kernel")
	out, err := exec.Command("gcc", "-static", "-O1", "-DMODE=\""+mode+"\"", "-DCONFIG="+strconv.Quote(config), "-o", name, "testdata/kernel.c").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return name
}

// What is no kernel, or one that will not do, is an error with the object, the
// remedy and its last words, soon; TestMain sees that nothing of it is left.
func TestBadKernels(t *testing.T) {
	for _, tt := range []struct{ mode, without, module, want, hint string }{
		{"status", "", "", "the guest ended itself with status 7 before it reported", "the words of no kernel"},
		{"crash", "", "", "the guest crashed with SIGABRT before it reported", "the words of no kernel"},
		{"close", "", "", "the guest closed its channel before it reported, and ran on", "another kernel may do better: --kernel FILE"},
		{"hang", "", "", "the guest did not report within 2s", "another kernel may do better: --kernel FILE"},
		{"hang", "MEMCG", "", "it was built without CONFIG_MEMCG, which the limit of memory needs", "build it with that option"},
		{"hang", "", "EROFS_FS", "there are no modules for release 1.2.3", "install the modules of exactly this kernel, or build those into it: erofs"},
	} {
		spec := newSpec(t, "true")
		t.Run(tt.mode+tt.without+tt.module, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t)
			e.Boot, e.Kernel = time.Minute, badKernel(t, tt.mode, tt.without, tt.module)
			if tt.mode == "hang" {
				e.Boot = 2 * time.Second
			}
			began := time.Now()
			_, err := runner.NewSandbox(t.Context(), e, spec).Run()
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(runner.Hint(err), tt.hint) {
				t.Errorf("%v, hint %q; want %q, %q", err, runner.Hint(err), tt.want, tt.hint)
			}
			if took := time.Since(began); took > time.Minute {
				t.Errorf("took %v", took)
			}
		})
	}
}

// copyOfKernel is Debian's kernel with modules of its own, one of which change
// has made bad.
func copyOfKernel(t *testing.T, change func(erofs, dep string) error) string {
	t.Helper()
	path, err := exec.LookPath(kernelName)
	if err != nil {
		t.Fatal(err)
	}
	k, err := inspect(path, t.TempDir())
	if err != nil || len(k.Modules) == 0 {
		t.Fatalf("%+v, %v: this is about a kernel with modules", k, err)
	}
	dir := t.TempDir()
	from, err := modulesDir(path, k.Release)
	if err != nil {
		t.Fatal(err)
	}
	modules := filepath.Join(dir, "modules", k.Release)
	for _, m := range append([]string{filepath.Join(from, "modules.dep"), path}, k.Modules...) {
		to := filepath.Join(dir, filepath.Base(m))
		if rel, err := filepath.Rel(from, m); err == nil && m != path {
			to = filepath.Join(modules, rel)
		}
		err := os.MkdirAll(filepath.Dir(to), 0o755)
		if err == nil {
			// Not written here: a child of another test's could hold it open, ETXTBSY.
			err = exec.Command("cp", m, to).Run()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := change(filepath.Join(modules, "kernel/fs/erofs/erofs.ko"), filepath.Join(modules, "modules.dep")); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, filepath.Base(path))
}

// Modules that do not match are told by their name, whoever finds out.
func TestModulesThatDoNotMatch(t *testing.T) {
	for name, tt := range map[string]struct {
		change     func(erofs, dep string) error
		want, hint string
	}{
		"cut off": {func(m, _ string) error { return os.Truncate(m, 5000) }, "load module 00-erofs.ko in the guest: exec format error", "must be those of exactly this kernel"},
		"of another release": {
			func(m, _ string) error {
				data, err := os.ReadFile(m)
				if err != nil {
					return err
				}
				// The same length: the kernel is to look at what it says.
				return os.WriteFile(m, []byte(strings.Replace(string(data), "vermagic=6", "vermagic=5", 1)), 0o644)
			}, "load module 00-erofs.ko in the guest: exec format error", "must be those of exactly this kernel",
		},
		"gone":     {func(m, _ string) error { return os.Remove(m) }, "module of the guest's kernel: stat", "run depmod"},
		"unlisted": {func(_, dep string) error { return os.WriteFile(dep, nil, 0o644) }, "has no module erofs", "install the modules of exactly this kernel"},
		"nonsense": {func(_, dep string) error { return os.WriteFile(dep, make([]byte, 3<<20), 0o644) }, "modules.dep", "install the modules of exactly this kernel"},
	} {
		spec := newSpec(t, "true")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t)
			e.Kernel = copyOfKernel(t, tt.change)
			_, err := runner.NewSandbox(t.Context(), e, spec).Run()
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(runner.Hint(err), tt.hint) {
				t.Errorf("%v, hint %q; want %q, %q", err, runner.Hint(err), tt.want, tt.hint)
			}
		})
	}
}

// A guest's memory is a file, which a limit on the size of files is in the way of.
func TestLimitOfFiles(t *testing.T) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &r); err != nil {
		t.Fatal(err)
	}
	low := r
	low.Cur = 64 << 20
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &low); err != nil {
		t.Fatal(err)
	}
	err := (&layout{memory: 128 << 20}).fits()
	if rerr := unix.Setrlimit(unix.RLIMIT_FSIZE, &r); rerr != nil {
		t.Fatal(rerr)
	}
	if err == nil || !strings.Contains(err.Error(), "(ulimit -f) is 65536 KiB") || !strings.Contains(runner.Hint(err), "ulimit -f unlimited") {
		t.Errorf("%v, hint %q", err, runner.Hint(err))
	}
	if err := (&layout{memory: 128 << 20}).fits(); r.Cur == unix.RLIM_INFINITY && err != nil {
		t.Error(err)
	}
}

// That there is no kernel at all is told with what to install.
func TestNoKernel(t *testing.T) {
	t.Setenv(KernelVar, "")
	t.Setenv("PATH", t.TempDir())
	_, err := (&Engine{Kernels: []string{"/nonexistent"}}).findKernel()
	if err == nil || !strings.Contains(err.Error(), "kernel linux.uml of PATH: executable file not found") || !strings.Contains(runner.Hint(err), "apt-get install user-mode-linux") {
		t.Errorf("%v, hint %q", err, runner.Hint(err))
	}
}
