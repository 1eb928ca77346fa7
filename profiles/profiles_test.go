package profiles

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"hutch/seccomp"
)

// dump shows a profile with what its pointers point to.
func dump(p *Profile) string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func noLookup(name string) (*Profile, error) { return nil, errors.New("nothing to extend") }

func TestDecodeSaysWhereAndWhat(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", "p.toml: version: is missing"},
		{"version = 2\n", "p.toml:1:11: version: 2: this program reads version 1\n  version = 2\n            ^"},
		{"version = \"1\"\n", "p.toml:1:11: version: expected a whole number"},
		{"version = 1\nseccmop = 1\n", "p.toml:2:1: unknown key \"seccmop\": did you mean \"seccomp\"?\n  seccmop = 1\n  ^"},
		{"version = 1\n[limits]\n\tmemroy = \"1G\"\n", "p.toml:3:2: unknown key \"limits.memroy\": did you mean \"memory\"?\n  \tmemroy = \"1G\"\n  \t^"},
		{"version = 1\n[limts]\nmemory = 1\n", "p.toml:2:2: unknown key \"limts\": did you mean \"limits\"?"},
		{"version = 1\n[network]\nxyzzyplugh = 1\n", "known here are mode"},
		{"version = 1\n[limits]\nmemory = \"12Q\"\n", "p.toml:3:10: size \"12Q\": expected bytes"},
		{"version = 1\n[limits]\nmemory = -1\n", "p.toml:3:10: limits.memory: -1: is negative"},
		{"version = 1\n[limits]\nmemory = 5\n", "p.toml:3:10: limits.memory: 5 bytes are less than any program needs to start: the least is 524288"},
		{"version = 1\n[limits]\ncpu_weight = 10001\n", "p.toml:3:14: limits.cpu_weight: 10001: expected 1 to 10000"},
		{"version = 1\n[limits]\ncpuset = \"0-\"\n", "p.toml:3:10: limits.cpuset: \"0-\": expected a list of processors"},
		{"version = 1\n[limits]\ncpuset = \"3-1\"\n", "p.toml:3:10: limits.cpuset: \"3-1\": expected a list of processors"},
		{"version = 1\n[limits]\nio_read = [\"8:0:x\"]\n", "p.toml:3:12: limits.io_read[0]: size \"x\": expected bytes"},
		{"version = 1\n[limits]\nio_write_ops = [\"1\", \"0\"]\n", "p.toml:3:22: limits.io_write_ops[1]: \"0\": expected a number above 0"},
		{"version = 1\n[capabilities]\nadd = [\"sys_chrot\"]\n", "p.toml:3:8: capabilities.add[0]: capability \"sys_chrot\": did you mean \"sys_chroot\"?"},
		{"version = 1\n[capabilities]\nkeep = [\"all\", \"none\"]\n", "p.toml:3:16: capabilities.keep[1]: capability \"none\""},
		{"version = 1\n[filesystem]\nbind = [\"a:b:ro\"]\n", "p.toml:3:9: filesystem.bind[0]: target \"b\": must begin with /"},
		{"version = 1\n[filesystem]\nbind = [\"a:/b:rx\"]\n", "p.toml:3:9: filesystem.bind[0]: bind \"a:/b:rx\": the mode is \"rx\", expected ro or rw"},
		{"version = 1\n[filesystem]\ntmpfs = [\"/x:0\"]\n", "p.toml:3:10: filesystem.tmpfs[0]: size \"0\": expected more than nothing"},
		{"version = 1\n[limits]\nmemory = 1.5\n", "limits.memory: expected a size"},
		{"version = 1\n[limits]\ntimeout = \"5 parsecs\"\n", "p.toml:3:11: duration \"5 parsecs\": expected"},
		{"version = 1\n[limits]\ntimeout = 5\n", "p.toml:3:11: limits.timeout: a duration is a string"},
		{"version = 1\nlimits.timeout = 5\n", "p.toml:2:18: limits.timeout: a duration is a string"},
		{"version = 1\n[limits]\ncpus = -0.5\n", "p.toml:3:8: limits.cpus: -0.5"},
		{"version = 1\n[limits]\ncpus = inf\n", "limits.cpus: +Inf"},
		{"version = 1\n[limits]\ncpus = nan\n", "limits.cpus: NaN"},
		{"version = 1\n[network]\nmode = \"bridge\"\n", "p.toml:3:8: network.mode: \"bridge\": expected"},
		{"version = 1\n[process]\nworkdir = \"tmp\"\n", "p.toml:3:11: process.workdir: \"tmp\": must begin with /"},
		{"version = 1\n[process.env]\n\"A=B\" = \"x\"\n", "process.env.A=B"},
		{"version = 1\n[filesystem]\nhidden = [\"/a\",\n \"b\"]\n", "p.toml:4:2: filesystem.hidden[1]: \"b\": must begin with /"},
		{"version = 1\nextends = [\"a\", \"\"]\n", "p.toml:2:17: extends[1]: is empty"},
		{"version = 1\nextends = \"a\"\n", "extends: expected a list of strings"},
		{"version = 1\nextends = [\"a\"]\n", "p.toml:2:12: extends[0]: nothing to extend"},
		{"version = 1\n[seccomp]\nallow = [\"read\", \"opneat\"]\n", "p.toml:3:18: seccomp.allow[1]: unknown system call \"opneat\": did you mean \"openat\"?"},
		{"version = 1\n[seccomp]\ndeny = [\"@flie\"]\n", "p.toml:3:9: seccomp.deny[0]: unknown group"},
		{"version = 1\n[[seccomp.rules]]\ncalls = [\"read\"]\naction = \"allow\"\n[[seccomp.rules]]\ncalls = [\"write\"]\naction = \"alow\"\n", "p.toml:7:10: seccomp.rules[1].action"},
		{"version = 1\n[[seccomp.rules]]\ncalls = [\"read\"]\naction = \"allow\"\nargs = [{ index = 0, op = \"eq\", value = 1 },\n { index = 1, op = \"qe\", value = 1 }]\n", "p.toml:6:20: seccomp.rules[0].args[1].op"},
		{"version = 1\n[[seccomp.rules]]\ncalls = [\"read\"]\naction = \"allow\"\n[[seccomp.rules.args]]\nindex = 9\nop = \"eq\"\nvalue = 1\n", "p.toml:6:9: seccomp.rules[0].args[0].index"},
		{"version = 1\n[[seccomp.rules]]\naction = \"allow\"\n", "p.toml:2:3: seccomp.rules[0].calls: a rule must name"},
		{"version = 1\n[[seccomp.rules]]\ncall = [\"read\"]\naction = \"allow\"\n", "p.toml:3:1: unknown key \"seccomp.rules.call\": did you mean \"calls\"?"},
		{"version = 1\nversion = 1\n", "p.toml:2:1"},
		{"version = 1\n\x1b[31m = 1\n", "p.toml:2:1"},
		{"version = 1\n\xff\xfe\x00", "p.toml:2:1"},
		{"version = ", "p.toml:1:"},
	}
	for _, test := range tests {
		_, err := Decode("p.toml", []byte(test.text), noLookup)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q:\ngot  %v\nwant %s", test.text, err, test.want)
			continue
		}
		if !utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\x1b\x00") {
			t.Errorf("%q: the error would drive the terminal: %q", test.text, err)
		}
	}
}

