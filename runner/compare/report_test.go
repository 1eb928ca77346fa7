package compare

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func ptr[T any](v T) *T { return &v }

// sample is a report in which everything occurs.
func sample() *Report {
	r := &Report{
		Version: ReportVersion, Made: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Hutch: "1.0 (commit abc)",
		Root: "/srv/root", Rounds: 10, Reference: "native", Options: []string{"--memory=1G"},
		Machine: Machine{
			Kernel: "Linux 6.18 x86_64", Processor: "Example 9000", Processors: 2, MemoryBytes: 8 << 30,
			FileSystem: "ext4", Disk: "vda", Cgroup: "v2", Hypervisor: true, Mitigations: []string{"meltdown: Not affected"},
		},
		Sides: []SideInfo{
			{
				Name: "native", Kind: kindEngine, Version: "1.0", CommandLine: []string{"hutch", "run", "/srv/root"},
				Inside:    &Inside{Kernel: "Linux 6.18", Processors: 2, Capabilities: 12, Devices: 6, Mounts: 18},
				Isolation: &Isolation{SameKernel: ptr(true), SystemCalls: ptr(300), AllSystemCalls: 385, Boundary: "work", Namespaces: ptr(7), HostCapabilities: ptr(0), NoNewPrivs: ptr(true), HostRoot: ptr(false)},
			},
			{Name: "tcg", Kind: kindEngine, Version: "1.0", Inside: &Inside{Kernel: "Linux 6.1"}, Isolation: &Isolation{SameKernel: ptr(false), AllSystemCalls: 385, Boundary: "qemu"}, Processes: [][]string{{"qemu", "-M", "q35"}}},
			{Name: "kvm", Kind: kindEngine, Version: "1.0", Why: "/dev/kvm does not work"},
		},
		Growth: []Growth{{Side: "native", Points: []GrowthPoint{{1, 0.01, 4 << 20, 100}, {2, 0.012, 3 << 20, 190}, {4, 0.02, 2 << 20, 210}}, Why: "the time for it was up"}},
	}
	for _, w := range []struct {
		name, group, unit string
		higher            bool
		native, tcg       float64
		cost              *Cost
		why               string
	}{
		{"start-first", "start", "ms", false, 5, 3000, nil, ""},
		{"getppid", "system calls", "ns", false, 200, 2000, &Cost{CPUSeconds: ptr(1.0), Steal: ptr(0.1)}, ""},
		{"integer", "processor", "ns", false, 2, 2, nil, ""},
		{"copy", "memory", "GB/s", true, 40, 4, nil, ""},
		{"disk-random-write", "disk", "us", false, 300, 400, &Cost{WrittenBytes: ptr(4e6), ReadBytes: ptr(0.0), Operations: ptr(300.0), PageCacheBytes: ptr(4e6)}, ""},
		{"compile", "whole jobs", "ms", false, 0, 0, nil, "the root has no cc"},
	} {
		row := Row{Name: w.name, Group: w.group, Unit: w.unit, Higher: w.higher, About: "about " + w.name}
		for i, v := range []float64{w.native, w.tcg} {
			c := Cell{Side: []string{"native", "tcg"}[i], Why: w.why, Cost: w.cost}
			for n := range 10 {
				if w.why == "" {
					c.Samples = append(c.Samples, v*(1+0.01*float64((n*7+i*3)%10)))
				}
			}
			row.Cells = append(row.Cells, c)
		}
		r.Rows = append(r.Rows, row)
	}
	r.finish()
	return r
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run with -update and read the difference\n%s", name, got)
	}
}

func TestText(t *testing.T) {
	for _, width := range []int{80, 120} {
		var b bytes.Buffer
		if err := sample().WriteText(&b, Style{Width: width}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > width {
				t.Errorf("%d columns where there are %d: %s", n, width, line)
			}
		}
		if strings.Contains(b.String(), "\x1b") {
			t.Error("colour that was not asked for")
		}
		golden(t, map[int]string{80: "report80.txt", 120: "report120.txt"}[width], b.Bytes())
	}
	var b bytes.Buffer
	if err := sample().WriteText(&b, Style{Width: 80, Color: true}); err != nil || !strings.Contains(b.String(), "\x1b[1m") {
		t.Errorf("no colour where it was asked for: %v", err)
	}
}

