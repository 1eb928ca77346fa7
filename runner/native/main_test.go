package native

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hutch/profiles"
	"hutch/rootfs"
	"hutch/runner"
)

// The application of these tests is testdata/probe/probe.c, a static program
// that attacks on request. Some tests need a hutch of their own to kill or to
// trace: that is this binary again, in the role that roleVar names.
const roleVar = "NATIVE_TEST_ROLE"

// probeRoot is a root file system that holds the prober and nothing else.
var probeRoot string

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVar); role != "" {
		os.Exit(playRole(role))
	}
	if os.Geteuid() == 0 && os.Getenv(privateVar) == "" {
		os.Exit(inPrivate())
	}
	os.Exit(testMain(m))
}

// privateVar says that the tests run in a mount namespace of their own.
const privateVar = "NATIVE_TEST_PRIVATE"

// inPrivate runs the tests of root again where no other test mounts anything,
// so that a mount that a box leaves behind is seen. Its mounts are shared, as
// they are on most machines: what a box does not make private shows.
func inPrivate() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), privateVar+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // which Pdeathsig is about
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func testMain(m *testing.M) int {
	if os.Getenv(privateVar) != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	dir, err := os.MkdirTemp("", "native-probe-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := makeProbeRoot(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	probeRoot = dir
	return m.Run()
}

// makeProbeRoot fills dir. Ids of the box must be able to reach it.
func makeProbeRoot(dir string) error {
	for _, d := range []string{"", "bin", "etc", "work"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
		if err := os.Chmod(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	passwd := "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:web:/srv/web:/bin/sh\n"
	if err := os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte(passwd), 0o644); err != nil {
		return err
	}
	cc := "gcc"
	if _, err := exec.LookPath(cc); err != nil {
		cc = "cc"
	}
	out, err := exec.Command(cc, "-static", "-O1", "-pthread", "-o", filepath.Join(dir, "bin/probe"), "testdata/probe/probe.c").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the prober: %w: %s", err, out)
	}
	return nil
}

// tempDir is t.TempDir, but every id of a box may pass through it.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "native-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newImage is a root of its own, with the prober.
func newImage(t testing.TB) string {
	t.Helper()
	dir := tempDir(t)
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(probeRoot, "bin/probe"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/probe"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// specOf resolves a run of the prober in root under the default profile.
func specOf(root string, o runner.Override, args ...string) (*runner.Spec, error) {
	p, err := profiles.Load("default")
	if err != nil {
		return nil, err
	}
	o.Command = append([]string{"/bin/probe"}, args...)
	o.Env = append([]string{"HUTCH_PROBE=inside"}, o.Env...)
	s, err := runner.Resolve(p, &rootfs.Root{Kind: rootfs.KindDir, Lowers: []string{root}}, o)
	if err != nil {
		return nil, err
	}
	f, err := p.Filter("")
	if err != nil {
		return nil, err
	}
	s.Seccomp = runner.Seccomp{Name: p.Name, Digest: f.Digest(), Filter: f}
	return s, nil
}

func newSpec(t testing.TB, args ...string) *runner.Spec { return newSpecIn(t, probeRoot, args...) }

func newSpecIn(t testing.TB, root string, args ...string) *runner.Spec {
	t.Helper()
	s, err := specOf(root, runner.Override{}, args...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// An outcome is what a finished box left.
type outcome struct {
	out    string
	errs   string
	result runner.Result
}

func (o outcome) lines() []string { return strings.Fields(o.out) }

// tryBox runs s to its end.
func tryBox(s *runner.Spec, input string) (outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	box := runner.NewSandbox(ctx, New(), s)
	box.Stdin, box.Stdout, box.Stderr = strings.NewReader(input), &out, &errs
	r, err := box.Run()
	return outcome{out.String(), errs.String(), r}, err
}

// runBox runs s, which must exit with 0.
func runBox(t testing.TB, s *runner.Spec, input string) outcome {
	t.Helper()
	o, err := tryBox(s, input)
	if err != nil {
		t.Fatalf("%v (%s)", err, runner.Hint(err))
	}
	if o.result.ExitCode == nil || *o.result.ExitCode != 0 {
		t.Fatalf("box ended by %s %v %s: %s%s", o.result.Cause, o.result.ExitCode, o.result.Signal, o.out, o.errs)
	}
	return o
}

// A refusal of the filter answers with its errno and this on top, so that it
// can be told from the kernel's own refusals, which are many in a box.
const mark = 1000

// markFilter rewrites the errnos that a filter returns, seccomp(2): code 0x06
// is BPF_RET with a constant.
func markFilter(filter []byte) []byte {
	out := bytes.Clone(filter)
	for i := 0; i+8 <= len(out); i += 8 {
		k := binary.NativeEndian.Uint32(out[i+4:])
		if binary.NativeEndian.Uint16(out[i:]) == 0x06 && k&0xffff0000 == 0x00050000 {
			binary.NativeEndian.PutUint32(out[i+4:], k+mark)
		}
	}
	return out
}

func marked(s *runner.Spec) *runner.Spec {
	s.Seccomp.Filter = markFilter(s.Seccomp.Filter)
	return s
}

func unfiltered(s *runner.Spec) *runner.Spec {
	s.Seccomp = runner.Seccomp{}
	return s
}

// outside runs the prober without any box, for the tests that show a bite.
func outside(t testing.TB, input string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(probeRoot, "bin/probe"), args...)
	cmd.Env = []string{"HUTCH_PROBE=outside"}
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("probe %v outside: %v: %s", args, err, out)
	}
	return string(out)
}

// again is this binary in another role.
func again(role string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), roleVar+"="+role, "NATIVE_TEST_ROOT="+probeRoot)
	return cmd
}

// playRole is hutch, for a test that kills or traces it.
func playRole(role string) int {
	fail := func(err error) int {
		fmt.Fprintf(os.Stderr, "%v\n", err)
		return runner.ExitStatus(err)
	}
	args := os.Args[1:]
	o := runner.Override{}
	if role == "single" {
		o.IDMap = runner.IDMapSingle
	}
	s, err := specOf(os.Getenv("NATIVE_TEST_ROOT"), o, args...)
	if err != nil {
		return fail(err)
	}
	if u := os.Getenv("NATIVE_TEST_USER"); u != "" {
		s.User = u
	}
	s.Init = role != "no-init"
	if role == "no-landlock" {
		s.Landlock.Filesystem = runner.Omit
	}
	if os.Getenv("NATIVE_TEST_LIMITED") != "" {
		s.Limits.Processes = 32
	}
	for {
		box := runner.NewSandbox(context.Background(), New(), s)
		box.Stdout, box.Stderr = os.Stdout, os.Stderr
		if role == "repeat" {
			fmt.Fprintln(os.Stderr, "starting")
		}
		r, err := box.Run()
		if err != nil {
			return fail(err)
		}
		if role != "repeat" {
			return r.ExitStatus()
		}
	}
}

// processes lists who has mark among its arguments, zombies not counted: they
// have none.
func processes(mark string) []string {
	var out []string
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, n := range names {
		data, err := os.ReadFile(n)
		if err == nil && bytes.Contains(data, []byte("\x00"+mark+"\x00")) {
			out = append(out, n+" "+string(bytes.ReplaceAll(data, []byte{0}, []byte{' '})))
		}
	}
	return out
}

// noProcesses waits until nobody with mark is left.
func noProcesses(t testing.TB, mark string) {
	t.Helper()
	var left []string
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if left = processes(mark); len(left) == 0 {
			return
		}
	}
	t.Errorf("left behind: %q", left)
}