func TestDecodeTakes(t *testing.T) {
	p, err := Decode("/x/mine.toml", []byte(`version = 1
[limits]
memory = "1.5G"
output_limit = 4096
swap = 0
timeout = "2m"
[landlock]
scopes = false
[[seccomp.rules]]
calls = ["socket"]
action = "allow"
args = [{ index = 0, op = "masked_eq", mask = 0xffffffff, value = "AF_INET" }, { index = 1, op = "eq", value = 5 }]
`), noLookup)
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "mine" || p.Limits.Memory != 3<<29 || p.Limits.Output != 4096 || p.Limits.Timeout.Std() != 2*time.Minute {
		t.Errorf("got %s", dump(p))
	}
	if p.Limits.Swap == nil || *p.Limits.Swap != 0 || p.Limits.CoreSize != nil {
		t.Error("swap = 0 and a core_size that is not said are alike")
	}
	if p.Landlock.Scopes == nil || *p.Landlock.Scopes || p.Landlock.Filesystem != nil {
		t.Error("scopes = false and filesystem that is not said are alike")
	}
	want := []seccomp.Arg{{Index: 0, Op: "masked_eq", Value: "AF_INET", Mask: "0xffffffff"}, {Index: 1, Op: "eq", Value: "5"}}
	if got := p.Seccomp.Rules[0].Args; !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestDecodeIsBounded(t *testing.T) {
	huge := append([]byte("version = 1\n#"), bytes.Repeat([]byte("x"), maxInput)...)
	if _, err := Decode("p", huge, noLookup); !errors.Is(err, errTooLarge) {
		t.Errorf("got %v, want %v", err, errTooLarge)
	}
	file := filepath.Join(t.TempDir(), "huge.toml")
	writeFile(t, file, string(huge))
	for _, path := range []string{file, "/dev/zero", t.TempDir() + "/"} {
		if _, err := Load(path); err == nil {
			t.Errorf("%s is a profile", path)
		}
	}
	fifo := filepath.Join(t.TempDir(), "fifo.toml")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(fifo); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("fifo: %v", err)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoadErrors(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		"a": `version = 1
extends = ["b"]`,
		"b": `version = 1
extends = ["./a.toml"]`,
		"self": `version = 1
extends = ["self"]`,
		"itself": `version = 1
extends = ["./itself.toml"]`,
		"leaves": `version = 1
extends = ["../` + filepath.Base(outside) + `/x.toml"]`,
		"linked": `version = 1
extends = ["./link.toml"]`,
		"missing": `version = 1
extends = ["defualt"]`,
	} {
		writeFile(t, filepath.Join(dir, name+".toml"), text)
	}
	writeFile(t, filepath.Join(outside, "x.toml"), "version = 1\n")
	if err := os.Symlink(filepath.Join(outside, "x.toml"), filepath.Join(dir, "link.toml")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a":         "circle",
		"itself":    "itself.toml extends itself",
		"self":      "unknown profile \"self\"",
		"leaves":    "outside of the directories",
		"linked":    "outside of the directories",
		"missing":   "did you mean \"default\"?",
		"strcit":    "did you mean \"strict\"?",
		"./no.toml": "no such file",
	} {
		_, err := Load(name, dir)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

func TestLoadMerges(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "far.toml"), `version = 1
[limits]
memory = "1G"
pids = 10
[process.env]
A = "far"
B = "far"
[capabilities]
add = ["CAP_CHOWN", "kill"]
drop = ["setuid"]
[filesystem]
hidden = ["/h1"]
bind = ["/x:/data:ro", "/y:/other"]
[seccomp]
allow = ["kcmp", "acct", "mount"]
`)
	writeFile(t, filepath.Join(dir, "second.toml"), `version = 1
[limits]
pids = 20
[seccomp]
deny = ["acct"]
`)
	writeFile(t, filepath.Join(dir, "near.toml"), `version = 1
extends = ["default", "far", "second"]
[limits]
memory = "2G"
[process.env]
A = "near"
[capabilities]
drop = ["chown"]
add = ["CAP_SETUID"]
[filesystem]
hidden = ["/h2"]
bind = ["/z:/data"]
[seccomp]
allow = ["@process", "@network"]
deny = ["mount", "read"]
`)
	p, err := Load("near", dir)
	if err != nil {
		t.Fatal(err)
	}
	if p.Limits.Memory != 2<<30 || p.Limits.Processes != 20 {
		t.Errorf("limits: %+v", p.Limits)
	}
	if p.Process.Env["A"] != "near" || p.Process.Env["B"] != "far" {
		t.Errorf("env: %v", p.Process.Env)
	}
	if got := strings.Join(p.Capabilities.Add, " ") + "/" + strings.Join(p.Capabilities.Drop, " "); got != "kill CAP_SETUID/chown" {
		t.Errorf("capabilities: %s", got)
	}
	if got := strings.Join(p.Filesystem.Bind, " "); got != "/y:/other /z:/data" {
		t.Errorf("bind: %s", got)
	}
	if got := strings.Join(p.Filesystem.Hidden, " "); !strings.HasSuffix(got, " /h1 /h2") || !strings.Contains(got, "/proc/keys ") {
		t.Errorf("hidden: %s, expected the base's paths and both profiles'", got)
	}
	f, err := p.Filter("")
	if err != nil {
		t.Fatal(err)
	}
	for call, want := range map[string]string{
		"kcmp": "allow", "acct": "EPERM", "mount": "EPERM", "read": "EPERM", "write": "allow",
		"clone3": "ENOSYS", "socket": "EAFNOSUPPORT", "getxattr": "allow",
	} {
		nr, _ := seccomp.Number(seccomp.Native(), call)
		if got := outcome(f, seccomp.Native(), nr, [6]uint64{}); got != want {
			t.Errorf("%s: %s, want %s", call, got, want)
		}
	}
}

// A profile that only sets a limit has the built-in filter, and a user's file
// may take a built-in name and extend it.
func TestLoadKeepsTheBuiltinFilter(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "default.toml"), `version = 1
extends = ["default"]
[limits]
memory = "1G"
`)
	p, err := Load("default", dir)
	if err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(dir, "cache")
	f, err := p.Filter(cache)
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := BuiltinFilter("default"); !bytes.Equal(f, want) {
		t.Error("another filter")
	}
	if _, err := os.Stat(cache); err == nil {
		t.Error("the cache was used")
	}
}

