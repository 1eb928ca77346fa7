package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A row that was not measured must never look as if it had been.
func TestReportOfFaults(t *testing.T) {
	r := row{what: "start", unit: "ms", compare: ratio, target: 1}
	good := samples{peerName: "bwrap 1", ours: []float64{1, 1, 1}, peer: []float64{2, 2, 2}}
	tests := []struct {
		name   string
		s      samples
		err    error
		want   string // in the line
		faulty bool
	}{
		{"measured", good, nil, "yes", false},
		{"missed", samples{ours: []float64{3}, peer: []float64{2}}, nil, "NO", false},
		{"ours failed", good, errors.New("hutch run exited 125: no"), "NO: hutch run exited 125: no", true},
		{"nothing", samples{}, nil, "NO: no sample", true},
		{"no peer", samples{}, missingPeer{"crun", "apt-get install crun"}, "not measured", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := r.summarize(tt.s, tt.err)
			if got.faulty() != tt.faulty {
				t.Errorf("faulty = %v, want %v", got.faulty(), tt.faulty)
			}
			line := strings.Join(got.cells(), "|")
			if !strings.HasSuffix(line, tt.want) {
				t.Errorf("line %q does not end in %q", line, tt.want)
			}
			if tt.err != nil && (strings.Contains(line, "0.50") || got.Met || got.Ours != 0) {
				t.Errorf("an error beside a figure: %q, %+v", line, got)
			}
		})
	}
}

func TestReportNamesMissingPeers(t *testing.T) {
	missing := missingPeer{"crun", "apt-get install crun"}
	r := row{what: "start", compare: ratio}
	var out bytes.Buffer
	if err := report(&out, machine{CPU: "x"}, []result{r.summarize(samples{}, missing), r.summarize(samples{}, missing)}, false); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "missing peer: crun is missing: apt-get install crun"); n != 1 {
		t.Errorf("the missing peer is named %d times at the end, want once:\n%s", n, &out)
	}
}

func TestReportJSON(t *testing.T) {
	r := row{name: "a", unit: "ms", compare: difference, target: 1}
	var out bytes.Buffer
	res := r.summarize(samples{ours: []float64{3, 4}, peer: []float64{2, 2}}, nil)
	if err := report(&out, machine{Cores: 4}, []result{res}, true); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Machine machine
		Rows    []map[string]any
	}
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if back.Machine.Cores != 4 || len(back.Rows) != 1 || back.Rows[0]["value"] != 1.5 || back.Rows[0]["met"] != false {
		t.Errorf("JSON reads back as %+v", back)
	}
}

func TestSumInit(t *testing.T) {
	trace := "noise\ninit a @0.01 ms, 0.25 ms clock, 0 bytes, 0 allocs\ninit b/c @1 ms, 0.5 ms clock, 16 bytes, 1 allocs\n"
	if got, err := sumInit([]byte(trace)); err != nil || got != 0.75 {
		t.Errorf("sumInit = %v, %v, want 0.75", got, err)
	}
	for _, bad := range []string{"", "hutch: no such option\n", "init a @0.01 ms, many ms clock, 0 bytes, 0 allocs\n"} {
		if got, err := sumInit([]byte(bad)); err == nil {
			t.Errorf("sumInit(%q) = %v, want an error", bad, got)
		}
	}
}

func TestVersion(t *testing.T) {
	for text, want := range map[string]string{
		"bubblewrap 0.8.0\n":                           "0.8.0",
		"runc version 1.1.5+ds1\ncommit: 1.1.5\n":      "1.1.5+ds1",
		"tar (GNU tar) 1.34\nCopyright (C) 2021 Free.": "1.34",
		"": "?",
	} {
		if got := version(text); got != want {
			t.Errorf("version(%q) = %q, want %q", text, got, want)
		}
	}
}

// A command that fails gives no time, but its status and its words.
func TestWall(t *testing.T) {
	b := bench{temp: t.TempDir()}
	if s, err := b.wall(command{name: "sleep", argv: []string{"/bin/sleep", "0.05"}}); err != nil || s < 0.05 || s > 5 {
		t.Errorf("wall of sleep 0.05 = %v, %v", s, err)
	}
	_, err := b.wall(command{name: "hutch run", argv: []string{"/bin/sh", "-c", "echo first >&2; echo no root >&2; exit 125"}})
	if err == nil || err.Error() != "hutch run exited 125: no root" {
		t.Errorf("error = %v", err)
	}
	_, err = b.wall(command{name: "hutch run", argv: []string{"/bin/sh", "-c", "kill -9 $$"}})
	if err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("error = %v", err)
	}
	if _, err := b.wall(command{name: "hutch run", argv: []string{filepath.Join(b.temp, "none")}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error = %v, want one of a missing file", err)
	}
}

// The loop program must not print a time for calls that fail.
func TestLoopProgram(t *testing.T) {
	program := filepath.Join(t.TempDir(), "loop")
	if err := compileLoop(program); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"getppid", "1000"}, {"filtered", "1000"}, {"openat", "1000", "/dev/null"}} {
		ns, err := printedNumber(command{name: "loop", argv: append([]string{program}, args...)})
		if err != nil || ns <= 0 {
			t.Errorf("loop %v = %v, %v", args, ns, err)
		}
	}
	for _, args := range [][]string{{"openat", "1000", "/nowhere"}, {"getppid", "none"}, nil} {
		if ns, err := printedNumber(command{name: "loop", argv: append([]string{program}, args...)}); err == nil {
			t.Errorf("loop %v = %v, want an error", args, ns)
		}
	}
}

func TestPick(t *testing.T) {
	if all, err := pick(""); err != nil || len(all) != len(rows()) {
		t.Errorf("pick of nothing: %d rows, %v", len(all), err)
	}
	if two, err := pick("init,memory"); err != nil || len(two) != 2 || two[1].name != "memory" {
		t.Errorf("pick = %+v, %v", two, err)
	}
	if _, err := pick("strat"); err == nil || !strings.Contains(err.Error(), "start-bwrap") {
		t.Errorf("error = %v, want one that lists the names", err)
	}
}

// Memory counts what hutch is, and not the application.
func TestDescendants(t *testing.T) {
	pss, err := pssKiB(os.Getpid())
	if err != nil || pss <= 0 {
		t.Errorf("own PSS = %v, %v", pss, err)
	}
	if got := descendants(os.Getpid()); len(got) == 0 || got[0] != os.Getpid() {
		t.Errorf("descendants = %v", got)
	}
}
