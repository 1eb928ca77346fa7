package kvm

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hutch/runner"
	"hutch/runner/native"
)

// badKernel assembles a program that QEMU boots, with the configuration of a
// small kernel beside it.
func badKernel(t *testing.T, mode string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "kernel")
	out, err := exec.Command("gcc", "-nostdlib", "-static", "-Wl,-Ttext=0x1000000", "-Wl,-e,start", "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments",
		"-D"+mode, "-o", name, "testdata/kernel.S").CombinedOutput()
	if err == nil {
		err = os.WriteFile(name+".config", []byte(fullConfig("CONFIG_VIRTIO_MMIO=m", "CONFIG_VIRTIO_MMIO=y\nCONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y")), 0o644)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return name
}

// newEngine emulates kernel.
func newEngine(t *testing.T, kernel string) *Engine {
	return &Engine{
		Box: native.New(), Accel: AccelTCG, Kernel: kernel, Cache: t.TempDir(), Store: t.TempDir(), Boot: 2 * time.Second,
		Guest: func() (io.ReadCloser, error) {
			f, err := os.Open("../../cmd/hutch/embedded/hutch-guest.gz")
			if err != nil {
				return nil, err
			}
			return gzip.NewReader(f)
		},
	}
}

func newSpec(t *testing.T) *runner.Spec {
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	return &runner.Spec{
		Version: runner.SpecVersion, Command: []string{"/true"}, Workdir: "/", Hostname: "box", Init: true,
		Root:    runner.Root{Kind: runner.RootLayers, Lowers: []string{root}, Disk: 64 << 20, Inodes: 1024},
		Network: runner.NetworkNone, IDMap: runner.IDMapAuto,
		Landlock: runner.Landlock{Filesystem: runner.Prefer, Scopes: runner.Prefer},
	}
}

// A guest that never reports is told from one that ends, with its last words,
// and QEMU with it when the time is over. On a busy machine QEMU may need more
// of it before the guest has said or done anything.
func TestBadGuests(t *testing.T) {
	for mode, want := range map[string][2]string{
		"HALT":  {"the guest did not report within ", "its console said nothing"},
		"SPEAK": {"the guest did not report within ", "the words of no kernel"},
		"RESET": {"the guest powered itself off before it reported", "--kernel FILE"},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t, badKernel(t, mode))
			if mode == "RESET" {
				e.Boot = time.Minute
			}
			began := time.Now()
			_, err := runner.NewSandbox(t.Context(), e, newSpec(t)).Run()
			for mode == "SPEAK" && !strings.Contains(runner.Hint(err), want[1]) && e.Boot < 30*time.Second {
				e.Boot, began = 4*e.Boot, time.Now()
				_, err = runner.NewSandbox(t.Context(), e, newSpec(t)).Run()
			}
			if err == nil || !strings.Contains(err.Error(), want[0]) || !strings.Contains(runner.Hint(err), want[1]) {
				t.Errorf("%v, hint %q; want %q", err, runner.Hint(err), want)
			}
			if took := time.Since(began); took > e.Boot+20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// The end of the context is the end of a guest that never reports.
func TestCanceled(t *testing.T) {
	t.Parallel()
	e := newEngine(t, badKernel(t, "HALT"))
	e.Boot = time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := runner.NewSandbox(ctx, e, newSpec(t)).Run(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// What calls itself QEMU may be too old, or anything.
func TestBadQEMU(t *testing.T) {
	for _, tt := range []struct{ name, script, want, hint string }{
		{"old", `echo "QEMU emulator version 4.2.1 (Debian 1:4.2-3)"`, "QEMU 4.2 is too old", "install QEMU 5.2 or newer"},
		{"nonsense", "echo hello", `it says no version: "hello\n"`, "apt-get install --reinstall qemu-system-x86"},
		{"broken", "echo no libfoo.so >&2; exit 127", "--version: exit status 127: no libfoo.so", "apt-get install --reinstall qemu-system-x86"},
		{"missing", "", "qemu-system-x86_64 is not in PATH", "as root: apt-get install qemu-system-x86"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.script != "" {
				if err := os.WriteFile(filepath.Join(dir, qemuName), []byte("#!/bin/sh\n"+tt.script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", dir)
			cache := t.TempDir()
			_, err := findQEMU(cache)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(runner.Hint(err), tt.hint) {
				t.Errorf("%v, hint %q; want %q, %q", err, runner.Hint(err), tt.want, tt.hint)
			}
			if kept, _ := os.ReadDir(cache); len(kept) != 0 {
				t.Errorf("kept of it: %v", kept)
			}
		})
	}
}
