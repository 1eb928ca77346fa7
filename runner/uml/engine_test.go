package uml

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"hutch/runner"
	"hutch/runner/guest"
	"hutch/runner/native"
)

// TestMain sees that no kernel outlives the tests.
func TestMain(m *testing.M) {
	status := m.Run()
	if left := kernels(); len(left) > 0 && status == 0 {
		os.Stderr.WriteString("left behind: " + strings.Join(left, ", ") + "\n")
		status = 1
	}
	os.Exit(status)
}

// kernels lists the processes that descend from this one and are kernels of
// this package's guests.
func kernels() []string {
	var out []string
	for _, pid := range descendants(os.Getpid()) {
		line, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		if bytes.HasPrefix(line, []byte(boxKernel)) {
			out = append(out, strconv.Itoa(pid))
		}
	}
	return out
}

func descendants(pid int) (out []int) {
	threads, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	for _, t := range threads {
		data, _ := os.ReadFile(t)
		for _, f := range strings.Fields(string(data)) {
			if child, err := strconv.Atoi(f); err == nil {
				out = append(append(out, child), descendants(child)...)
			}
		}
	}
	return out
}

// newEngine is one whose process 1 is the hutch-guest that make built.
func newEngine(t *testing.T) *Engine {
	t.Helper()
	return &Engine{Box: native.New(), Cache: t.TempDir(), Store: t.TempDir(), Guest: openGuest, Boot: 2 * time.Minute}
}

func openGuest() (io.ReadCloser, error) {
	f, err := os.Open("../../cmd/hutch/embedded/hutch-guest.gz")
	if err != nil {
		return nil, err
	}
	return gzip.NewReader(f)
}

// newSpec runs a command of busybox.
func newSpec(t *testing.T, command ...string) *runner.Spec {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(busybox)
	if err == nil {
		err = os.WriteFile(filepath.Join(root, "busybox"), data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &runner.Spec{
		Version: runner.SpecVersion, Command: append([]string{"/busybox"}, command...),
		Env: []string{"PATH=/"}, Workdir: "/", Hostname: "box", Init: true,
		Root:    runner.Root{Kind: runner.RootLayers, Lowers: []string{root}, Disk: 64 << 20, Inodes: 1024},
		Network: runner.NetworkNone, IDMap: runner.IDMapAuto,
		Landlock: runner.Landlock{Filesystem: runner.Prefer, Scopes: runner.Prefer},
	}
}

// badInit compiles a process 1 that does mode.
func badInit(t *testing.T, mode string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "init")
	out, err := exec.Command("gcc", "-static", "-O1", "-DMODE=\""+mode+"\"", "-o", name, "testdata/init.c").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return name
}

// A guest that fails is told apart from every other, with its last words.
func TestBadGuests(t *testing.T) {
	for _, tt := range []struct {
		mode, want string
	}{
		{"exit", "the guest panicked"},
		{"power-off", "the guest powered itself off"},
		{"reboot", "the guest powered itself off"},
		{"babble", "does not keep to the protocol"},
		{"eat", "the guest ran out of memory"},
		{"sleep", "the guest did not report within "},
	} {
		spec := newSpec(t, "true")
		t.Run(tt.mode, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t)
			e.Init = badInit(t, tt.mode)
			if tt.mode == "sleep" {
				e.Boot = 5 * time.Second
			}
			if tt.mode == "eat" {
				spec.Limits.MemoryBytes = 16 << 20
			}
			const words = "the words of a bad init"
			_, err := runner.NewSandbox(t.Context(), e, spec).Run()
			for tt.mode == "sleep" && !strings.Contains(runner.Hint(err), words) && e.Boot < time.Minute {
				// A busy machine had not yet come to the init.
				e.Boot *= 4
				_, err = runner.NewSandbox(t.Context(), e, spec).Run()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v, want %q", err, tt.want)
			}
			if hint := runner.Hint(err); !strings.Contains(hint, words) {
				t.Errorf("the console's last words are missing: %s", hint)
			}
		})
	}
}

