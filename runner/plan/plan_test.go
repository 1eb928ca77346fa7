package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hutch/profiles"
	"hutch/rootfs"
	"hutch/runner"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// A filter of two instructions: what it says is not the plan's business.
var filter = make([]byte, 16)

// resolve makes the Spec of a profile on a root of two layers.
func resolve(t testing.TB, profile string, kind rootfs.Kind) *runner.Spec {
	t.Helper()
	p, err := profiles.Load(profile)
	if err != nil {
		t.Fatal(err)
	}
	root := &rootfs.Root{Kind: kind}
	if kind != rootfs.KindHost {
		root.Lowers = []string{"/store/top", "/store/base"}
	}
	s, err := runner.Resolve(p, root, runner.Override{Command: []string{"sh", "-c", "true"}})
	if err != nil {
		t.Fatal(err)
	}
	s.Seccomp = runner.Seccomp{Name: p.Name, Digest: "sha256:0", Filter: filter}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	return s
}

// The machines of the golden files. Every path that a profile hides exists.
func facts(s *runner.Spec, who string) Facts {
	f := Facts{LandlockABI: 7, LastCap: 40, Home: "/root", IsDir: map[string]bool{}}
	one := func(outside uint32) []IDMap { return []IDMap{{Inside: 0, Outside: outside, Count: 1}} }
	switch who {
	case "root":
		f.Privileged, f.SetGroups = true, true
		f.UIDs = []IDMap{{Inside: 0, Outside: 1879048192, Count: 65536}}
		f.GIDs = f.UIDs
	case "single":
		f.UIDs, f.GIDs = one(1000), one(1000)
		f.BinaryExposed = true
	case "range":
		f.SetGroups, f.BinaryExposed = true, true
		f.UIDs = append(one(1000), IDMap{Inside: 1, Outside: 100000, Count: 65535})
		f.GIDs = f.UIDs
	}
	if s.Root.Kind == runner.RootHost {
		f.Host = []HostEntry{{Path: "/usr"}, {Path: "/bin", Link: "usr/bin"}, {Path: "/etc"}}
		if who != "root" {
			f.UIDs, f.GIDs = []IDMap{{1000, 1000, 1}}, []IDMap{{1000, 1000, 1}}
			f.UID, f.GID = 1000, 1000
		}
		f.Home = "/tmp"
	}
	for _, p := range append(slices.Clone(s.Hidden), s.Protected...) {
		f.IsDir[p] = !strings.Contains(filepath.Base(p), "k") // any mixture of both
	}
	if s.Root.Keep != "" {
		f.IsDir[s.Root.Keep] = !strings.HasSuffix(s.Root.Keep, ".img")
	}
	for _, m := range s.Mounts {
		if m.Type == runner.MountBind {
			f.IsDir[m.Source] = !strings.Contains(m.Source, "file")
		}
	}
	return f
}

