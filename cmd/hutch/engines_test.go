package main

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"hutch/runner/cgroup"
)

// The engines that the same scripts run on, with their options. To add one: a
// line here.
var testEngines = [...]string{"native", "uml", "kvm --accel tcg"}

// TestEngines runs testdata/engines on every engine: the same script, whatever
// runs it. The program is the one that make built, since a guest runs it too.
// Beside the words of TestScript, a script has
//
//	digest FILE    set DIGEST to the SHA-256 of the file
//
// the program run, which is hutch run --engine $ENGINE, whose name is $NAME, and
// the conditions [memory], memory can be limited here, and [root] and [range] as
// there. The file noise holds some megabytes that do not repeat.
func TestEngines(t *testing.T) {
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, engine := range testEngines {
		name, _, _ := strings.Cut(engine, " ")
		t.Run(name, func(t *testing.T) {
			if name == "kvm" {
				needsKernel(t)
			}
			t.Parallel()
			testscript.Run(t, testscript.Params{
				Dir: "testdata/engines",
				Setup: func(env *testscript.Env) error {
					if err := setup(env); err != nil {
						return err
					}
					env.Setenv("ENGINE", engine)
					env.Setenv("NAME", name)
					env.Setenv("HUTCH_KVM_KERNEL", os.Getenv("HUTCH_KVM_KERNEL"))
					env.Setenv("PATH", filepath.Join(env.WorkDir, "bin")+":"+bin+":"+env.Getenv("PATH"))
					if err := os.WriteFile(filepath.Join(env.WorkDir, "noise"), noise(3<<20), 0o644); err != nil {
						return err
					}
					if err := os.MkdirAll(filepath.Join(env.WorkDir, "bin"), 0o755); err != nil {
						return err
					}
					return os.WriteFile(filepath.Join(env.WorkDir, "bin/run"), []byte("#!/bin/sh\nexec hutch run --engine $ENGINE \"$@\"\n"), 0o755)
				},
				RequireExplicitExec: true,
				ContinueOnError:     true,
				Condition: func(name string) (bool, error) {
					switch name {
					case "memory":
						return engine != "native" || canLimitMemory(), nil
					case "root":
						return os.Geteuid() == 0, nil
					case "range":
						return manyIDs(), nil
					}
					return false, fmt.Errorf("no such condition: %s", name)
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"status": status, "digest": digest,
				},
			})
		})
	}
}

// needsKernel skips where there is no kernel for a full guest.
func needsKernel(t *testing.T) {
	t.Helper()
	if os.Getenv("HUTCH_KVM_KERNEL") != "" {
		return
	}
	for _, pattern := range kvmKernels() {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return
		}
	}
	t.Skip("no kernel for a full guest: make guest-kernel, or make guest-kernels")
}

// noise is n bytes, always the same.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

func digest(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv("DIGEST", fmt.Sprintf("%x", sha256.Sum256([]byte(ts.ReadFile(args[0])))))
}

// canLimitMemory says whether the native engine can, here.
func canLimitMemory() bool {
	g, err := cgroup.New("", cgroup.Limits{Memory: 64 << 20, Swap: -1}, cgroup.Options{})
	if err != nil {
		return false
	}
	g.Remove()
	return true
}

// Every engine is tried.
func TestEveryEngineIsTested(t *testing.T) {
	for i, name := range engineNames {
		if i >= len(testEngines) || strings.Fields(testEngines[i])[0] != name {
			t.Errorf("the scripts run on %q; there are %q", testEngines, engineNames)
		}
	}
}

// A guest dies with hutch, whenever that is killed, or by Ctrl-C, twice where
// the application does not run yet: nothing of it is left.
func TestGuestDiesWithHutch(t *testing.T) {
	t.Parallel()
	root := smallRoot(t)
	for _, engine := range testEngines[1:] {
		name, _, _ := strings.Cut(engine, " ")
		for _, sig := range []os.Signal{os.Kill, os.Interrupt} {
			// Zero is when the application runs.
			for _, after := range []time.Duration{50 * time.Millisecond, 500 * time.Millisecond, 0} {
				t.Run(fmt.Sprintf("%s/%v/%v", name, sig, after), func(t *testing.T) {
					if name == "kvm" {
						needsKernel(t)
					}
					t.Parallel()
					endWith(t, sig, after, append(append([]string{"run", "--engine"}, strings.Fields(engine)...), root, "sh", "-c", "echo ready; sleep 100"))
				})
			}
		}
	}
}

// endWith runs hutch, signals it, and sees that its descendants are gone soon.
func endWith(t *testing.T, sig os.Signal, after time.Duration, args []string) {
	t.Helper()
	hutch, err := filepath.Abs("../../bin/hutch")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(hutch, args...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if after > 0 {
		time.Sleep(after)
	} else if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Errorf("before the end: %v", err)
	}
	guests := guestsOf(cmd.Process.Pid)
	if after == 0 && len(guests) == 0 {
		t.Error("no process of the guest was seen")
	}
	cmd.Process.Signal(sig)
	if sig == os.Interrupt && after > 0 {
		time.Sleep(50 * time.Millisecond)
		cmd.Process.Signal(sig)
	}
	hangs := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	cmd.Wait()
	if !hangs.Stop() {
		t.Errorf("signalled after %v: hutch did not end", after)
	}
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := slices.DeleteFunc(slices.Clone(guests), func(pid int) bool { return ended(pid) })
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Errorf("signalled after %v: left behind: %v", after, left)
			return
		}
	}
}

// guestsOf lists the descendants of a process.
func guestsOf(pid int) (out []int) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range threads {
		data, _ := os.ReadFile(t)
		for _, f := range strings.Fields(string(data)) {
			if child, err := strconv.Atoi(f); err == nil {
				out = append(append(out, child), guestsOf(child)...)
			}
		}
	}
	return out
}

// ended says that a process is gone, or waits to be reaped.
func ended(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := cutLast(string(data), ") ")
	return err != nil || strings.HasPrefix(state, "Z")
}

// The terminal is the same on every engine: its own, with its size and the
// changes of it, with Ctrl-C, and with Ctrl-Z as a job of the shell outside.
func TestTerminalOfEngines(t *testing.T) {
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	root := smallRoot(t)
	for _, engine := range testEngines {
		name, _, _ := strings.Cut(engine, " ")
		t.Run(name, func(t *testing.T) {
			if name == "kvm" {
				needsKernel(t)
			}
			t.Parallel()
			p := shell(t)
			p.types(bin + "/hutch run --engine " + engine + " " + root + ` sh -c 'tty; stty size; trap "stty size" WINCH; trap "echo went on" CONT; trap "echo caught; exit 7" INT; echo re""ady; while :; do read x && echo "got $x"; done'; echo status $?` + "\r")
			p.sees(`/dev/pts/0\r\n30 100\r\nready`)
			p.types("one\r")
			p.sees(`got one`)
			p.resize(41, 123)
			p.sees(`41 123`)
			p.types("\x1a")
			p.sees(`Stopped.*outer> `)
			p.types("fg\r")
			p.sees(`went on`)
			p.types("two\r")
			p.sees(`got two`)
			p.types("\x03")
			p.sees(`caught`)
			p.types("exit\r")
		})
	}
}
