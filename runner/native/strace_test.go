package native

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hutch/runner"
)

// printed is the names of the calls that WriteSyscalls prints for a process.
func printed(t *testing.T, s *runner.Spec, who string) []string {
	t.Helper()
	var b strings.Builder
	if err := New().WriteSyscalls(&b, s); err != nil {
		t.Fatal(err)
	}
	var names []string
	in := ""
	for line := range strings.Lines(b.String()) {
		line = strings.TrimRight(line, "\n")
		switch {
		case !strings.HasPrefix(line, " "):
			in, _, _ = strings.Cut(line, ",")
		case strings.HasPrefix(line, "  # "):
		case in == who:
			name, _, _ := strings.Cut(strings.TrimSpace(line), "(")
			names = append(names, name)
		}
	}
	return names
}

// What strace(1) sees a box do is what --dry-run=syscalls prints, call by call.
func TestTraceIsTheProgram(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(tempDir(t), "trace")
	// A single id: newuidmap(1) is not setuid under a tracer.
	cmd := again("single")
	traced := exec.Command("strace", "-f", "-qq", "-o", file, self, "exit", "0")
	traced.Env = cmd.Env
	if out, err := traced.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s, err := specOf(probeRoot, runner.Override{IDMap: runner.IDMapSingle}, "exit", "0")
	if err != nil {
		t.Fatal(err)
	}
	calls := readTrace(t, file)
	for _, who := range []string{"box", "application"} {
		want := printed(t, s, who)
		if len(want) < 10 {
			t.Fatalf("%s: only %v is printed", who, want)
		}
		if slices.ContainsFunc(calls, func(got []string) bool { return len(got) >= len(want) && slices.Equal(got[:len(want)], want) }) {
			continue
		}
		t.Errorf("no process does what the %s is to do: %v", who, want)
		for _, got := range calls {
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] && i > 3 {
					t.Errorf("call %d is %s, want %s", i, got[i], want[i])
				}
				if got[i] != want[i] {
					break
				}
			}
		}
	}
}

// readTrace is the names of the calls of each process.
func readTrace(t *testing.T, file string) [][]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	line := regexp.MustCompile(`^(\d+) +(?:([a-z0-9_]+)\(|<\.\.\. )`)
	index := map[string]int{}
	var calls [][]string
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		m := line.FindStringSubmatch(in.Text())
		if m == nil || m[2] == "" {
			continue
		}
		i, ok := index[m[1]]
		if !ok {
			i = len(calls)
			index[m[1]] = i
			calls = append(calls, nil)
		}
		calls[i] = append(calls[i], m[2])
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	return calls
}
