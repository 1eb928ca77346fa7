package compare

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner/compare/work"
)

// self is what make build has made; without it one is built, static too, for
// it runs in roots that are empty.
var self string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "compare-")
	if err != nil {
		panic(err)
	}
	if self, err = filepath.Abs("../../bin/hutch"); err != nil {
		panic(err)
	}
	if _, err := os.Stat(self); err != nil {
		self = filepath.Join(dir, "hutch")
		build(self)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func build(name string) {
	build := exec.Command("go", "build", "-buildvcs=false", "-tags", "urfave_cli_no_docs,netgo,osusergo",
		"-ldflags", "-E hutch_entry", "-o", name, "hutch/cmd/hutch")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out))
	}
}

func run(t *testing.T, c *Comparison) *Report {
	t.Helper()
	c.Self = self
	c.Work = t.TempDir()
	if err := os.Chmod(c.Work, 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := c.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(c.Work); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for _, s := range r.Sides {
		if s.Why != "" {
			t.Errorf("%s: %s", s.Name, s.Why)
		}
	}
	return r
}

// What is measured twice shows no difference; and what takes longer does. By
// chance a ratio may seem to differ once; a real difference is there again.
func TestNoDifferenceFromItself(t *testing.T) {
	for _, reference := range []string{"bare", "native"} {
		seen := map[string]int{}
		for range 3 {
			r := run(t, &Comparison{
				Engines: []string{reference}, Again: true, Quick: true, Rounds: 10,
				Only: []string{"start-first", "getppid", "open-close", "integer", "float", "mmap", "pipe"},
			})
			rows := 0
			for _, row := range r.Rows {
				c := row.cell(reference + " again")
				if c == nil || len(c.Samples) != 10 {
					t.Fatalf("%s: %+v", row.Name, c)
				}
				rows++
				if c.Ratio.Differs {
					seen[row.Name]++
					t.Logf("%s %s: %+v", reference, row.Name, *c.Ratio)
				}
			}
			if rows != 8 {
				t.Fatalf("%d rows", rows)
			}
			if len(seen) == 0 {
				break
			}
		}
		for name, n := range seen {
			if n == 3 {
				t.Errorf("%s: %s differs from itself, three times in three", reference, name)
			}
		}
	}
}

// Both sides run the same command to the same end, and it is said so.
func TestOutcome(t *testing.T) {
	r := run(t, &Comparison{
		Root: "host", Command: []string{"sh", "-c", "echo hello; exit 3"},
		Engines: []string{"bare", "native"}, Rounds: 3,
	})
	const want = "The command exits with 3 and writes the same 6 bytes on native and bare."
	if says := r.Says(); !slices.Contains(says, want) {
		t.Errorf("%q lacks %q", says, want)
	}
	// A result that depends on where it is made is shown as such.
	r = run(t, &Comparison{
		Root: "host", Command: []string{"sh", "-c", "hostname; test $(hostname) = hutch"},
		Engines: []string{"bare", "native"}, Rounds: 1,
	})
	if says := strings.Join(r.Says(), "\n"); !strings.Contains(says, "The result is not the same everywhere: native exits with 0") {
		t.Errorf("%s", says)
	}
}

// Where the root is the host, rules say what Landlock leaves.
func TestLandlockIsCounted(t *testing.T) {
	abi, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	plan, err := dryRun(t.Context(), []string{self, "run", "host", "--", "true"}, "plan")
	if err != nil {
		t.Fatal(err)
	}
	if l := landlockOf(string(plan)); int(abi) > 0 && (l.Rights < 13 || l.Rules < 3) {
		t.Errorf("%+v of\n%s", l, plan)
	}
}

// Every workload that needs no program of the root gives a number, on the
// host and in a box.
func TestWorkloads(t *testing.T) {
	r := run(t, &Comparison{Engines: []string{"bare", "native"}, Quick: true, Rounds: 1})
	for _, row := range r.Rows {
		for _, side := range []string{"bare", "native"} {
			c := row.cell(side)
			if c == nil {
				t.Errorf("%s has no cell for %s", row.Name, side)
				continue
			}
			lacking := strings.HasPrefix(c.Why, "the root has no ")
			if (len(c.Samples) != 1 || c.Samples[0] <= 0) && !lacking {
				t.Errorf("%s on %s: %v, %s", row.Name, side, c.Samples, c.Why)
			}
			if row.Group == "disk" && (c.Cost == nil || c.Cost.CPUSeconds == nil) {
				t.Errorf("%s on %s: no cost", row.Name, side)
			}
		}
	}
	for _, side := range []string{"bare", "native"} {
		i := r.side(side).Isolation
		if i == nil || i.SameKernel == nil || !*i.SameKernel || i.AllSystemCalls < 300 {
			t.Errorf("%s: %+v", side, i)
		}
	}
	bare, native := r.side("bare"), r.side("native")
	if os.Geteuid() == 0 {
		b, n := bare.Isolation.SystemCalls, native.Isolation.SystemCalls
		if b == nil || n == nil || *b != bare.Isolation.AllSystemCalls || *n >= *b || *n < 100 {
			t.Errorf("within reach: bare %v, native %v", b, n)
		}
	}
	if n := native.Isolation.Namespaces; n == nil || *n < 6 {
		t.Errorf("namespaces of native: %v", n)
	}
	abi, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if l := native.Isolation.Landlock; l == nil || int(abi) >= 6 && l.Scopes != 2 {
		t.Errorf("Landlock of native: %+v", l)
	}
	if l := bare.Isolation.Landlock; l == nil || *l != (Landlock{}) {
		t.Errorf("Landlock of bare: %+v", l)
	}
	if !strings.HasPrefix(native.Profile, "default@sha256:") || len(native.Profile) != len("default@sha256:")+64 || bare.Profile != "" {
		t.Errorf("profiles %q, %q", native.Profile, bare.Profile)
	}
	if native.Inside.Devices == 0 || native.Inside.Devices > 10 || native.Inside.HostFiles != 0 || !native.Inside.Seccomp {
		t.Errorf("inside native: %+v", native.Inside)
	}
	if len(r.Growth) != 2 || len(r.Growth[1].Points) < 2 || r.Growth[1].Points[1].MemoryBytes <= 0 {
		t.Errorf("growth: %+v", r.Growth)
	}
}

// Interrupted, it gives what there is.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := &Comparison{Self: self, Work: t.TempDir(), Engines: []string{"bare"}, Quick: true, Rounds: 1000, Only: []string{"getppid"}}
	c.Progress = func(what string, done, of int, left time.Duration) {
		if done == 5 {
			cancel()
		}
	}
	r, err := c.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	n := len(r.row("getppid").cell("bare").Samples)
	if !r.Interrupted || n == 0 || n > 5 {
		t.Errorf("interrupted %v after %d samples", r.Interrupted, n)
	}
	if left, _ := os.ReadDir(c.Work); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A side that cannot run says why, and the others go on.
func TestSideThatCannotRun(t *testing.T) {
	c := &Comparison{
		Self: self, Work: t.TempDir(), Root: "/nonexistent", Command: []string{"true"}, Engines: []string{"native"}, Rounds: 1,
	}
	if _, err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "/nonexistent: no such file or directory") {
		t.Errorf("%v", err)
	}
	r, err := (&Comparison{
		Self: self, Work: t.TempDir(), Engines: []string{"bare", "native"}, Options: []string{"--nonsense"}, Rounds: 1,
		Only: []string{"getppid"},
	}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if why := r.side("native").Why; !strings.Contains(why, "--nonsense") || len(r.row("getppid").cell("bare").Samples) != 1 {
		t.Errorf("native: %q; %+v", why, r.Rows)
	}
}

// The program that is committed is that of the source.
func TestFirstIsBuiltFromItsSource(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("first/build.sh", runtime.GOARCH, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	built, err := os.ReadFile(filepath.Join(dir, "first_"+runtime.GOARCH+".elf"))
	if err != nil {
		t.Fatal(err)
	}
	if string(built) != firstProgram {
		t.Error("first.c has changed: run first/build.sh for each architecture")
	}
	file := filepath.Join(dir, "first")
	if err := os.WriteFile(file, []byte(firstProgram), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(file).Output(); err != nil || string(out) != "1\n" {
		t.Errorf("it says %q, %v", out, err)
	}
}

// A workload that there is none of, and one without its directory, say so.
func TestWorkRefuses(t *testing.T) {
	for name, want := range map[string]string{"nonsense": "no such workload", "disk-read": "no directory on a disk"} {
		if m := work.Run(name, &work.Options{Disk: "/nonexistent"}); !strings.Contains(m.Why, want) {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// Each tool's command line ends with the command, and names the root and what
// is bound.
func TestCommandLines(t *testing.T) {
	c := &Comparison{Self: "/hutch", Root: "/root", rootDir: "/root", temp: t.TempDir(), bundle: "/b", disk: "/d", Options: []string{"--memory", "1G"}}
	for _, s := range append(engineSides(), peerSides()...) {
		argv, clean, err := s.command(c, job{argv: []string{"/x", "y"}, bound: true, vcpus: 3})
		if err != nil {
			t.Fatal(err)
		}
		line := strings.Join(argv, " ")
		if strings.HasSuffix(argv[0], "runc") || strings.HasSuffix(argv[0], "crun") || argv[0] == "runsc" {
			config, err := os.ReadFile(filepath.Join(argv[slices.Index(argv, "--bundle")+1], "config.json"))
			if err != nil {
				t.Fatal(err)
			}
			line = string(config) + ` "/x","y"`
		}
		for _, want := range []string{"/root", "/b", "/d", "/x"} {
			if !strings.Contains(line, want) {
				t.Errorf("%s lacks %s: %s", s.name, want, line)
			}
		}
		if s.kind == kindEngine && !strings.Contains(line, "--memory 1G") {
			t.Errorf("%s lacks the options: %s", s.name, line)
		}
		if guest := s.name == "kvm" || s.name == "tcg"; guest != strings.Contains(line, "--vcpus 3") {
			t.Errorf("%s: %s", s.name, line)
		}
		if (s.name == "tcg") != strings.Contains(line, "tcg") {
			t.Errorf("%s: %s", s.name, line)
		}
		clean()
	}
}
