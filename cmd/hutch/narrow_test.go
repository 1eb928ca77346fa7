package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"hutch/profiles"
	"hutch/runner"
)

const narrowProfile = `version = 1
extends = ["default"]
[landlock]
read = ["/usr", "/etc/ld.so.cache", "/etc/passwd", "/proc", "/tmp"]
list = ["/etc"]
write = ["/tmp"]
execute = ["/usr/bin/python3", "/usr/lib", "/lib64", "/lib"]
connect = [8080]
bind = [0]
`

// What each try is refused by a list is said with the list; what no list
// refuses is not. A row is a word for what is tried, the line that would allow
// it ("" for what goes on), and the code.
var narrowTries = []struct{ name, hint, code string }{
	{"read", `add "/etc/hosts" to landlock.read`, `open("/etc/hosts")`},
	{"read what is listed", "", `open("/etc/passwd")`},
	{"list", `add "/" to landlock.list`, `os.listdir("/")`},
	{"list what is listed", "", `os.listdir("/etc")`},
	{"list what may be read", "", `os.listdir("/usr/lib")`},
	{"write", `add "/dev/null" to landlock.write`, `os.open("/dev/null", os.O_WRONLY)`},
	{"make", `add "/dev/shm" to landlock.write`, `os.mkdir("/dev/shm/d")`},
	{"write where one may", "", `open("/tmp/f", "w").close(); os.rename("/tmp/f", "/tmp/g"); os.truncate("/tmp/g", 0); os.unlink("/tmp/g")`},
	{"execute", `add "/usr/bin/env" to landlock.execute`, `os.execv("/usr/bin/env", ["env"])`},
	{"connect", `add 8081 to landlock.connect`, `socket.create_connection(("127.0.0.1", 8081))`},
	{"bind", `add 8082 to landlock.bind`, `socket.socket().bind(("127.0.0.1", 8082))`},
	{"bind any", "", `socket.socket().bind(("127.0.0.1", 0))`},
	{"datagrams", "", `socket.socket(type=socket.SOCK_DGRAM).bind(("127.0.0.1", 8083))`},
}

// The lists hold on both kinds of root, and --explain=all names the one that
// refused.
func TestNarrow(t *testing.T) {
	t.Parallel()
	dir := lessonDir(t)
	image, flags := lessonRoot(t, dir)
	file := filepath.Join(dir, "narrow.toml")
	if err := os.WriteFile(file, []byte(narrowProfile), 0o644); err != nil {
		t.Fatal(err)
	}
	script := "import os, socket\ndef tried(f):\n  try: f()\n  except PermissionError: return 'refused'\n  except OSError as e: return str(e)\n  return 'done'\n"
	for _, try := range narrowTries {
		code := "  " + strings.ReplaceAll(try.code, "; ", "\n  ")
		script += "def f():\n" + code + "\nprint('" + try.name + "', tried(f), sep=': ')\n"
	}
	for _, root := range []struct {
		root  string
		flags []string
	}{{"host", nil}, {image, flags}} {
		told := filepath.Join(dir, "result.json")
		args := slices.Concat([]string{"run", "--explain=all", "--result", told, "--profile", file, "--timeout", "1m"}, root.flags,
			[]string{root.root, "--", "/usr/bin/python3", "-c", script})
		out, err := exec.Command("hutch", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", root.root, err, out)
		}
		var r runner.Result
		data, err := os.ReadFile(told)
		if err == nil {
			err = json.Unmarshal(data, &r)
		}
		if err != nil {
			t.Fatal(err)
		}
		var hints []string
		for _, d := range r.Denied {
			if strings.Contains(d.Hint, "landlock.") {
				hints = append(hints, d.Hint)
			}
		}
		for _, try := range narrowTries {
			want := try.name + ": done\n"
			if try.hint != "" {
				want = try.name + ": refused\n"
			}
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: no %q in %s", root.root, want, out)
			}
			at := slices.Index(hints, try.hint)
			if try.hint != "" && at < 0 {
				t.Errorf("%s: %s: not told: %q", root.root, try.name, hints)
			} else if try.hint != "" {
				hints = slices.Delete(hints, at, at+1)
			}
		}
		for _, h := range hints { // python looks into directories of its own accord
			if !strings.Contains(h, "landlock.read") && !strings.Contains(h, "landlock.list") {
				t.Errorf("%s: told, and not tried: %s", root.root, h)
			}
		}
	}
}

