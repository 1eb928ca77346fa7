package profiles

import (
	"strings"
	"testing"

	"hutch/seccomp"
)

func TestTraceSaysWhichFile(t *testing.T) {
	t.Chdir(t.TempDir())
	writeFile(t, "far.toml", `version = 1
[filesystem]
hidden = ["/a"]
[limits]
memory = "1M"
pids = 3
[seccomp]
allow = ["@file"]
`)
	near := "near.toml"
	writeFile(t, near, `version = 1
extends = ["base", "./far.toml"]
[filesystem]
hidden = ["/b"]
[limits]
memory = "2M"
[[seccomp.rules]]
calls = ["mount"]
action = "kill"
`)
	p, o, err := Trace(near)
	if err != nil {
		t.Fatal(err)
	}
	_, text := encodeAndRead(t, p, Encoder{Behind: o.Of})
	for _, want := range []string{
		`memory = "2M"  # near.toml:6`,
		`pids = 3  # far.toml:6`,
		`  "/a",  # far.toml`,
		`  "/b",  # near.toml`,
		`  "/proc/acpi",  # base.toml`,
		"[[seccomp.rules]]  # near.toml:7\ncalls = [\"mount\"]",
		"[[seccomp.rules]]  # far.toml:8\ncalls = [\"@file\"]",
		`extends = ["base", "./far.toml"]  # near.toml:2`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %s in\n%s", want, text)
		}
	}
	for _, line := range strings.Split(text, "\n") {
		if len(line) > lineWidth && !strings.Contains(line, "index = ") {
			t.Errorf("wider than 80 columns: %s", line)
		}
	}
}

// Every key and rule of the built-in profiles has an origin.
func TestTraceIsWhole(t *testing.T) {
	for _, name := range BuiltinNames() {
		p, o, err := Trace(name)
		if err != nil {
			t.Fatal(err)
		}
		built, _ := Builtin(name)
		if dump(p) != dump(built) {
			t.Errorf("%s: another profile", name)
		}
		_, text := encodeAndRead(t, p, Encoder{Behind: o.Of})
		for _, line := range strings.Split(text, "\n") {
			if strings.HasPrefix(line, "[[") && !strings.Contains(line, ".toml:") {
				t.Errorf("%s: no origin of %s", name, line)
			}
		}
	}
}

func TestDiffTellsMoreFromLess(t *testing.T) {
	read := func(text string) *Profile {
		p, err := decodeOne("x.toml", []byte("version = 1\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	a := read(`[limits]
memory = "1M"
[filesystem]
hidden = ["/a"]
bind = ["/x:/y"]
[network]
mode = "none"
[seccomp]
allow = ["read", "write"]
`)
	b := read(`[limits]
pids = 3
[network]
mode = "host"
[landlock]
scopes = true
[seccomp]
allow = ["read", "openat"]
[[seccomp.rules]]
calls = ["mount"]
action = "errno"
errno = "ENOSYS"
`)
	list, err := Diff(a, b)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range list {
		got = append(got, strings.TrimSpace(d.Kind+" "+d.Key+" "+strings.Join(d.Calls, ",")+" "+d.Text))
	}
	want := []string{
		"more seccomp openat errno EPERM → allow",
		"more filesystem.hidden  has no /a",
		`more limits.memory  "1M" → not said`,
		`more network.mode  "none" → "host"`,
		"less seccomp write allow → errno EPERM",
		"less filesystem.bind  has no /x:/y",
		"less limits.pids  not said → 3",
		"less landlock.scopes  not said → true",
		"other seccomp mount errno EPERM → errno ENOSYS",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if list, err := Diff(a, a); err != nil || len(list) > 0 {
		t.Errorf("a profile differs from itself: %v %v", list, err)
	}
}

// A call that nobody knows is skipped where it is refused anyway, and an error
// where it is allowed, where the default allows, and where it looks like a slip.
func TestUnknownCalls(t *testing.T) {
	for _, c := range []struct{ text, warning, err string }{
		{`deny = ["frobnicate_all"]`, `unknown system call "frobnicate_all", which is refused: left out`, ""},
		{`allow = ["frobnicate_all"]`, "", `unknown system call "frobnicate_all"`},
		{"default = \"allow\"\ndeny = [\"frobnicate_all\"]", "", `unknown system call "frobnicate_all"`},
		{`deny = ["mout"]`, "", `did you mean "mount"?`},
		{`deny = ["@frobnicate"]`, "", `unknown group`},
	} {
		p, err := decodeOne("x.toml", []byte("version = 1\n[seccomp]\n"+c.text))
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %s", c.text, err, c.err)
			}
		case err != nil:
			t.Errorf("%s: %v", c.text, err)
		case len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], c.warning):
			t.Errorf("%s: %q", c.text, p.Warnings)
		default:
			if _, err := seccomp.Compile(p.Seccomp); err != nil {
				t.Error(err)
			}
		}
	}
}

// The largest text that is read does not keep anybody waiting: with work that
// grows by its square it was half a minute.
func TestTraceOfALargeText(t *testing.T) {
	text := "version = 1\n[seccomp]\nallow = [\n" + strings.Repeat("\"read\",\n", 110000) + "\"write\"]\n"
	places := places([]byte(text))
	if got := places["seccomp.allow[110000]"].line; got != 110004 {
		t.Errorf("the last of the list is said to be at line %d", got)
	}
}
