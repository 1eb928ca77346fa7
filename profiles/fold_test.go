package profiles

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"hutch/seccomp"
)

// fits reports every line that a terminal of 80 columns would break.
func fits(t *testing.T, name, text string) {
	t.Helper()
	for i, line := range strings.Split(text, "\n") {
		if n := utf8.RuneCountInString(line); n > lineWidth {
			t.Errorf("%s: line %d has %d columns: %s", name, i+1, n, line)
		}
	}
}

// What profile show prints, with and without the places, and reads back.
func TestEncodeFitsInto80Columns(t *testing.T) {
	for _, name := range BuiltinNames() {
		p, o, err := Trace(name)
		must(t, err)
		for _, e := range []Encoder{{}, {Behind: o.Of}} {
			back, text := encodeAndRead(t, p, e)
			fits(t, name, text)
			if got, want := said(back), said(p); got != want {
				t.Errorf("%s read back:\n%s\nwant\n%s", name, got, want)
			}
		}
	}
	data, err := os.ReadFile("testdata/docker/default.json")
	must(t, err)
	p, _, err := DecodeOCI("docker.json", data, Target{Arch: seccomp.Native(), Capabilities: DockerCapabilities()})
	must(t, err)
	back, text := encodeAndRead(t, p, Encoder{})
	fits(t, "docker", text)
	if got, want := said(back), said(p); got != want {
		t.Errorf("docker read back:\n%s\nwant\n%s", got, want)
	}
}

// said is a profile without what its text does not say.
func said(p *Profile) string {
	c := *p
	c.Name, c.Warnings = "", nil
	if c.Seccomp != nil {
		c.Seccomp = c.Seccomp.Clone()
		for i := range c.Seccomp.Rules {
			c.Seccomp.Rules[i].Rank = 0
		}
	}
	return dump(&c)
}

func TestEncodeFoldsWhatIsLong(t *testing.T) {
	long := strings.Repeat("0123456789", 30)
	p := &Profile{Version: 1, Description: "  " + long + "   \t\"\"\" \\ " + strings.Repeat("ü ", 70) + "  "}
	p.Process.Env = map[string]string{"A": long, "B": " b", "PATH": strings.Repeat("/usr/bin:", 20)}
	p.Filesystem.Bind = []string{"/" + long + ":/x", "/a:/b", "/" + strings.Repeat("dir/", 40) + ":/y:ro"}
	flags := seccomp.Value(strings.TrimSuffix(strings.Repeat("CLONE_NEWUSER|", 12), "|"))
	p.Seccomp = &seccomp.Policy{Rules: []seccomp.Rule{{
		Calls: []string{"clone"}, Action: "allow", Reason: long,
		Args: []seccomp.Arg{
			{Index: 0, Op: "masked_eq", Mask: flags, Value: flags},
			{Index: 1, Op: "masked_eq", Mask: "0x7fffffffffffffff", Value: "0x7fffffffffffffff"},
			{Index: 2, Op: "masked_eq", Mask: "0xffffffffffffffff", Value: "0xffffffffffffffff"},
		},
	}}}
	place := func(string) string { return "a-file-with-a-name.toml:1234" }
	for _, e := range []Encoder{{}, {Behind: place}, {Above: place}} {
		back, text := encodeAndRead(t, p, e)
		fits(t, "long", text)
		if got, want := said(back), said(p); got != want {
			t.Errorf("read back:\n%s\nwant\n%s\ntext\n%s", got, want, text)
		}
	}
}

func FuzzFolded(f *testing.F) {
	f.Add("a  b|c \\ \" \n \x00 " + strings.Repeat(" ", 90) + strings.Repeat("|x", 90))
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		text := "version = 1\ndescription = " + folded(s, "    ") + "\n"
		p, err := decodeOne("x.toml", []byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if p.Description != s {
			t.Errorf("%q came back as %q\n%s", s, p.Description, text)
		}
		fits(t, "folded", text)
	})
}
