package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hutch/runner"
)

// accesses are what a box is made to try. errno is what the kernel answers, told
// what --explain=all is to say of it, "" for nothing; a row with two answers,
// split by "|", depends on the ids that the box has, and is told of the first.
//
// To add an access: a row, with an expression of Python's.
var accesses = []struct{ name, python, errno, told string }{
	{"new file on a read-only root", `os.open("/usr/new", os.O_CREAT|os.O_WRONLY)`, "EROFS", "path /usr/new openat"},
	{"cut a file there", `os.open("/etc/passwd", os.O_TRUNC|os.O_WRONLY)`, "EROFS", "path /etc/passwd openat"},
	{"new directory there", `os.mkdir("/usr/dir")`, "EROFS", "path /usr/dir mkdir"},
	{"remove there", `os.unlink("/etc/group")`, "EROFS", "path /etc/group unlink"},
	{"rename there", `os.rename("/etc/fstab", "/etc/other")`, "EROFS", "path /etc/fstab rename"},
	{"link there", `os.symlink("a", "/etc/link")`, "EROFS", "path /etc/link symlink"},
	{"mode there", `os.chmod("/etc/shells", 0o644)`, "EROFS", "path /etc/shells chmod"},
	{"a read-only bind", `os.open("/bound/f", os.O_CREAT|os.O_WRONLY)`, "EROFS", "path /bound/f openat"},
	{"a relative name", `os.chdir("/bound") or os.open("g", os.O_CREAT|os.O_WRONLY)`, "EROFS", "path /bound/g openat"},
	{"read", `os.open("/etc/passwd", os.O_RDONLY)`, "0", ""},
	{"what is not there", `os.open("/etc/none", os.O_RDONLY)`, "ENOENT", ""},
	{"what is there already", `os.mkdir("/usr/bin")`, "EEXIST", ""},
	{"exclusively", `os.open("/etc/passwd", os.O_CREAT|os.O_EXCL|os.O_WRONLY)`, "EEXIST", ""},
	{"to another mount", `os.rename("/etc/passwd", "/tmp/p")`, "EXDEV", ""},
	{"a directory for writing", `os.open("/etc", os.O_WRONLY)`, "EISDIR", ""},
	{"write where one may", `os.open("/tmp/x", os.O_CREAT|os.O_WRONLY)`, "0", ""},
	{"a device", `os.open("/dev/null", os.O_WRONLY)`, "0", ""},

	{"below what is hidden", `os.open("/etc/ssl/certs", os.O_RDONLY)`, "ENOENT", "path /etc/ssl/certs openat"},
	{"a hidden file", `os.open("/etc/hostname", os.O_RDONLY)`, "0", "path /etc/hostname openat"},

	{"what Landlock keeps", `os.open("/dev/x", os.O_CREAT|os.O_WRONLY)`, "EACCES", "path /dev/x openat"},

	{"chroot", `os.chroot("/tmp")`, "EPERM", "capability CAP_SYS_CHROOT chroot"},
	{"chroot to nowhere", `os.chroot("/none")`, "ENOENT", ""},
	{"another user", `os.setuid(1)`, "EPERM|EINVAL", "capability CAP_SETUID setuid"},
	{"the same user", `os.setuid(os.getuid())`, "0", ""},
	{"groups", `os.setgroups([])`, "EPERM", "capability CAP_SETGID setgroups"},
	{"another owner", `os.chown("/tmp/x", 1, -1)`, "EPERM|EINVAL", "capability CAP_CHOWN chown"},
	{"the same owner", `os.chown("/tmp/x", os.getuid(), -1)`, "0", ""},
	{"a low port", `socket.socket().bind(("127.0.0.1", 80))`, "EACCES", "capability CAP_NET_BIND_SERVICE bind"},
	{"a high port", `socket.socket().bind(("127.0.0.1", 8080))`, "0", ""},

	{"another host", `socket.socket().connect(("192.0.2.1", 80))`, "ENETUNREACH", "network 192.0.2.1:80 connect"},
	{"another host, IPv6", `socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80))`, "ENETUNREACH", "network [2001:db8::1]:80 connect"},
	{"a datagram", `socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53))`, "ENETUNREACH", "network 192.0.2.1:53 sendto"},
	{"nobody listens", `socket.socket().connect(("127.0.0.1", 80))`, "ECONNREFUSED", ""},
}

