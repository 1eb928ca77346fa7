package profiles

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hutch/seccomp"
)

// The tests below run this test's binary again, under a filter that cannot be
// taken off: TestMain plays the role that roleVariable names.
const (
	roleVariable    = "PROFILES_TEST_ROLE"
	profileVariable = "PROFILES_TEST_PROFILE" // no filter when empty
)

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		os.Exit(m.Run())
	}
	runtime.LockOSThread()
	int80Getpid := func() int { return -1 }
	if role == "int80" {
		int80Getpid = makeInt80Getpid() // before strict forbids new machine code
	}
	if err := enter(os.Getenv(profileVariable)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	switch role {
	case "calls":
		makeCalls()
	case "int80":
		fmt.Println(int80Getpid() == os.Getpid())
	case "x32":
		_, _, e := unix.RawSyscall(unix.SYS_GETPID|0x40000000, 0, 0, 0)
		fmt.Println(e)
	case "exec":
		err := syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
		fmt.Fprintln(os.Stderr, "exec:", err)
		os.Exit(98)
	}
	os.Exit(0)
}

// enter installs a built-in filter and makes sure that the kernel has it, for
// what follows would do harm without.
func enter(profile string) error {
	if profile == "" {
		return nil
	}
	f, ok := BuiltinFilter(profile)
	if !ok {
		return fmt.Errorf("no filter %q", profile)
	}
	if err := install(f); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return err
	}
	if !bytes.Contains(status, []byte("\nSeccomp:\t2\n")) {
		return fmt.Errorf("no filter is in place")
	}
	return nil
}

// makeCalls makes the calls that standard input lists, "NR ARG0 ARG1 ARG2 ARG3"
// a line, and prints the errno of each.
func makeCalls() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var nr, a, b, c, d uintptr
		if _, err := fmt.Sscan(in.Text(), &nr, &a, &b, &c, &d); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(97)
		}
		_, _, e := unix.RawSyscall6(nr, a, b, c, d, 0, 0)
		fmt.Println(int(e))
	}
}

func again(t *testing.T, role, profile string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, profileVariable+"="+profile)
	return cmd
}

// Every call that the table says a profile refuses is refused by the kernel,
// with the same errno; and the numbers behind the table.
func TestKernelAgreesOnRefusals(t *testing.T) {
	for _, name := range BuiltinNames() {
		f, _ := BuiltinFilter(name)
		list := probes()
		for nr := range seccomp.Last(seccomp.Native()) + 3 {
			list = append(list, probe{text: fmt.Sprint(nr), call: seccomp.Name(seccomp.Native(), nr)})
		}
		var in bytes.Buffer
		var asked []probe
		var want []seccomp.Action
		for i, p := range list {
			nr, ok := seccomp.Number(seccomp.Native(), p.call)
			if p.call == "" {
				nr, ok = mustAtoi(t, list[i].text), true
			}
			action := seccomp.Run(f, seccomp.Data{Nr: int32(nr), Arch: seccomp.Native(), Args: p.args})
			if !ok || action.Errno() == 0 {
				continue
			}
			fmt.Fprintln(&in, nr, p.args[0], p.args[1], p.args[2], p.args[3])
			asked, want = append(asked, p), append(want, action)
		}
		cmd := again(t, "calls", name)
		cmd.Stdin = &in
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := strings.Fields(string(out))
		if len(got) != len(asked) || len(asked) < 100 {
			t.Fatalf("%s: %d answers to %d questions", name, len(got), len(asked))
		}
		for i := range got {
			if mustAtoi(t, got[i]) != int(want[i].Errno()) {
				t.Errorf("%s: %s %s: the kernel answers %s, the table %s", name, asked[i].call, asked[i].text, got[i], want[i])
			}
		}
	}
}

func mustAtoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Bad arguments tell a call that reached the kernel from one that was refused.
func TestKernelLetsThrough(t *testing.T) {
	const bad = ^uint64(0) // as a descriptor and as an address
	tests := []struct {
		call string
		args [3]uint64
		want syscall.Errno
	}{
		{"read", [3]uint64{bad}, unix.EBADF},
		{"openat", [3]uint64{bad, 0, 0}, unix.EFAULT},
		{"execve", [3]uint64{bad}, unix.EFAULT},
		{"ioctl", [3]uint64{bad, unix.TCGETS}, unix.EBADF},
		{"fchmodat2", [3]uint64{bad}, unix.EFAULT},
		{"setgroups", [3]uint64{bad}, unix.EINVAL},
		{"socket", [3]uint64{unix.AF_UNIX, 15, 0}, unix.EINVAL},
		{"clone", [3]uint64{unix.CLONE_THREAD}, unix.EINVAL},
	}
	if os.Geteuid() != 0 {
		tests[5].want = unix.EPERM // by the kernel, for lack of the capability
	}
	var in bytes.Buffer
	for _, test := range tests {
		nr, _ := seccomp.Number(seccomp.Native(), test.call)
		fmt.Fprintln(&in, nr, test.args[0], test.args[1], test.args[2], 0)
	}
	cmd := again(t, "calls", "default")
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(string(out))
	for i, test := range tests {
		if e := syscall.Errno(mustAtoi(t, got[i])); e != test.want {
			t.Errorf("%s: %v, want %v", test.call, e, test.want)
		}
	}
}

