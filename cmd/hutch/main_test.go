package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// TestMain has the test binary stand in for hutch, under that name in PATH:
// the scripts and tests run it as a program of its own.
func TestMain(m *testing.M) {
	if os.Getenv(guestVar) != "" {
		// There hutch has been installed, as this binary under that name.
		if filepath.Base(os.Args[0]) == "hutch" {
			main()
		}
		os.Exit(survivors{m}.Run())
	}
	testscript.Main(survivors{m}, map[string]func(){"hutch": main, "goserver": goServer})
}

// survivors runs the tests and fails when a process of any run outlived it.
type survivors struct{ m *testing.M }

func (s survivors) Run() int {
	if os.Geteuid() == 0 {
		if os.Getenv(privateVar) == "" {
			return inPrivate()
		}
		if err := coverStore(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	hearSignals()
	manyThreads() // this binary begins as hutch does
	// Whatever loses its parent becomes ours, so that nothing gets out of sight.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "become a subreaper:", err)
		return 1
	}
	status := s.m.Run()
	if dir, err := testData(); err == nil {
		os.RemoveAll(dir)
	}
	if left := leftChildren(time.Minute); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "processes outlived their run: %s\n", strings.Join(left, ", "))
		return max(status, 1)
	}
	return status
}

// hearSignals has hutch start with the signals' default actions, even where
// whoever started the tests had some ignored, as shells do for background
// jobs: hutch would respect that. A caught signal has its default after execve.
func hearSignals() {
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// leftChildren names the children that are still there after a while. It must
// be called when no test runs, since it reaps them all.
func leftChildren(patience time.Duration) []string {
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		if err == unix.ECHILD {
			return nil
		}
		if pid <= 0 && time.Now().After(end) {
			return children()
		}
	}
}

// children names the living children of this process.
func children() (names []string) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		data, err := os.ReadFile(f)
		if err != nil {
			continue // it ended
		}
		// pid (comm) state ppid …, proc(5); comm may hold anything
		head, tail, _ := cutLast(string(data), ") ")
		fields := strings.Fields(tail)
		if len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			names = append(names, head+")")
		}
	}
	return names
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// privateVar says that the tests run in a mount namespace of their own.
const privateVar = "HUTCH_TEST_PRIVATE"

// inPrivate runs the tests of root again where nobody else mounts anything, so
// that a mount that a run leaves behind is seen, and where root's store and
// cache are the tests' own.
func inPrivate() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), privateVar+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // which Pdeathsig is about
	err := cmd.Run()
	var exited *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exited) && exited.Exited():
		return exited.ExitCode()
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// coverStore mounts an empty file system over each place of root's. Kernels
// that were built stay in sight.
func coverStore() error {
	const kernels = "/var/cache/hutch/kernels"
	built, noKernels := unix.Open(kernels, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for _, dir := range []string{"/var/lib/hutch", "/var/cache/hutch"} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700"); err != nil {
			return fmt.Errorf("mount on %s: %w", dir, err)
		}
	}
	if noKernels != nil {
		return nil
	}
	defer unix.Close(built)
	if err := os.Mkdir(kernels, 0o755); err != nil {
		return err
	}
	return unix.Mount(fmt.Sprintf("/proc/self/fd/%d", built), kernels, "", unix.MS_BIND, "")
}
