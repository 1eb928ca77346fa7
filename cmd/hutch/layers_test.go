package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "hutch/"

// layers says which of our packages each package may import. A package that is
// not in the table fails the test: to add one, give it a line here, and when
// the line needs an exception, move the code instead.
func layers() map[string][]string {
	return map[string][]string{
		// 0: know nothing of ours
		"seccomp":       {},
		"rootfs":        {"rootfs/registry"},
		"runner/cgroup": {},
		// With a library that runner/cgroup must not cost.
		"runner/cgroup/scope": {},
		"runner/host":         {},
		// A kernel for tests and measurements, without hutch.
		"runner/host/umlguest": {"runner/host"},
		// What hutch and hutch-pull say to each other; below rootfs.
		"rootfs/registry": {},
		// For the programs that read what strangers have made.
		"rootfs/confine": {},
		"rootfs/decode":  {},
		// Carries files between host and box; the engine and the command line meet in it.
		"runner/transfer": {},
		// 1
		"profiles": {"seccomp"},
		// 2: the words of the domain
		"runner": {"seccomp", "rootfs", "profiles", "runner/host"},
		// 3
		"runner/plan": {"runner", "seccomp", "runner/host"},
		// The layers of a root become a guest's disks.
		"runner/guest": {"runner", "seccomp", "runner/host", "rootfs", "runner/transfer"},
		// 4: the engines
		"runner/native": {"runner/plan", "runner/cgroup", "runner/host", "runner", "seccomp"},
		"runner/uml":    {"runner/guest", "runner/cgroup", "runner/host", "runner"},
		"runner/kvm":    {"runner/guest", "runner/cgroup", "runner/host", "runner"},
		// 5
		// What was written is packed where it is.
		"runner/pid1": {"runner/guest", "runner/native", "runner", "rootfs", "runner/transfer"},
		// Measures engines as programs, from outside.
		"runner/compare/work": {},
		"runner/compare":      {"runner/compare/work", "seccomp"},
		// 6: may import all, see check
		"cmd/hutch": nil,
		// Hutch's fetching program, which hutch carries inside itself and runs.
		"cmd/hutch-pull": {"rootfs/registry", "rootfs/confine"},
		// The one that takes apart what strangers have compressed.
		"cmd/hutch-decompress": {"rootfs", "rootfs/confine", "rootfs/decode"},
		// The one that asks systemd.
		"cmd/hutch-scope": {"runner/cgroup/scope"},
		// Process 1 of guests.
		"cmd/hutch-guest": {"runner/pid1"},
		// Measures the binary from outside, as it does its peers.
		"cmd/bench": {"runner/host/umlguest"},
	}
}

// engines are the packages that know nothing of each other, and that the domain
// knows nothing of.
var engines = [...]string{"runner/native", "runner/uml", "runner/kvm"}

// single lists the modules that one package of ours wraps, so that they can be replaced.
var single = [...]string{"github.com/pelletier/go-toml/v2", "github.com/urfave/cli/v2", "github.com/google/go-containerregistry", "github.com/godbus/dbus/v5", "github.com/klauspost/compress", "github.com/ulikunitz/xz"}

// A listedPackage is what `go list -json` says of a package.
type listedPackage struct {
	ImportPath string
	Imports    []string // direct
	Deps       []string // all, through others too
}

func TestLayers(t *testing.T) {
	packages := list(t)
	var seen []string
	for _, p := range packages {
		seen = append(seen, p.ImportPath)
	}
	// An empty or partial list would pass every rule.
	for _, want := range []string{"hutch/cmd/hutch", "hutch/runner", "hutch/runner/native", "hutch/seccomp", "hutch/rootfs"} {
		if !slices.Contains(seen, want) {
			t.Errorf("go list does not know %s; it lists %v", want, seen)
		}
	}
	for _, v := range check(packages) {
		t.Error(v)
	}
}

// list asks go for every package of the module.
func list(t *testing.T) []listedPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-tags", "urfave_cli_no_docs,netgo,osusergo", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%v: %v: %s", cmd, err, exit.Stderr)
		}
		t.Fatalf("%v: %v", cmd, err)
	}
	var packages []listedPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listedPackage
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("%v: %v", cmd, err)
		}
		packages = append(packages, p)
	}
}

// check returns what breaks the rules, one sentence each.
func check(packages []listedPackage) []string {
	return slices.Concat(checkTable(packages), checkEngines(packages), checkSingle(packages))
}

