package native

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/plan"
)

func sum(t *testing.T, name string) [32]byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(data)
}

// Nothing executes hutch's own binary in the box, where it could then be
// opened for writing (CVE-2019-5736).
func TestOwnBinaryCannotBeExecuted(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	before := sum(t, self)
	image := newImage(t)
	script := filepath.Join(image, "script")
	write(t, script, "#!/proc/self/exe\n")
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	symlink(t, "/proc/self/exe", filepath.Join(image, "link"))
	for _, command := range []string{"/script", "/link", "/proc/self/exe", "/proc/self/task/self/exe", "/proc/2/exe", "/proc/1/exe"} {
		for _, init := range []bool{true, false} {
			s := newSpecIn(t, image)
			s.Command, s.Init = []string{command}, init
			if isRoot() {
				// The owner is nobody inside. Landlock is not wanted for that, but can be
				// had.
				if _, err := tryBox(s, ""); err == nil && sum(t, self) != before {
					t.Errorf("%s, init %v: the binary has changed", command, init)
				}
				s.Landlock.Filesystem = runner.Require
			}
			_, err := tryBox(s, "")
			e := asError(t, err)
			if e.Stage != runner.StageExec || e.Exit != runner.ExitNotExecutable && e.Exit != runner.ExitNotFound {
				t.Errorf("%s, init %v: %s: %v", command, init, e.Stage, e)
			}
		}
	}
	if sum(t, self) != before {
		t.Error("the binary has changed")
	}
}

// It is Landlock that refuses: with it the last call is denied; without it the
// kernel begins to load the binary.
func TestOwnBinaryBites(t *testing.T) {
	image := newImage(t)
	write(t, filepath.Join(image, "script"), "#!/proc/self/exe\n")
	if err := os.Chmod(filepath.Join(image, "script"), 0o755); err != nil {
		t.Fatal(err)
	}
	reached := func(change func(*plan.Plan)) unix.Errno {
		s := newSpecIn(t, image)
		s.Command = []string{"/script"}
		s.Landlock.Filesystem = runner.Require
		b, err := startChanged(s, change, nil)
		if err == nil {
			b.Wait()
			return 0
		}
		return unix.Errno(b.enc.shared.errno)
	}
	if e := reached(nil); e != unix.EACCES {
		t.Errorf("with Landlock: %v", e)
	}
	without := func(p *plan.Plan) {
		p.Steps = drop(p.Steps, plan.LandlockCreate, plan.LandlockAllow, plan.LandlockSelf)
	}
	if e := reached(without); e == unix.EACCES {
		t.Errorf("without Landlock: %v", e)
	}
}

// Without Landlock hutch refuses to start where the binary's owner is mapped.
func TestOwnBinaryWithoutLandlock(t *testing.T) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	name := filepath.Join(tempDir(t), "hutch")
	copied, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(copied, self); err != nil {
		t.Fatal(err)
	}
	if err := copied.Close(); err != nil {
		t.Fatal(err)
	}
	run := func(role string) (string, error) {
		cmd := exec.Command(name, "exit", "0")
		cmd.Env = append(os.Environ(), roleVar+"="+role, "NATIVE_TEST_ROOT="+probeRoot)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	own := func(id int) {
		if err := os.Chown(name, id, id); err != nil {
			t.Fatal(err)
		}
	}
	if isRoot() {
		// Root's own binary is nobody's inside; one of a mapped id is not.
		if out, err := run("no-landlock"); err != nil {
			t.Errorf("a binary of root: %v: %s", err, out)
		}
		m, err := mapIDs(newSpec(t))
		if err != nil {
			t.Fatal(err)
		}
		own(int(m.uid[0].Outside) + 5)
	}
	if out, err := run("no-landlock"); err == nil || !strings.Contains(out, "could be overwritten") {
		t.Errorf("a binary of a mapped id: %v: %s", err, out)
	}
	if out, err := run("run"); err != nil {
		t.Errorf("with Landlock: %v: %s", err, out)
	}
}