// A trace is what a start could leave in this process.
type trace struct {
	fds    int
	mounts string
}

func takeTrace(t testing.TB) trace {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv(privateVar) == "" {
		return trace{len(list), ""} // others mount here too, and this user cannot
	}
	return trace{len(list), string(mounts)}
}

// check looks for leaks since the trace was taken.
func (before trace) check(t testing.TB, what string) {
	t.Helper()
	after := takeTrace(t)
	if after.fds != before.fds {
		t.Errorf("%s: %d descriptors, before %d", what, after.fds, before.fds)
	}
	if after.mounts != before.mounts {
		t.Errorf("%s: the mounts have changed:\n%s", what, after.mounts)
	}
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("%s: a child is left: %d %v", what, pid, err)
	}
}

// asError is err as hutch's own.
func asError(t testing.TB, err error) *runner.Error {
	t.Helper()
	var e *runner.Error
	if !errors.As(err, &e) {
		t.Fatalf("not a *runner.Error: %#v", err)
	}
	return e
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t testing.TB, name string) string {
	t.Helper()
	if err := os.MkdirAll(name, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

func symlink(t testing.TB, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

func isRoot() bool { return os.Geteuid() == 0 }

func errno(n string) syscall.Errno {
	var e int
	fmt.Sscan(n, &e)
	return syscall.Errno(e)
}
