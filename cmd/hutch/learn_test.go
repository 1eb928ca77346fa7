package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hutch/runner"
)

// goServer is a server and its client in one, written in Go; its argument is
// the port, where it has one.
func goServer() {
	port := "0"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() {
		c, err := l.Accept()
		if err == nil {
			fmt.Fprint(c, "a page")
			c.Close()
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	page, err := io.ReadAll(c)
	fmt.Println(string(page), err)
}

const pythonServer = `
import socket, threading
s = socket.socket()
s.bind(("127.0.0.1", 0))
s.listen()
def serve():
    c, _ = s.accept()
    c.send(b"a page")
    c.close()
t = threading.Thread(target=serve)
t.start()
c = socket.create_connection(s.getsockname())
print(c.recv(64).decode())
t.join()
`

const nginxConfig = `
daemon off;
user root root;
worker_processes 1;
pid /tmp/nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;
  server { listen 127.0.0.1:8080; location / { return 200 "a page\n"; } }
}
`

const nginxScript = `nginx -c /srv/app/nginx.conf & server=$!; python3 -c '
import time, urllib.request
for i in range(100):
    try:
        print(urllib.request.urlopen("http://127.0.0.1:8080/").read().decode())
        break
    except OSError as e:
        time.sleep(0.05)
'; kill $server; wait`

// A taught is an application of which a profile is learned.
type taught struct {
	name    string
	command []string
	prints  string
	// base: the application runs under base already.
	base   bool
	others [][]string
}

// The programs of other kinds that a profile is learned from.
// To add one: a row, and what it needs in /srv/app. What others do runs under
// default, prints "a stranger" there, and uses what the lesson did not.
var lessons = []taught{
	{"sqlite3", []string{"sqlite3", "/tmp/db", "create table t(x); insert into t values(6*7); select 'a page', x from t"}, "a page|42", true, [][]string{
		{"sqlite3", ":memory:", "select 'a stranger' where length(readfile('/srv/app/a.c')) > 9"}, // another file
	}},
	{"nginx", []string{"sh", "-c", nginxScript}, "a page", false, [][]string{
		{"python3", "-c", pythonPorts, "connect", "8081"}, // another port
		{"python3", "-c", pythonPorts, "bind", "8082"},
	}},
	{"gcc", []string{"sh", "-c", "gcc -o /tmp/a /srv/app/a.c && /tmp/a"}, "a page", true, [][]string{
		{"sh", "-c", "gcc -include /srv/app/secret -o /tmp/a /srv/app/a.c && echo a stranger"}, // another file
	}},
	{"git", []string{"sh", "-c", `cd /tmp && git init -q r && cd r && echo a page >f && git add f && git -c user.name=n -c user.email=e commit -qm m && git clone -q /tmp/r /tmp/c && cat /tmp/c/f`}, "a page", true, [][]string{
		{"cat", "/srv/app/secret"},
		{"sh", "-c", "echo a stranger >/dev/shm/x && while read l; do echo $l; done </dev/shm/x"}, // writes elsewhere
	}},
	{"python3", []string{"python3", "-c", pythonServer}, "a page", false, [][]string{
		{"python3", "-c", "print(open('/srv/app/secret').read())"},
		{"python3", "-c", pythonPorts, "bind", "8082"},
	}},
	{"go", []string{"/srv/app/goserver"}, "a page", false, [][]string{
		{"sh", "-c", "/srv/app/goserver 8083 && echo a stranger"},
	}},
}

// What none of them does, and what is in its way otherwise: nothing.
var strangers = [][]string{
	{"python3", "-c", "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW); print('a stranger')"},
	{"tail", "/srv/app/secret"},
	{"env", "echo", "a stranger"},
}

// A port that nobody is asked for is refused otherwise than one that Landlock
// refuses.
const pythonPorts = `
import errno, socket, sys
s = socket.socket()
try:
    getattr(s, sys.argv[1])(("127.0.0.1", int(sys.argv[2])))
except OSError as e:
    if e.errno != errno.ECONNREFUSED: raise
print("a stranger")
`

func lessonDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"secret": "// a stranger\n",
		"a.c":    "#include <stdio.h>\nint main(void) { puts(\"a page\"); return 0; }\n", "nginx.conf": nginxConfig,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "goserver"), data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// lessonRoot is the root of an image with this machine's programs in it, for
// overlayfs to lie over.
func lessonRoot(t *testing.T, dir string) (root string, flags []string) {
	t.Helper()
	root = filepath.Join(dir, "root")
	for _, d := range []string{"usr", "etc", "tmp", "srv/app"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+name, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a.c", "secret", "nginx.conf", "goserver"} {
		if err := os.Link(filepath.Join(dir, name), filepath.Join(root, "srv/app", name)); err != nil {
			t.Fatal(err)
		}
	}
	return root, []string{"--bind", "/usr:/usr", "--bind", "/etc:/etc"}
}

// Each application runs under the profile that was learned from it, and nothing
// else does: no other program, file or port. On this machine's root and on an
// image's.
func TestLearn(t *testing.T) {
	dir := lessonDir(t)
	image, flags := lessonRoot(t, dir)
	for _, l := range lessons {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			learnAndRun(t, l.name, "host", "--bind", dir+":/srv/app")
		})
		t.Run(l.name+" in an image", func(t *testing.T) {
			t.Parallel()
			learnAndRun(t, l.name, image, flags...)
		})
	}
}

