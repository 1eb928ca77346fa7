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

// goServer is a server and its client in one, written in Go.
func goServer() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
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

// The programs of other kinds that a profile is learned from.
// To add one: a row, and what it needs in /srv/app.
var lessons = []struct {
	name    string
	command []string
	prints  string
	// base: the application runs under base already.
	base bool
}{
	{"sqlite3", []string{"sqlite3", "/tmp/db", "create table t(x); insert into t values(6*7); select 'a page', x from t"}, "a page|42", true},
	{"nginx", []string{"sh", "-c", nginxScript}, "a page", false},
	{"gcc", []string{"sh", "-c", "gcc -o /tmp/a /srv/app/a.c && /tmp/a"}, "a page", true},
	{"git", []string{"sh", "-c", `cd /tmp && git init -q r && cd r && echo a page >f && git add f && git -c user.name=n -c user.email=e commit -qm m && git clone -q /tmp/r /tmp/c && cat /tmp/c/f`}, "a page", true},
	{"python3", []string{"python3", "-c", pythonServer}, "a page", false},
	{"go", []string{"/srv/app/goserver"}, "a page", false},
}

// What none of them does, and what is in its way otherwise: nothing.
var strangers = []string{
	"python3", "-c", "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW); print('a stranger')",
}

func lessonDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"a.c": "#include <stdio.h>\nint main(void) { puts(\"a page\"); return 0; }\n", "nginx.conf": nginxConfig,
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

// Each application runs under the profile that was learned from it, and a
// stranger does not.
func TestLearn(t *testing.T) {
	dir := lessonDir(t)
	for _, l := range lessons {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "learned.toml")
			bind := []string{"--bind", dir + ":/srv/app", "--timeout", "1m"}
			hutch := func(args ...string) (string, error) {
				out, err := exec.Command("hutch", args...).CombinedOutput()
				return string(out), err
			}
			out, err := hutch(slices.Concat([]string{"profile", "learn", "-o", file}, bind, []string{"host", "--"}, l.command)...)
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
				return hutch(slices.Concat([]string{"run", "--profile", profile}, bind, []string{"host", "--"}, command)...)
			}
			if out, err := under(file, l.command); err != nil || !strings.Contains(out, l.prints) {
				t.Errorf("under what it taught: %v: %s\n%s", err, out, profile)
			}
			if out, _ := under("base", l.command); strings.Contains(out, l.prints) != l.base {
				t.Errorf("under base: %s", out)
			}
			if out, err := under("default", strangers); err != nil || !strings.Contains(out, "a stranger") {
				t.Errorf("the stranger does not run at all: %v: %s", err, out)
			}
			if out, err := under(file, strangers); err == nil || strings.Contains(out, "a stranger") {
				t.Errorf("a stranger ran under it: %s\n%s", out, profile)
			}
		})
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
