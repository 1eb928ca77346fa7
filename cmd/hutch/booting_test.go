package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBootIsInterrupted: the first signal ends a guest that is booting, and the
// result says so.
func TestBootIsInterrupted(t *testing.T) {
	t.Parallel()
	hutch, err := filepath.Abs("../../bin/hutch")
	if err != nil {
		t.Fatal(err)
	}
	root := smallRoot(t)
	for _, engine := range testEngines[1:] {
		for _, sig := range []unix.Signal{unix.SIGINT, unix.SIGTERM} {
			name, _, _ := strings.Cut(engine, " ")
			t.Run(name+"/"+unix.SignalName(sig), func(t *testing.T) {
				if name == "kvm" {
					needsKernel(t)
				}
				t.Parallel()
				args := append([]string{"run", "--result", filepath.Join(t.TempDir(), "result"), "--engine"}, strings.Fields(engine)...)
				if name == "uml" { // which takes its time
					kernel, err := exec.LookPath("linux.uml")
					if err != nil {
						t.Fatal(err)
					}
					args = append(args, "--kernel", kernel)
				}
				for range 5 {
					if interruptBoot(t, sig, hutch, append(args, root, "sh", "-c", "trap '' INT TERM; echo ready; sleep 60")) {
						return
					}
				}
				t.Error("the application was always there before the signal")
			})
		}
	}
}

// boots says that a process is a kernel or an emulator.
func boots(pid int) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && (bytes.HasPrefix(line, []byte("/uml/linux")) || bytes.Contains(line, []byte("qemu-system")) && bytes.Contains(line, []byte("-kernel")))
}

// interruptBoot says whether the signal was there before the application.
func interruptBoot(t *testing.T, sig unix.Signal, hutch string, args []string) bool {
	t.Helper()
	cmd := exec.Command(hutch, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir()) // with nothing built yet, which takes time too
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var guests []int
	for end := time.Now().Add(30 * time.Second); !slices.ContainsFunc(guests, boots); time.Sleep(time.Millisecond) {
		if guests = guestsOf(cmd.Process.Pid); time.Now().After(end) {
			t.Fatal("no process of the guest was seen")
		}
	}
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	hangs := time.AfterFunc(50*time.Second, func() { cmd.Process.Kill() })
	_ = cmd.Wait()
	if !hangs.Stop() {
		if out.Len() > 0 {
			return false
		}
		t.Fatalf("%v: the boot went on", sig)
	}
	if out.Len() > 0 {
		return false
	}
	if code := cmd.ProcessState.ExitCode(); code != 128+int(sig) || errs.Len() > 0 {
		t.Errorf("%v: status %d: %s", sig, code, &errs)
	}
	if result, err := os.ReadFile(args[2]); err != nil || !bytes.Contains(result, []byte(`"message":"interrupted before the application started"`)) {
		t.Errorf("%v: the result is %s %v", sig, result, err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := false
		for _, pid := range guests {
			left = left || !ended(pid)
		}
		if !left {
			return true
		}
		if time.Now().After(end) {
			t.Fatalf("%v: left behind of %v", sig, guests)
		}
	}
}

// TestCtrlCWhileBooting: on a terminal too, Ctrl-C is hutch's until there is an
// application, and the terminal is given back.
func TestCtrlCWhileBooting(t *testing.T) {
	t.Parallel()
	needsKernel(t)
	hutch, err := filepath.Abs("../../bin/hutch")
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		p := sit(t, hutch, "run", "--engine", "kvm", "--accel", "tcg", smallRoot(t), "sh", "-c", "trap '' INT; echo ready; read x; exit 9")
		for end := time.Now().Add(30 * time.Second); !slices.ContainsFunc(guestsOf(p.cmd.Process.Pid), boots); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("no process of the guest was seen")
			}
		}
		p.types("\x03")
		p.types("\r")
		if status := p.ends(); status == 130 {
			p.waitModes(p.found)
			return
		} else if status != 9 { // which is the application's, that was there before
			t.Fatalf("status %d", status)
		}
	}
	t.Error("the application was always there before Ctrl-C")
}