func learnAndRun(t *testing.T, name, root string, flags ...string) {
	l := lessons[slices.IndexFunc(lessons, func(l taught) bool { return l.name == name })]
	file := filepath.Join(t.TempDir(), "learned.toml")
	flags = append(flags, "--timeout", "1m")
	hutch := func(args ...string) (string, error) {
		out, err := exec.Command("hutch", args...).CombinedOutput()
		return string(out), err
	}
	out, err := hutch(slices.Concat([]string{"profile", "learn", "-o", file}, flags, []string{root, "--"}, l.command)...)
	if err != nil || !strings.Contains(out, l.prints) {
		t.Fatalf("learning: %v: %s", err, out)
	}
	profile, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := hutch("profile", "check", file); err != nil {
		t.Fatalf("what was learned is no profile: %s\n%s", out, profile)
	}
	under := func(profile string, command []string) (string, error) {
		return hutch(slices.Concat([]string{"run", "--profile", profile}, flags, []string{root, "--"}, command)...)
	}
	if out, err := under(file, l.command); err != nil || !strings.Contains(out, l.prints) {
		t.Errorf("under what it taught: %v: %s\n%s", err, out, profile)
	}
	if out, _ := under("base", l.command); strings.Contains(out, l.prints) != l.base {
		t.Errorf("under base: %s", out)
	}
	for _, other := range slices.Concat(strangers, l.others) {
		if out, err := under("default", other); err != nil || !strings.Contains(out, "a stranger") {
			t.Errorf("%q does not run at all: %v: %s", other, err, out)
		}
		if out, _ := under(file, other); strings.Contains(out, "a stranger") {
			t.Errorf("%q ran under it: %s\n%s", other, out, profile)
		}
	}
}

// What is explained is answered exactly as without, and told in the result.
func TestExplainChangesNoAnswer(t *testing.T) {
	t.Parallel()
	const program = `
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(nr, *args):
    ctypes.set_errno(0)
    r = libc.syscall(nr, *args)
    return nr, r if r < 0 else 0, ctypes.get_errno()
print([call(n, 0, 0, 0, 0, 0, 0) for n in (101, 155, 165, 166, 175, 246, 248, 250, 272, 298, 308, 321, 323, 425, 435, 457, 600)])
for family in range(0, 46):
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
        print(family, 0)
    except OSError as e:
        print(family, e.errno)
`
	profiles := []string{"default", "strict", "ci", "tenant"}
	if os.Geteuid() == 0 {
		profiles = append(profiles, "judge") // its limits need control groups, which not every user is given
	}
	for _, profile := range profiles {
		command := []string{"--profile", profile, "--timeout", "1m", "host", "--", "python3", "-c", program}
		plain, err := exec.Command("hutch", append([]string{"run"}, command...)...).Output()
		if err != nil {
			t.Fatal(err, string(plain))
		}
		file := filepath.Join(t.TempDir(), "result.json")
		told, err := exec.Command("hutch", append([]string{"run", "--explain", "--result", file}, command...)...).Output()
		if err != nil || string(told) != string(plain) {
			t.Errorf("%s: %v, explained:\n%s\nwithout:\n%s", profile, err, told, plain)
		}
		var r runner.Result
		data, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(data, &r)
		}
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(r.Denied, func(d runner.Denial) bool {
			return d.Name == "mount" && d.What == "syscall" && d.Count == 1 && d.Errno == "EPERM" && d.Hint == `seccomp.allow = ["mount"]` && d.Warning != ""
		}) {
			t.Errorf("%s: no mount among %+v", profile, r.Denied)
		}
	}
}