func build(t testing.TB, s *runner.Spec, f Facts) *Plan {
	t.Helper()
	p, err := Build(s, f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGolden(t *testing.T) {
	binds := func(s *runner.Spec) {
		s.Mounts = []runner.Mount{
			{Type: runner.MountBind, Source: "/srv/data", Target: "/data", ReadOnly: true},
			{Type: runner.MountBind, Source: "/srv/out", Target: "/data/out"},
			{Type: runner.MountBind, Source: "/srv/file", Target: "/etc/app/file", ReadOnly: true},
			{Type: runner.MountTmpfs, Target: "/var//cache/", Size: 64 << 20},
		}
	}
	tests := []struct {
		name, who string
		kind      rootfs.Kind
		change    func(*runner.Spec, *Facts)
	}{
		{"image-root", "root", rootfs.KindDir, nil},
		{"image-single", "single", rootfs.KindDir, nil},
		{"image-range", "range", rootfs.KindDir, nil},
		{"host-root", "root", rootfs.KindHost, nil},
		{"host-single", "single", rootfs.KindHost, func(s *runner.Spec, f *Facts) { binds(s) }},
		{"read-only", "root", rootfs.KindDir, func(s *runner.Spec, _ *Facts) { s.Root.ReadOnly = true }},
		{"keep", "root", rootfs.KindDir, func(s *runner.Spec, _ *Facts) {
			s.Root.Keep = "/store/keep/x/data"
		}},
		{"keep-single", "single", rootfs.KindDir, func(s *runner.Spec, _ *Facts) { s.Root.Keep = "/store/keep/x/data" }},
		{"keep-image", "root", rootfs.KindDir, func(s *runner.Spec, _ *Facts) { s.Root.Keep = "/store/keep/x/disk.img" }},
		{"layer-image", "root", rootfs.KindDir, func(s *runner.Spec, f *Facts) {
			s.Root.Lowers[0] = "/store/top.erofs/fs.erofs"
			if f.IsDir != nil {
				f.IsDir[s.Root.Lowers[0]] = false
			}
		}},
		{"binds", "root", rootfs.KindDir, func(s *runner.Spec, _ *Facts) { binds(s) }},
		{"user", "root", rootfs.KindDir, func(_ *runner.Spec, f *Facts) {
			f.UID, f.GID, f.Groups, f.Home = 33, 44, []uint32{44, 5}, "/srv/web"
		}},
		{"copies", "root", rootfs.KindDir, func(s *runner.Spec, f *Facts) {
			s.CopyIn, s.Root.ReadOnly = []runner.Copy{{Source: "/src", Target: "/in"}}, true
			s.CopyOut = []runner.Copy{{Source: "/out", Target: "/dst"}}
		}},
		{"terminal", "root", rootfs.KindDir, func(s *runner.Spec, f *Facts) {
			s.Terminal, f.UID, f.GID = &runner.Size{Rows: 24, Columns: 80}, 1000, 1000
		}},
		{"no-init", "root", rootfs.KindDir, func(s *runner.Spec, _ *Facts) { s.Init = false }},
		{"no-init-user", "root", rootfs.KindDir, func(s *runner.Spec, f *Facts) { s.Init, f.UID, f.GID = false, 33, 44 }},
		{"no-landlock", "root", rootfs.KindDir, func(s *runner.Spec, f *Facts) { f.LandlockABI = 0 }},
		{"old-landlock", "single", rootfs.KindHost, func(s *runner.Spec, f *Facts) { f.LandlockABI = 3 }},
		{"narrow", "root", rootfs.KindHost, func(s *runner.Spec, f *Facts) {
			l := &s.Landlock
			l.Read, l.List, l.Write, l.Execute = []string{"/etc/passwd", "/usr"}, []string{"/"}, []string{"/tmp"}, []string{"/usr/bin/env"}
			l.Connect, l.Bind = []uint16{443}, []uint16{0}
		}},
		{"narrow-bare", "single", rootfs.KindDir, func(s *runner.Spec, f *Facts) {
			f.LandlockABI, f.BinaryExposed, f.Privileged = 3, false, false
			s.Landlock = runner.Landlock{Filesystem: runner.Omit, Scopes: runner.Omit, Execute: []string{}}
		}},
		{"bare", "single", rootfs.KindDir, func(s *runner.Spec, f *Facts) {
			core := int64(0)
			s.Network, s.Hidden, s.Protected, s.Capabilities, s.Seccomp = runner.NetworkHost, nil, nil, nil, runner.Seccomp{}
			s.Landlock = runner.Landlock{Filesystem: runner.Omit, Scopes: runner.Omit}
			s.Limits = runner.Limits{CoreSizeBytes: &core, FileSizeBytes: 1 << 20, OpenFiles: 100}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := resolve(t, "default", test.kind)
			var f Facts
			if test.change != nil {
				test.change(s, &f)
			}
			g := facts(s, test.who)
			if test.change != nil {
				test.change(s, &g)
			}
			p := build(t, s, g)
			invariants(t, s, g, p)
			var out bytes.Buffer
			n, err := p.WriteTo(&out)
			if err != nil || n != int64(out.Len()) {
				t.Fatalf("%d of %d bytes: %v", n, out.Len(), err)
			}
			for _, m := range p.Missing {
				out.WriteString("missing " + m + "\n")
			}
			golden(t, filepath.Join("testdata", test.name+".txt"), out.Bytes())
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	a, b := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(a), len(b)) {
		x, y := "", ""
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			t.Fatalf("%s:%d (-update rewrites it):\n got %q\nwant %q", name, i+1, x, y)
		}
	}
}

// The order holds for every built-in profile, every kind of root and every
// kind of user.
func TestOrderOfEveryProfile(t *testing.T) {
	for _, profile := range profiles.BuiltinNames() {
		for _, kind := range []rootfs.Kind{rootfs.KindDir, rootfs.KindHost} {
			for _, who := range []string{"root", "single", "range"} {
				for _, init := range []bool{true, false} {
					for _, abi := range []int{0, 1, 2, 5, 6, 7} {
						s := resolve(t, profile, kind)
						s.Init = init
						s.Mounts = append(s.Mounts, runner.Mount{Type: runner.MountBind, Source: "/srv/data", Target: "/data"})
						f := facts(s, who)
						f.LandlockABI = abi
						p, err := Build(s, f)
						if err != nil {
							var e *runner.Error
							if !errors.As(err, &e) || e.Hint == "" || !strings.Contains(e.Step, "landlock") {
								t.Errorf("%s %s %s: %v", profile, kind, who, err)
							}
							continue
						}
						invariants(t, s, f, p)
						if t.Failed() {
							t.Fatalf("%s, %s, %s, init %v, landlock %d", profile, kind, who, init, abi)
						}
					}
				}
			}
		}
	}
}

// The invariants bite: a plan with two steps exchanged is found out.
func TestInvariantsBite(t *testing.T) {
	s := resolve(t, "default", rootfs.KindDir)
	f := facts(s, "root")
	for _, move := range [][2]Kind{
		{InstallSeccomp, Execute},
		{CloseFiles, Execute},
		{NoNewPrivs, InstallSeccomp},
		{NoNewPrivs, LandlockSelf},
		{DropBounding, SetIDs},
		{SetGroups, SetIDs},
		{SetIDs, SetCaps},
		{Undumpable, StartApp},
		{TakeProc, DetachHost},
		{TakeTree, Pivot},
		{Pivot, DetachHost},
		{OwnFiles, Stage},
		{Workdir, CloseFiles},
		{WriteProc, Protect},
		{PrivateMounts, Stage},
		{CheckParent, AwaitHutch},
	} {
		p := build(t, s, f)
		i, j := first(p, move[0]), last(p, move[1])
		if i < 0 || j < 0 || i > j {
			t.Errorf("%v: steps %d and %d", move, i, j)
			continue
		}
		step := p.Steps[i]
		p.Steps = slices.Insert(slices.Delete(p.Steps, i, i+1), j, step)
		if len(violations(s, f, p)) == 0 {
			t.Errorf("%s after %s is not found out", move[0], move[1])
		}
	}
	p := build(t, s, f)
	p.Steps = append(p.Steps, Step{Paragraph: Inside, By: Box, Kind: TakeTree, Source: "/etc"})
	if len(violations(s, f, p)) == 0 {
		t.Error("a host path inside is not found out")
	}
}

// Build is pure: the same again is the same, and its arguments are as before.
func TestBuildIsPure(t *testing.T) {
	for _, kind := range []rootfs.Kind{rootfs.KindDir, rootfs.KindHost} {
		s := resolve(t, "default", kind)
		f := facts(s, "root")
		specBefore, _ := json.Marshal(s)
		factsBefore, _ := json.Marshal(f)
		a, _ := json.Marshal(build(t, s, f))
		b, _ := json.Marshal(build(t, s, f))
		specAfter, _ := json.Marshal(s)
		factsAfter, _ := json.Marshal(f)
		if !bytes.Equal(a, b) || !bytes.Equal(specBefore, specAfter) || !bytes.Equal(factsBefore, factsAfter) {
			t.Errorf("%s: not pure", kind)
		}
	}
}

// What is required and lacking is an error with advice; what is preferred and
// lacking is named; what is omitted is neither.
func TestLandlockWants(t *testing.T) {
	tests := []struct {
		abi         int
		fs, scopes  runner.Want
		failed      bool
		missing     string
		rights, set uint64
	}{
		{7, runner.Prefer, runner.Prefer, false, "", landlockExec, landlockScopes},
		{7, runner.Require, runner.Require, false, "", landlockExec, landlockScopes},
		{6, runner.Prefer, runner.Prefer, false, "", landlockExec, landlockScopes},
		{5, runner.Prefer, runner.Prefer, false, "landlock scopes", landlockExec, 0},
		{5, runner.Require, runner.Require, true, "", 0, 0},
		{1, runner.Prefer, runner.Prefer, false, "landlock filesystem,landlock scopes", 0, 0},
		{1, runner.Require, runner.Prefer, true, "", 0, 0},
		{0, runner.Omit, runner.Omit, false, "", 0, 0},
		{0, runner.Omit, runner.Require, true, "", 0, 0},
		{7, runner.Omit, runner.Prefer, false, "", 0, landlockScopes},
		{7, runner.Prefer, runner.Omit, false, "", landlockExec, 0},
	}
	for _, test := range tests {
		s := resolve(t, "default", rootfs.KindDir)
		s.Landlock = runner.Landlock{Filesystem: test.fs, Scopes: test.scopes}
		f := facts(s, "single")
		f.LandlockABI, f.BinaryExposed = test.abi, true
		p, err := Build(s, f)
		if test.failed {
			if err == nil || runner.Hint(err) == "" {
				t.Errorf("%+v: %v", test, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		if got := strings.Join(p.Missing, ","); got != test.missing {
			t.Errorf("%+v: missing %q", test, got)
		}
		var rights, scopes uint64
		if i := first(p, LandlockCreate); i >= 0 {
			rights, scopes = p.Steps[i].Bits, p.Steps[i].Scopes
		}
		if rights != test.rights || scopes != test.set || (p.LandlockABI != 0) != (rights|scopes != 0) {
			t.Errorf("%+v: rights %#x, scopes %#x, ABI %d", test, rights, scopes, p.LandlockABI)
		}
	}
}

// Where no id of the box may write to hutch's binary an image needs no rule,
// and gets one only when it is required.
func TestLandlockOfImages(t *testing.T) {
	for _, test := range []struct {
		exposed bool
		want    runner.Want
		rights  uint64
	}{
		{false, runner.Prefer, 0},
		{false, runner.Require, landlockExec},
		{true, runner.Prefer, landlockExec},
		{true, runner.Require, landlockExec},
	} {
		s := resolve(t, "default", rootfs.KindDir)
		s.Landlock.Filesystem = test.want
		f := facts(s, "root")
		f.BinaryExposed = test.exposed
		p, err := Build(s, f)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Steps[first(p, LandlockCreate)].Bits; got != test.rights {
			t.Errorf("%+v: rights %#x", test, got)
		}
	}
}

// The rights of a host root are those of the kernel's ABI and no more.
func TestLandlockRightsByABI(t *testing.T) {
	for abi, want := range map[int]uint64{
		1: 1<<13 - 1, 2: 1<<14 - 1, 3: 1<<15 - 1, 4: 1<<15 - 1, 5: 1<<16 - 1, 6: 1<<16 - 1, 7: 1<<16 - 1,
	} {
		if got := fsRights(abi); got != want {
			t.Errorf("ABI %d: %#x, want %#x", abi, got, want)
		}
	}
}

// A capability that this kernel lacks is refused, not left out.
func TestUnknownCapability(t *testing.T) {
	for _, name := range []string{"CAP_CHECKPOINT_RESTORE", "CAP_NONE"} {
		s := resolve(t, "default", rootfs.KindDir)
		s.Capabilities = []string{name}
		f := facts(s, "root")
		f.LastCap = unix.CAP_AUDIT_READ
		if _, err := Build(s, f); err == nil || runner.Hint(err) == "" || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
