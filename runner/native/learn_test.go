package native

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hutch/runner"
)

func TestInterpreter(t *testing.T) {
	for text, want := range map[string]string{
		"#!/bin/sh\n":                 "/bin/sh",
		"#! /usr/bin/env -S python\n": "/usr/bin/env",
		"#!":                          "",
		"#!\n/bin/sh":                 "",
		"":                            "",
		"\x7fELF":                     "",
		"text":                        "",
	} {
		if got := interpreter(bytes.NewReader([]byte(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	static, err := os.ReadFile(filepath.Join(probeRoot, "bin/probe"))
	if err != nil {
		t.Fatal(err)
	}
	if got := interpreter(bytes.NewReader(static)); got != "" {
		t.Errorf("a static program: %q", got)
	}
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if got := interpreter(bytes.NewReader(shell)); !filepath.IsAbs(got) {
		t.Errorf("/bin/sh: %q", got)
	}
}

// What was made in the run is named by where it was made.
func TestLearnerAnchors(t *testing.T) {
	l := newLearner(&runner.Spec{})
	l.keep(learned{made: []string{"/tmp/a/b", "/tmp/a", "/srv/new"}})
	for name, want := range map[string]string{
		"/tmp/a/b/c": "/tmp", "/tmp/a": "/tmp", "/tmp/b": "/tmp/b", "/srv/new": "/srv", "/srv/old": "/srv/old",
		"/proc/12/maps": "/proc", "/dev/pts/3": "/dev/pts", "/dev/null": "/dev/null", "/": "/",
	} {
		if got := l.anchor(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	l.keep(learned{uses: []runner.Use{{Kind: "read", Name: "/tmp/a/x"}, {Kind: "bind", Name: "127.0.0.1:80"}}})
	var got []string
	for u := range l.uses {
		got = append(got, u.Kind+" "+u.Name)
	}
	slices.Sort(got)
	if want := []string{"bind 127.0.0.1:80", "read /tmp"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A program is the application's to shape.
func FuzzInterpreter(f *testing.F) {
	f.Add([]byte("#!/bin/sh"))
	if shell, err := os.ReadFile("/bin/true"); err == nil {
		f.Add(shell[:min(len(shell), 8192)])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := interpreter(bytes.NewReader(b)); len(got) > 4096 {
			t.Errorf("%d bytes of name", len(got))
		}
	})
}