// Every answer is the one without explaining, and what is told is what was
// refused, no more.
func TestExplainAll(t *testing.T) {
	t.Parallel()
	var script strings.Builder
	script.WriteString("import errno, os, socket\ndef tried(f):\n try:\n  f()\n  print(0)\n except OSError as e:\n  print(errno.errorcode[e.errno])\n")
	for _, a := range accesses {
		script.WriteString("tried(lambda: " + a.python + ")\n")
	}
	file, bound := filepath.Join(t.TempDir(), "result.json"), t.TempDir()
	run := func(flags ...string) []string {
		args := append([]string{"run", "--timeout", "1m", "--bind", bound + ":/bound", "--hide", "/etc/ssl", "--hide", "/etc/hostname"}, flags...)
		out, err := exec.Command("hutch", append(args, "host", "--", "python3", "-c", script.String())...).Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.Fields(string(out))
	}
	plain, explained := run(), run("--explain=all", "--result", file)
	if len(plain) != len(accesses) || len(explained) != len(accesses) {
		t.Fatalf("%d accesses, %d and %d answers", len(accesses), len(plain), len(explained))
	}
	told := toldIn(t, file)
	for i, a := range accesses {
		if plain[i] != explained[i] {
			t.Errorf("%s: %s without explaining, %s with it", a.name, plain[i], explained[i])
		}
		first, second, _ := strings.Cut(a.errno, "|")
		if plain[i] != first && plain[i] != second {
			t.Errorf("%s: %s, want %s", a.name, plain[i], a.errno)
		}
		if a.told == "" || plain[i] != first {
			continue
		}
		errno, ok := told[a.told]
		if !ok || errno != strings.TrimPrefix(first, "0") {
			t.Errorf("%s: told %q (%v), want %q of %s", a.name, errno, ok, first, a.told)
		}
		delete(told, a.told)
	}
	if len(told) != 0 {
		t.Errorf("told of what was not refused: %v", told)
	}
}

// toldIn is what a result tells, with each errno.
func toldIn(t *testing.T, file string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(file)
	var r runner.Result
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, d := range r.Denied {
		if d.Hint == "" || d.Count != 1 || len(d.Args) != 1 {
			t.Errorf("incomplete: %+v", d)
			continue
		}
		told[d.What+" "+d.Name+" "+d.Args[0]] = d.Errno
	}
	return told
}

// The line that is told allows what was refused.
func TestExplainAllLines(t *testing.T) {
	t.Parallel()
	bound := t.TempDir()
	for _, c := range []struct{ name, script, line string }{
		{"tmpfs", "touch /etc/new", `filesystem.tmpfs = ["/etc"]  # empty; or bind a directory there with :rw`},
		{"bind", "touch /bound/new", `filesystem.bind = ["` + bound + `:/bound:rw"]`},
		{"landlock", "touch /dev/new", "landlock.filesystem = false"},
		{"capability", "chroot /usr /bin/true", `capabilities.add = ["sys_chroot"]`},
		{"network", `python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 9))'`, `network.mode = "host"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			profile := filepath.Join(dir, "p.toml")
			run := func(name, profile string, flags ...string) (runner.Result, error) {
				file := filepath.Join(dir, name)
				args := append([]string{"run", "--explain=all", "--timeout", "1m", "--result", file, "--profile", profile}, flags...)
				err := exec.Command("hutch", append(args, "host", "--", "sh", "-c", c.script)...).Run()
				var r runner.Result
				if data, e := os.ReadFile(file); e != nil || json.Unmarshal(data, &r) != nil {
					t.Fatal(e)
				}
				return r, err
			}
			r, err := run("refused", "default", "--bind", bound+":/bound")
			if os.Getuid() != 0 && c.line == `capabilities.add = ["sys_chroot"]` {
				c.line = "none: no root is mapped into this box; run an image, or hutch as root"
			}
			if err == nil || len(r.Denied) != 1 || r.Denied[0].Hint != c.line {
				t.Fatalf("%v: %+v", err, r.Denied)
			}
			if os.Getuid() != 0 && (c.name == "capability" || c.name == "landlock") {
				return // there is no line; a user's own binary needs Landlock
			}
			text := "version = 1\nextends = [\"default\"]\n" + c.line + "\n"
			if err := os.WriteFile(profile, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			// Whether the machine has a route is its own affair.
			if r, err := run("allowed", profile); err != nil && c.name != "network" || len(r.Denied) != 0 {
				t.Errorf("with the line: %v: %+v", err, r.Denied)
			}
		})
	}
}