// An emulated guest never stands where one on KVM would.
func TestEmulationHasItsOwnName(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteText(&b, Style{Width: 120}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(strings.TrimSpace(line), "kvm ") {
			t.Errorf("a result in the name of kvm, which did not run: %s", line)
		}
	}
	if !strings.Contains(b.String(), "kvm did not take part: /dev/kvm does not work.") {
		t.Error("nothing says why there is no kvm")
	}
}

// What is written is read back as it was, and shown the same.
func TestReadBack(t *testing.T) {
	name := filepath.Join(t.TempDir(), "r.json")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := sample().Write(f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	r, err := Read(name)
	if err != nil {
		t.Fatal(err)
	}
	var a, b bytes.Buffer
	if err := sample().WriteHTML(&a); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("the page differs after a round trip through JSON")
	}
}

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"version": 2}`, "report version 2, this hutch reads version 1"},
		{`{}`, "report version none"},
		{`hello`, "not a report"},
		{``, "not a report"},
		{`{"version": 1, "rounds": "x"}`, "not a report"},
		{`{"version": 1, "sides": [{"name": "a"}], "rows": [{"name": "w", "cells": [{"side": "a", "samples": [-1]}]}]}`, "less than nothing"},
		{`{"version": 1, "growth": [{"side": "a", "points": [{"n": 9223372036854775807}]}]}`, "cannot have been measured"},
		{`{"version": 1, "rows": [{"name": "a", "cells": [{"side": "nobody"}]}]}`, `side "nobody" that the report does not describe`},
	} {
		name := filepath.Join(t.TempDir(), "r.json")
		if err := os.WriteFile(name, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(name); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v, want %q and the file's name", c.text, err, c.want)
		}
	}
}

// Two reports side by side are measured by the first one's reference.
func TestMerge(t *testing.T) {
	slow := sample()
	for i := range slow.Rows {
		for j := range slow.Rows[i].Cells {
			for k := range slow.Rows[i].Cells[j].Samples {
				slow.Rows[i].Cells[j].Samples[k] *= 2
			}
		}
	}
	slow.finish()
	m := Merge([]string{"old", "new"}, []*Report{sample(), slow})
	c := m.row("getppid").cell("new: native")
	if c == nil || c.Ratio == nil || !c.Ratio.Differs || c.Ratio.Value != 2 {
		t.Errorf("twice as slow is %+v", c)
	}
	if m.Reference != "old: native" || len(m.Sides) != 6 || m.row("getppid").cell("old: native").Ratio != nil {
		t.Errorf("reference %q, %d sides", m.Reference, len(m.Sides))
	}
}

// Whatever a report says, its page holds no markup but ours.
func TestPageEscapes(t *testing.T) {
	r := sample()
	const evil = `"><script>alert(1)</script><img src=x onerror='a'>`
	r.Command, r.Root, r.Hutch, r.Machine.Processor = []string{evil}, evil, evil, evil
	r.Rows[0].Name, r.Rows[0].About, r.Rows[0].Group = evil, evil, evil
	r.Sides[2].Why, r.Sides[1].CommandLine, r.Growth[0].Why = evil, []string{evil}, evil
	r.Sides[0].Name, r.Reference, r.Growth[0].Side = evil, evil, evil
	for i := range r.Rows {
		r.Rows[i].Cells[0].Side = evil
	}
	r.finish()
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "<img", "onerror='"} {
		if strings.Contains(b.String(), bad) {
			t.Errorf("the page holds %s", bad)
		}
	}
	// Nothing is fetched from anywhere.
	for _, bad := range []string{"http:", "https:", "url(", "@import", "src="} {
		if strings.Contains(strings.ReplaceAll(b.String(), escape(evil), ""), bad) {
			t.Errorf("the page refers to something: %s", bad)
		}
	}
}

func FuzzReport(f *testing.F) {
	data, err := json.Marshal(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"growth":[{"side":"x","points":[{"n":0},{"n":-1,"start_seconds":1e308}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decode(bytes.NewReader(data))
		if err != nil {
			return
		}
		r.finish()
		var b bytes.Buffer
		if r.WriteText(&b, Style{Width: 80}) != nil || r.WriteHTML(&b) != nil {
			t.Error("a report that is read cannot be shown")
		}
	})
}