// What a list names has to be there, and the command has to be in it: both are
// errors before the application starts.
func TestNarrowMistakes(t *testing.T) {
	t.Parallel()
	dir := lessonDir(t)
	image, flags := lessonRoot(t, dir)
	for text, want := range map[string]string{
		"read = [\"/no/such\"]":        "landlock: read /no/such",
		"list = [\"/etc/passwd\"]":     "landlock: list /etc/passwd",
		"execute = [\"/usr/bin/env\"]": "landlock.execute, or without that",
		"read = [\"/etc\"]":            "landlock.execute, or without that",
	} {
		file := filepath.Join(dir, "mistake.toml")
		if err := os.WriteFile(file, []byte("version = 1\nextends = [\"default\"]\n[landlock]\n"+text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, root := range []string{"host", image} {
			args := []string{"run", "--profile", file}
			if root != "host" {
				args = append(args, flags...)
			}
			out, err := exec.Command("hutch", append(args, root, "--", "/usr/bin/id")...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), "hint: ") || strings.Contains(string(out), "uid=") {
				t.Errorf("%s: %s: %v: %s", root, text, err, out)
			}
		}
	}
}

// In a guest the guest's kernel enforces the lists, or the application is not
// started: Debian's linux.uml has no Landlock.
func TestNarrowInGuest(t *testing.T) {
	t.Parallel()
	dir, root := t.TempDir(), smallRoot(t)
	for _, name := range []string{"open", "closed"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte("it is "+name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "narrow.toml")
	text := "version = 1\nextends = [\"default\"]\n[landlock]\nread = [\"/bin\", \"/open\"]\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, engine := range [][]string{{"--engine", "native"}, {"--engine", "uml"}, {"--engine", "uml", "--kernel", "linux.uml"}} {
		if kernel, err := exec.LookPath(engine[len(engine)-1]); err == nil {
			engine[len(engine)-1] = kernel
		}
		args := slices.Concat([]string{"run", "--profile", file, "--timeout", "1m"}, engine, []string{root, "cat", "/open", "/closed"})
		out, err := exec.Command("hutch", args...).CombinedOutput()
		refused := strings.Contains(string(out), "landlock.read needs Landlock ABI 2, this kernel has 0") && !strings.Contains(string(out), "it is")
		enforced := strings.Contains(string(out), "it is open") && !strings.Contains(string(out), "it is closed")
		if err == nil || !enforced && !refused || refused && engine[1] == "native" || enforced && len(engine) > 2 {
			t.Errorf("%q: %v: %s", engine, err, out)
		}
	}
}

// A name that TOML cannot hold is its directory's.
func TestFoldPaths(t *testing.T) {
	got := foldPaths([]string{"/srv/\xff/a", "/etc/x", "/srv/ü"}, 3)
	if want := []string{"/etc/x", "/srv"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := foldPaths(nil, 3); got == nil || len(got) > 0 {
		t.Errorf("nothing is not said: %#v", got)
	}
}

// What two runs did not use stays refused, and what either was not narrowed by
// is not narrowed.
func TestMergeNarrowed(t *testing.T) {
	for _, test := range []struct{ now, before, want profiles.Landlock }{
		{
			profiles.Landlock{Read: []string{}, List: []string{}, Write: []string{}, Execute: []string{}, Connect: []uint16{}, Bind: []uint16{}},
			profiles.Landlock{Read: []string{}, List: []string{}, Write: []string{}, Execute: []string{}, Connect: []uint16{}, Bind: []uint16{}},
			profiles.Landlock{Read: []string{}, List: []string{}, Write: []string{}, Execute: []string{}, Connect: []uint16{}, Bind: []uint16{}},
		},
		{
			profiles.Landlock{Read: []string{"/etc/a"}, Write: []string{"/tmp"}, Connect: []uint16{80}, Bind: []uint16{443, 80}},
			profiles.Landlock{Read: []string{"/etc/b", "/etc/a"}, Execute: []string{"/bin/x"}, Bind: []uint16{80, 25}},
			profiles.Landlock{Read: []string{"/etc/a", "/etc/b"}, Bind: []uint16{25, 80, 443}},
		},
	} {
		got := test.now
		if mergeNarrowed(&got, &test.before); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%#v, want %#v", got, test.want)
		}
	}
}