func TestBuiltinIsACopy(t *testing.T) {
	a, _ := Builtin("default")
	a.Seccomp.Rules[0].Calls[0] = "mount"
	b, _ := Builtin("default")
	if b.Seccomp.Rules[0].Calls[0] == "mount" {
		t.Error("a change reaches the next caller")
	}
	if _, ok := Builtin("none"); ok {
		t.Error("there is a profile \"none\"")
	}
	if _, ok := BuiltinFilter("none"); ok {
		t.Error("there is a filter \"none\"")
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "512": 512, "1K": 1 << 10, "512M": 512 << 20, "1G": 1 << 30, "2T": 2 << 40, "1.5G": 3 << 29,
		"1KiB": 1 << 10, "1kb": 1 << 10, "10B": 10, "9007199254740993": 9007199254740993,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
		if got, err := ParseSize(want.String()); err != nil || got != want {
			t.Errorf("%d is written %q: %d, %v", want, want, got, err)
		}
	}
	for _, text := range []string{"", "M", "-1", "+1", "1e3", "0x10", "1_000", "Inf", "NaN", "1.1.1", "1 G", "1GG", "1BB", "1iB", "1P", "0.5", "8388608T", "99999999999999999999", strings.Repeat("9", 400)} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1.5s": 1500 * time.Millisecond, "2m": 2 * time.Minute, "1h30m": 90 * time.Minute, "100ms": 100 * time.Millisecond, "3": 3 * time.Second, "0": 0,
	} {
		if got, err := ParseDuration(text); err != nil || got.Std() != want {
			t.Errorf("%q: %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "s", "-1s", "1d", "1 s", "forever", "999999999h", "1e3s"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	files, _ := filepath.Glob("*.toml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("version = 1\n[[seccomp.rules]]\ncalls = [\"read\"]\n[[seccomp.rules.args]]\nindex = 9\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Decode("p.toml", data, func(name string) (*Profile, error) {
			if q, ok := Builtin(name); ok {
				return q, nil
			}
			return nil, errors.New("unknown")
		})
		if err != nil {
			var place *Error
			if !errors.As(err, &place) || strings.ContainsRune(err.Error(), 0x1b) {
				t.Errorf("%q", err)
			}
			return
		}
		if p.Seccomp != nil {
			if err := p.Seccomp.Check(); err != nil {
				t.Errorf("merged: %v", err)
			}
		}
	})
}
