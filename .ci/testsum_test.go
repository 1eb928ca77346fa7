package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	passed  = `{"Action":"run","Package":"p","Test":"A"}` + "\n" + `{"Action":"pass","Package":"p","Test":"A"}` + "\n"
	failed  = `{"Action":"output","Package":"p","Test":"B","Output":"wrong\n"}` + "\n" + `{"Action":"fail","Package":"p","Test":"B"}` + "\n"
	skipped = `{"Action":"output","Package":"p","Test":"C/x","Output":"    a_test.go:1: no disk\n"}` + "\n" + `{"Action":"skip","Package":"p","Test":"C/x"}` + "\n"
	ended   = `{"Action":"pass","Package":"p","Elapsed":1}` + "\n"
)

func TestSummary(t *testing.T) {
	tests := []struct {
		name, input, allowed string
		forbid, ok           bool
		want                 string
	}{
		{"all passed", passed + ended, "", true, true, "root: 1 passed, 0 failed, 0 skipped\n"},
		{"nothing ran", ended, "", false, false, "FAIL no test passed\n"},
		{"no input", "", "", false, false, "root: 0 passed"},
		{"failed", passed + failed, "", false, false, "wrong\nFAIL p B\nroot: 1 passed, 1 failed"},
		{"skip", passed + skipped, "", false, true, "SKIP p C/x: a_test.go:1: no disk\nroot: 1 passed, 0 failed, 1 skipped"},
		{"skip forbidden", passed + skipped, "", true, false, "SKIP p C/x"},
		{"skip allowed", passed + skipped, "root p C/* no disk", true, true, "skip, allowed: p C/x"},
		{"allowed for another user", passed + skipped, "rootless p C/* no disk", true, false, "SKIP p C/x"},
		{"allowed for another reason", passed + skipped, "root p C/* no net", true, false, "SKIP p C/x"},
		{"allowed in another package", passed + skipped, "any q C/* no disk", true, false, "SKIP p C/x"},
		{"does not compile", passed + "a.go:1: undefined\n" + `{"Action":"fail","Package":"q"}` + "\n", "", false, false, "a.go:1: undefined\nFAIL q"},
		{
			"died in a test",
			passed + `{"Action":"run","Package":"p","Test":"D"}` + "\n" + `{"Action":"output","Package":"p","Test":"D","Output":"panic: x\n"}` +
				"\n" + `{"Action":"fail","Package":"p"}` + "\n",
			"", false, false, "FAIL p D (did not end)\nroot: 1 passed, 1 failed",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			s := newSummary("root", &out, new(strings.Builder))
			s.forbid = tt.forbid
			list := filepath.Join(t.TempDir(), "allowed")
			if err := os.WriteFile(list, []byte("# comment\n\n"+tt.allowed+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			var err error
			if s.allowed, err = readAllowed(list, "root"); err != nil {
				t.Fatal(err)
			}
			if err := s.read(strings.NewReader(tt.input)); err != nil {
				t.Fatal(err)
			}
			if ok := s.close(); ok != tt.ok || !strings.Contains(out.String(), tt.want) {
				t.Errorf("ok = %v, want %v; want %q in:\n%s", ok, tt.ok, tt.want, &out)
			}
		})
	}
}

// A skip without words would allow any reason.
func TestAllowedNeedsAMessage(t *testing.T) {
	list := filepath.Join(t.TempDir(), "allowed")
	if err := os.WriteFile(list, []byte("root p C\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readAllowed(list, "root"); err == nil {
		t.Errorf("readAllowed = %v, want an error", got)
	}
}