// A call by another convention kills under a filter, and does not without one.
func TestKernelKillsOtherArchitectures(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("int 0x80 and x32 are ways into an x86_64 kernel")
	}
	for _, role := range []string{"int80", "x32"} {
		if out, err := again(t, role, "").CombinedOutput(); err != nil {
			t.Errorf("%s without a filter: %v: %s", role, err, out)
		} else if role == "int80" && string(out) != "true\n" {
			t.Errorf("int 0x80 did not call getpid: %s", out)
		}
		for _, name := range BuiltinNames() {
			cmd := again(t, role, name)
			out, _ := cmd.CombinedOutput()
			status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if !status.Signaled() || status.Signal() != syscall.SIGSYS {
				t.Errorf("%s: %s: %v, want death by SIGSYS: %s", name, role, cmd.ProcessState, out)
			}
		}
	}
}

const threads = `
import threading, socket, subprocess, os, tempfile, multiprocessing
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
def client():
    c = socket.create_connection(s.getsockname()); c.sendall(b"x"); c.close()
ts = [threading.Thread(target=client) for _ in range(4)]
[t.start() for t in ts]
for _ in ts:
    c, _ = s.accept(); assert c.recv(1) == b"x"
[t.join() for t in ts]
assert subprocess.check_output(["/bin/echo", "hi"]) == b"hi\n"
multiprocessing.Queue(); socket.getaddrinfo("localhost", 80)
try: socket.socket(38, 5); raise SystemExit("AF_ALG")
except OSError as e: assert e.errno == 97, e
print("well")
`

const program = `#include <stdio.h>
#include <pthread.h>
static void *f(void *p) { return p; }
int main(void) { pthread_t t; if (pthread_create(&t, 0, f, 0) || pthread_join(t, 0)) return 1; puts("well"); }
`

// Real programs run under default. %s is a directory of their own.
func TestProgramsRunUnderDefault(t *testing.T) {
	tests := []struct {
		name, needs, script string
	}{
		{"shell", "sh", `for i in 1 2 3; do echo $i; done | sort -r | head -1 >/dev/null && echo well`},
		{"static", "busybox", `busybox sh -c 'busybox echo well'`},
		{"coreutils", "cp", `cd %s && mkdir -p a/b && touch a/b/c && cp -a a d && mv d e && ln -s a l && chmod 700 e && mkfifo f && rm -r a e l f && echo well`},
		{"tar", "tar", `cd %s && mkdir x && echo 1 >x/1 && tar --xattrs -cf x.tar x && rm -r x && tar -xf x.tar && cat x/1 >/dev/null && echo well`},
		{"perl", "perl", `perl -MSocket -e 'socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, 0) or die $!; print "well\n"'`},
		{"python", "python3", "python3 -c '" + threads + "'"},
		{"git", "git", `cd %s && git init -q r && cd r && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m m && git clone -q . ../c && git -C ../c log >/dev/null && echo well`},
		{"sqlite", "sqlite3", `cd %s && sqlite3 db 'pragma journal_mode=wal; create table t(a); insert into t values(1);' >/dev/null && sqlite3 db 'select "well" from t'`},
		{"gcc", "gcc", `cd %s && cat >p.c <<'END'
` + program + `END
gcc -pthread -o p p.c && ./p`},
		{"gcc static", "gcc", `cd %s && cat >p.c <<'END'
` + program + `END
gcc -static -pthread -o p p.c && ./p`},
		{"musl", "musl-gcc", `cd %s && cat >p.c <<'END'
` + program + `END
musl-gcc -static -o p p.c && ./p`},
		{"go", "go", `cd %s && printf 'package main\nimport "net"\nfunc main() { l, err := net.Listen("tcp", "127.0.0.1:0"); if err != nil { panic(err) }; l.Close(); println("well") }' >m.go && GOFLAGS= GO111MODULE=off go run m.go 2>&1`},
		{"file", "file", `file -b /etc/passwd | grep -q text && echo well`},
		{"node", "node", `node -e 'require("fs").promises.readFile("/etc/passwd").then(() => require("net").createServer().listen(0, function() { this.close(); console.log("well") }))'`},
		{"java", "java", `java -version 2>&1 | grep -qi -e openjdk -e java && echo well`},
		{"apt", "apt-get", `cd %s && mkdir -p state/lists/partial cache/archives/partial && chmod 755 . && echo "deb [trusted=yes] http://127.0.0.1:1/debian bookworm main" >list &&
LC_ALL=C apt-get -q -o Dir::State=$PWD/state -o Dir::Cache=$PWD/cache -o Dir::Etc::SourceList=$PWD/list -o Dir::Etc::SourceParts=/dev/null -o Acquire::Retries=0 -o Acquire::http::Proxy=false update >log 2>&1
grep -q "127.0.0.1" log && grep -qi "could not connect" log && ! grep -i -e "not permitted" -e "not implemented" -e "seccomp" log && echo well`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := exec.LookPath(test.needs); err != nil {
				t.Skipf("%s is not installed", test.needs)
			}
			dir, err := os.MkdirTemp("", "profiles")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			script := strings.Replace(test.script, "%s", dir, 1)
			cmd := again(t, "exec", "default", "/bin/sh", "-c", script)
			cmd.Env = append(cmd.Env, "HOME="+dir, "GOCACHE="+filepath.Join(dir, "gocache"), "GIT_CONFIG_NOSYSTEM=1")
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.HasSuffix(string(out), "well\n") {
				log, _ := os.ReadFile(filepath.Join(dir, "log"))
				t.Errorf("%v: %s%s", err, out, log)
			}
		})
	}
}
