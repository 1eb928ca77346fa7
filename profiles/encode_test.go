package profiles

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"hutch/seccomp"
)

// encodeAndRead writes p and reads it back, what it extends aside.
func encodeAndRead(t *testing.T, p *Profile, e Encoder) (*Profile, string) {
	t.Helper()
	var b bytes.Buffer
	if err := e.Encode(&b, p); err != nil {
		t.Fatal(err)
	}
	back, err := decodeOne("x.toml", b.Bytes())
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	return back, b.String()
}

func TestEncodeReadsBack(t *testing.T) {
	for _, name := range BuiltinNames() {
		data, err := os.ReadFile(name + ".toml")
		if err != nil {
			t.Fatal(err)
		}
		p, err := decodeOne("x.toml", data)
		if err != nil {
			t.Fatal(err)
		}
		comment := func(path string) string { return "at " + path + "\nand \x1b[31m more" }
		for _, e := range []Encoder{{}, {Above: comment}, {Behind: comment}, {comment, comment}} {
			back, text := encodeAndRead(t, p, e)
			if dump(back) != dump(p) {
				t.Errorf("%s: read back\n%s\nwant\n%s\ntext\n%s", name, dump(back), dump(p), text)
			}
			if strings.Contains(text, "\x1b") {
				t.Errorf("%s: a comment speaks to the terminal", name)
			}
		}
	}
}

func TestEncodeEveryKey(t *testing.T) {
	text := `version = 1
description = "quote \" backslash \\ line \n bell \u0007 ü"
extends = ["base", "./x.toml"]

[process]
user = "1:2"
workdir = "/"
env = { A = "1", "b.c" = "=\n" }
hostname = "h"
stop_signal = "INT"
init = false

[namespaces]
id_map = "single"

[filesystem]
read_only = false
disk = "1536K"
inodes = 7
bind = ["/a:/b:rw"]
tmpfs = ["/t:1M"]
hidden = ["/x"]
protected = ["/y"]

[limits]
memory = 1000000
swap = 0
cpus = 1.0
cpu_weight = 10
cpuset = "0-1"
pids = 3
open_files = 4
file_size = "1G"
core_size = 0
timeout = "1m0s"
grace = "1.5s"
cpu_time = "10s"
output_limit = "1M"
io_read = ["1M"]
io_write = ["1M"]
io_read_ops = ["9"]
io_write_ops = ["9"]

[capabilities]
keep = []
add = ["chown"]
drop = ["CAP_KILL"]

[network]
mode = "none"

[seccomp]
default = "errno"
errno = "ENOSYS"
newer = "default"
architectures = ["x86"]
allow = ["@file"]
deny = ["mount"]

[[seccomp.rules]]
calls = ["socket", "socketpair"]
action = "errno"
errno = "EPERM"
args = [
  { index = 0, op = "masked_eq", mask = 0xffffffff, value = "AF_INET|AF_UNIX" },
]
reason = "why"

[landlock]
filesystem = true
scopes = false
`
	p, err := decodeOne("x.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	back, got := encodeAndRead(t, p, Encoder{})
	if dump(back) != dump(p) {
		t.Errorf("read back\n%s\nwant\n%s", dump(back), dump(p))
	}
	if got != text {
		t.Errorf("got\n%s\nwant\n%s", got, text)
	}
}

// Whatever a text holds, what was read of it can be written and read back.
func FuzzEncode(f *testing.F) {
	f.Add("a \"b\" \\c", "x y", "0x10|AF_INET", true)
	f.Add(strings.Repeat("wide \"quoted\" ", 12)+"\\", "a\nb", "-1", false)
	f.Fuzz(func(t *testing.T, description, reason, value string, fold bool) {
		p := &Profile{Version: Version, Description: strings.ToValidUTF8(description, "?")}
		if fold {
			p.Description = strings.ReplaceAll(p.Description, "\n", " ")
		}
		p.Seccomp = &seccomp.Policy{Rules: []seccomp.Rule{{
			Calls: []string{"read"}, Action: "allow", Reason: strings.ToValidUTF8(reason, "?"),
			Args: []seccomp.Arg{{Index: 1, Op: "eq", Value: seccomp.Value(strings.ToValidUTF8(value, "?"))}},
		}}}
		if p.checkSeccomp() != nil {
			return
		}
		back, text := encodeAndRead(t, p, Encoder{})
		back.Name = ""
		if dump(back) != dump(p) {
			t.Errorf("read back\n%s\nwant\n%s\ntext\n%s", dump(back), dump(p), text)
		}
	})
}
