package profiles

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// All mistakes are told at once, each where it is; a row is a text and what is
// said of it, a mistake a line. To add one: write it down.
func TestMistakes(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"none", "version = 1\n", ""},
		{
			"a first profile",
			`extends = ["defualt"]
[filesytem]
hidden = ["/x"]
[limits]
memory = "512X"
pids = -1
open_files = "many"
[filesystem]
hidden = ["etc", "/ok", "srv"]
bind = ["srv/data:data:ro", "/a:/b:rx", "/a:/b"]
[capabilities]
add = ["sys_chrot", "chown", 5]
`,
			`version: is missing
1:12: extends[0]: unknown profile "defualt": did you mean "default"?
2:2: unknown key "filesytem": did you mean "filesystem"?
5:10: size "512X"
6:8: limits.pids: -1: is negative
7:14: limits.open_files: expected a whole number
9:11: filesystem.hidden[0]: "etc"
9:25: filesystem.hidden[2]: "srv"
10:9: filesystem.bind[0]: target "data"
10:29: filesystem.bind[1]: bind "/a:/b:rx": the mode
12:8: capabilities.add[0]: capability "sys_chrot": did you mean "sys_chroot"?
12:30: capabilities.add: expected a list of strings`,
		},
		{
			"rules",
			`version = 1
[seccomp]
default = "errnoo"
[[seccomp.rules]]
action = "allow"
calls = ["raed", "write", "opne"]
[[seccomp.rules]]
action = "errnoo"
errno = "EPERM"
calls = ["mount"]
[[seccomp.rules.args]]
index = 0
op = "eq"
value = 1
[[seccomp.rules]]
action = "allow"
calls = ["read"]
[[seccomp.rules.args]]
index = 9
op = "eq"
value = 1
[[seccomp.rules]]
action = "allow"
call = ["read"]
`,
			`3:11: seccomp.default: unknown action "errnoo": did you mean "errno"?
6:10: seccomp.rules[0].calls[0]: unknown system call "raed": did you mean "read"?
6:27: seccomp.rules[0].calls[2]: unknown system call "opne"
9:9: seccomp.rules[1].errno: goes with action "errno"
19:9: seccomp.rules[2].args[0].index: 9
24:1: unknown key "seccomp.rules.call": did you mean "calls"?`,
		},
		{"no quotes", "version = 1\n[limits]\nmemory = 512M\npids = -1\ntimeout = 5x\n", "3:\n4:8: limits.pids\n5:"},
		{"a list without an end", "version = 1\n[filesystem]\nhidden = [\"/a\",\n[limits]\npids = -1\n", "4:"},
		{"twice", "version = 1\n[limits]\npids = 1\npids = 2\nmemory = \"x\"\n", "4:1: \n5:10: size"},
		{"versions", "version = 7\n[limits]\npids = -1\n", "1:11: version: 7\n3:8: limits.pids"},
		{"a version in words", "version = \"1\"\n[limits]\npids = -1\n", "1:11: version\n3:8: limits.pids"},
		{"durations", "version = 1\n[limits]\ntimeout = 5\ngrace = 7\n", "3:11: limits.timeout: a duration\n4:9: limits.grace: a duration"},
		{"in a line", "version = 1\nlimits = { memory = \"512X\", pids = -1 }\n", "2:21: size"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x.toml")
			if err := os.WriteFile(file, []byte(tt.text), 0o644); err != nil {
				t.Fatal(err)
			}
			all := Mistakes(file)
			var got []string
			for _, err := range all {
				head, _, _ := strings.Cut(err.Error(), "\n")
				got = append(got, strings.TrimLeft(strings.TrimPrefix(head, file+":"), " "))
			}
			want := strings.Split(tt.want, "\n")
			if tt.want == "" {
				want = nil
			}
			same := len(got) == len(want)
			for i := range want {
				place, words, _ := strings.Cut(want[i], ": ")
				same = same && strings.HasPrefix(got[i], place) && strings.Contains(got[i], words)
			}
			if !same {
				t.Errorf("said\n%s\nwant\n%s", strings.Join(got, "\n"), tt.want)
			}
			// What is told alone is told first.
			if _, err := Load(file); (err == nil) != (len(all) == 0) {
				t.Errorf("Load says %v", err)
			}
		})
	}
}

// A text has mistakes exactly where it cannot be decoded, and each of them has
// a line that is there.
func FuzzMistakes(f *testing.F) {
	f.Add([]byte("version = 1\n[limits]\nmemory = 512M\npids = -1\n[filesytem]\nx=[1,2]\n"))
	f.Add([]byte("[[seccomp.rules]]\ncalls = [\"raed\", 'x']\n[[seccomp.rules.args]]\nindex=9\n"))
	f.Add([]byte("version = 1\r\nextends = [\"\"\"\na\"\"\", 5]\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Contains(data, []byte("extends")) {
			return // it would look for files
		}
		s := search{name: "x.toml", data: data, text: bytes.Clone(data)}
		for len(s.found) < mostMistakes && s.step() {
		}
		if _, err := decodeOne("x.toml", data); (err == nil) != (len(s.found) == 0) {
			t.Errorf("%v, but %d mistakes", err, len(s.found))
		}
		for _, e := range s.found {
			if e.Line > bytes.Count(data, []byte("\n"))+1 {
				t.Errorf("no such line: %v", e)
			}
		}
	})
}