func checkTable(packages []listedPackage) (broken []string) {
	table := layers()
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, module)
		owner, _, _ := strings.Cut(name, "/internal/")
		allowed, known := table[owner]
		if !known {
			broken = append(broken, fmt.Sprintf("%s is not in the layer table: give it a line", name))
			continue
		}
		for _, imported := range ours(p.Imports) {
			// What is internal to a package stands on the package's own layer, on either side.
			target, _, _ := strings.Cut(imported, "/internal/")
			if owner != "cmd/hutch" && target != owner && !slices.Contains(allowed, target) {
				broken = append(broken, fmt.Sprintf("%s imports %s; it may import %v", name, imported, allowed))
			}
		}
	}
	return broken
}

func checkEngines(packages []listedPackage) (broken []string) {
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, module)
		isEngine := slices.Contains(engines[:], name)
		if name != "runner" && !isEngine {
			continue
		}
		for _, dep := range ours(p.Deps) {
			if slices.Contains(engines[:], dep) {
				broken = append(broken, fmt.Sprintf("%s reaches the engine %s", name, dep))
			}
		}
	}
	return broken
}

func checkSingle(packages []listedPackage) (broken []string) {
	importers := map[string]map[string]bool{}
	for _, p := range packages {
		for _, imported := range p.Imports {
			for _, m := range single {
				if imported != m && !strings.HasPrefix(imported, m+"/") {
					continue
				}
				if importers[m] == nil {
					importers[m] = map[string]bool{}
				}
				importers[m][strings.TrimPrefix(p.ImportPath, module)] = true
			}
		}
	}
	for m, who := range importers {
		if len(who) > 1 {
			broken = append(broken, fmt.Sprintf("%s has %d importers: %v", m, len(who), slices.Sorted(maps.Keys(who))))
		}
	}
	slices.Sort(broken)
	return broken
}

// ours keeps the packages of this module, by their names inside it.
func ours(imports []string) (names []string) {
	for _, i := range imports {
		if name, ok := strings.CutPrefix(i, module); ok {
			names = append(names, name)
		}
	}
	return names
}

// The checker must bite: each wrong import that it is there for, made up.
func TestLayersCheckBites(t *testing.T) {
	pkg := func(name string, imports ...string) listedPackage {
		return listedPackage{ImportPath: module + name, Imports: imports, Deps: imports}
	}
	tests := []struct {
		name     string
		packages []listedPackage
		want     string // part of the only sentence; "" for none
	}{
		{"right", []listedPackage{pkg("runner", "fmt", "hutch/seccomp"), pkg("cmd/hutch", "hutch/runner/native")}, ""},
		{"upward", []listedPackage{pkg("seccomp", "hutch/profiles")}, "seccomp imports profiles"},
		{"sideways", []listedPackage{pkg("rootfs", "hutch/seccomp")}, "rootfs imports"},
		{"past the domain", []listedPackage{pkg("runner/uml", "hutch/seccomp")}, "runner/uml imports"},
		{"of the command", []listedPackage{pkg("runner/pid1", "hutch/cmd/hutch")}, "runner/pid1 imports"},
		{"by the benchmark", []listedPackage{pkg("cmd/bench", "hutch/runner")}, "cmd/bench imports"},
		{"unknown package", []listedPackage{pkg("util")}, "util is not in the layer table"},
		{"own internal", []listedPackage{pkg("profiles/internal/gen", "hutch/profiles", "hutch/seccomp")}, ""},
		{"use of own internal", []listedPackage{pkg("rootfs", "hutch/rootfs/internal/tar")}, ""},
		{"internal, upward", []listedPackage{pkg("seccomp/internal/gen", "hutch/runner")}, "seccomp/internal/gen imports"},
		{"unknown internal", []listedPackage{pkg("util/internal/x")}, "util/internal/x is not in"},
		{
			"engine through another package",
			[]listedPackage{{ImportPath: "hutch/runner", Deps: []string{"hutch/rootfs", "hutch/runner/kvm"}}},
			"runner reaches the engine runner/kvm",
		},
		{
			"engine to engine",
			[]listedPackage{{ImportPath: "hutch/runner/uml", Deps: []string{"hutch/runner/native"}}},
			"runner/uml reaches the engine runner/native",
		},
		{
			"two importers",
			[]listedPackage{pkg("rootfs", single[0]), pkg("profiles", single[0]+"/unstable")},
			"has 2 importers: [profiles rootfs]",
		},
		{"one importer twice", []listedPackage{pkg("profiles", single[0], single[0]+"/unstable")}, ""},
		{"similar module", []listedPackage{pkg("rootfs", single[0]+"x"), pkg("profiles", single[0])}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := check(tt.packages)
			if tt.want == "" {
				if len(got) != 0 {
					t.Errorf("right, but reported: %q", got)
				}
				return
			}
			if len(got) != 1 || !strings.Contains(got[0], tt.want) {
				t.Errorf("got %q, want one sentence with %q", got, tt.want)
			}
		})
	}
}