// Descriptors that the caller left open stay out, and neither the working
// directory nor the command can be reached through one (CVE-2024-21626).
func TestDescriptorsOfTheCaller(t *testing.T) {
	var leaked []string
	for _, dir := range []string{"/", "/etc", "/proc", tempDir(t)} {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0) // on purpose without O_CLOEXEC
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD, 200)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(high)
		leaked = append(leaked, fmt.Sprint(fd), fmt.Sprint(high))
	}
	for _, init := range []bool{true, false} {
		s := newSpec(t, "fds")
		s.Init = init
		if got := runBox(t, s, "").out; got != "0\n1\n2\n" {
			t.Errorf("init %v: the application has %q", init, got)
		}
	}
	seen := strings.Fields(outside(t, "", "fds"))
	for _, fd := range leaked {
		if !contains(seen, fd) {
			t.Errorf("it does not bite: descriptor %s is not passed on: %v", fd, seen)
		}
	}
	var dirs []string
	for n := range 64 {
		dirs = append(dirs, fmt.Sprintf("/proc/self/fd/%d", n))
	}
	for _, fd := range leaked {
		dirs = append(dirs, "/proc/self/fd/"+fd, "/proc/1/fd/"+fd, "/proc/2/fd/"+fd)
	}
	for _, dir := range append(dirs, "/proc/self/cwd", "/proc/self/root", "/proc/1/cwd", "/proc/1/root", "/proc/self/task/1/cwd", "/proc/thread-self/root", "/dev/fd/5") {
		s := newSpec(t, "env")
		s.Workdir = dir
		_, err := tryBox(s, "")
		if e := asError(t, err); e.Stage != runner.StageStart || !strings.Contains(e.Error(), "working directory") {
			t.Errorf("workdir %s: %v", dir, e)
		}
	}
	for _, dir := range dirs {
		s := newSpec(t)
		s.Command = []string{dir + "/bin/sh"}
		_, err := tryBox(s, "")
		if e := asError(t, err); e.Stage != runner.StageExec {
			t.Errorf("%v: %s: %v", s.Command, e.Stage, e)
		}
	}
	s := newSpec(t, "env")
	s.Workdir = "/proc/self/cwd/.."
	if _, err := tryBox(s, ""); err == nil {
		t.Error("a working directory with .. was taken")
	}
}

// Without RESOLVE_NO_MAGICLINKS and the closing of descriptors, the same
// working directory is the host's.
func TestWorkdirBites(t *testing.T) {
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	link := fmt.Sprintf("/proc/self/fd/%d", fd)
	dir, err := unix.Openat2(unix.AT_FDCWD, link, &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC})
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(dir)
	_, err = unix.Openat2(unix.AT_FDCWD, link, &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS})
	if !errors.Is(err, unix.ELOOP) {
		t.Errorf("magic link: %v", err)
	}
}

// Root inside can neither trace nor read process 1, nor reach its program.
func TestReaperIsOutOfReach(t *testing.T) {
	for name, s := range map[string]*runner.Spec{"filter": newSpec(t, "overwrite"), "no filter": unfiltered(newSpec(t, "overwrite"))} {
		for line := range strings.Lines(runBox(t, s, "").out) {
			path, n, _ := strings.Cut(strings.TrimSpace(line), " ")
			if strings.HasPrefix(path, "/proc/1/") && errno(n) != unix.EACCES && errno(n) != unix.EPERM {
				t.Errorf("%s: %s: %v", name, path, errno(n))
			}
			if path == "/proc/2/mem" && n != "0" {
				t.Errorf("%s: it does not bite: %s: %v", name, path, errno(n))
			}
		}
	}
	input := fmt.Sprintf("%d %d 1 0 0\n%d %d 1 0 0\n", unix.SYS_PTRACE, unix.PTRACE_ATTACH, unix.SYS_PTRACE, unix.PTRACE_SEIZE)
	for _, n := range runBox(t, unfiltered(newSpec(t, "calls")), input).lines() {
		if errno(n) != unix.EPERM {
			t.Errorf("ptrace of process 1: %v", errno(n))
		}
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