// run starts spec and gives what became of it.
func run(t *testing.T, e *Engine, spec *runner.Spec, during func(*runner.Sandbox)) (runner.Result, string, error) {
	t.Helper()
	var out bytes.Buffer
	s := runner.NewSandbox(t.Context(), e, spec)
	s.Stdout, s.Stderr = &out, &out
	if err := s.Start(); err != nil {
		return runner.Result{}, "", err
	}
	if during != nil {
		during(s)
	}
	r, err := s.Wait()
	return r, out.String(), err
}

// A guest that stops answering is ended, and said to hang.
func TestHang(t *testing.T) {
	spec := newSpec(t, "sleep", "60")
	t.Parallel()
	e := newEngine(t)
	e.Answer = 3 * time.Second
	_, _, err := run(t, e, spec, func(s *runner.Sandbox) {
		for _, pid := range descendants(s.Process.PID()) {
			syscall.Kill(pid, syscall.SIGSTOP)
		}
	})
	if err == nil || !strings.Contains(err.Error(), "the guest hung") {
		t.Errorf("%v", err)
	}
}

// A kernel that dies under the application is not the application's end.
func TestKilledKernel(t *testing.T) {
	spec := newSpec(t, "sleep", "60")
	t.Parallel()
	_, _, err := run(t, newEngine(t), spec, func(s *runner.Sandbox) {
		syscall.Kill(descendants(s.Process.PID())[0], syscall.SIGKILL)
	})
	if err == nil || !strings.Contains(err.Error(), "was killed on the host, by SIGKILL") {
		t.Errorf("%v", err)
	}
}

// The end of the context is the end of a guest that is booting.
func TestCanceled(t *testing.T) {
	spec := newSpec(t, "true")
	t.Parallel()
	e := newEngine(t)
	e.Init = badInit(t, "sleep")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := runner.NewSandbox(ctx, e, spec).Run()
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

// A kernel that was taken over sees its box and nothing else of the host, and
// cannot write to what other guests share.
func TestKernelSeesItsBoxOnly(t *testing.T) {
	spec := newSpec(t, "true")
	t.Parallel()
	e := newEngine(t)
	e.Init = badInit(t, "look")
	image := func() string {
		layers, err := guest.PrepareLayers(t.Context(), "", spec.Root.Lowers, e.Store, maxDisks)
		if err != nil {
			t.Fatal(err)
		}
		defer layers.Close()
		data, err := os.ReadFile(layers.Paths()[0])
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", sha256.Sum256(data))
	}
	before := image()
	_, err := runner.NewSandbox(t.Context(), e, spec).Run()
	said := runner.Hint(err)
	for _, want := range []string{"mount: 0", " uml ", "passwd: -1", "outside: -1", "image: -1", "kernel: -1"} {
		if !strings.Contains(said, want) {
			t.Errorf("expected %q in: %s", want, said)
		}
	}
	if after := image(); after != before {
		t.Errorf("the image was written to: %s", said)
	}
}

// A bind shows the guest its directory, and a write reaches it.
func TestBind(t *testing.T) {
	share := t.TempDir()
	if err := os.WriteFile(filepath.Join(share, "canary"), []byte("from the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	spec := newSpec(t, "sh", "-c", "/busybox cat /data/canary; /busybox cp /data/canary /data/copy; echo no >/ro/x")
	spec.Mounts = []runner.Mount{
		{Type: runner.MountBind, Source: share, Target: "/data"},
		{Type: runner.MountBind, Source: share, Target: "/ro", ReadOnly: true},
	}
	t.Parallel()
	// Both streams come in one, in the order of neither.
	_, out, err := run(t, newEngine(t), spec, nil)
	if err != nil || !strings.Contains(out, "from the host") || !strings.Contains(out, "Read-only") {
		t.Errorf("%v\n%s", err, out)
	}
	if data, err := os.ReadFile(filepath.Join(share, "copy")); err != nil || string(data) != "from the host" {
		t.Errorf("%q, %v", data, err)
	}
}
