package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"hutch/profiles"
	"hutch/rootfs"
)

func yesNo(b bool) *bool                   { return &b }
func sized(n profiles.Size) *profiles.Size { return &n }
func dir(c *rootfs.Config) *rootfs.Root {
	return &rootfs.Root{Kind: rootfs.KindDir, Lowers: []string{"/r"}, Config: c}
}
func env(s *Spec) string   { return strings.Join(s.Env, " ") }
func caps(s *Spec) string  { return strings.Join(s.Capabilities, " ") }
func words(s *Spec) string { return strings.Join(s.Command, " ") }
func must(t *testing.T, s *Spec, err error) *Spec {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Flags win over the profile, the profile over the image's configuration, that
// over the defaults: each field with each source that can set it.
func TestPrecedence(t *testing.T) {
	image := &rootfs.Config{
		Entrypoint: []string{"/entry"}, Cmd: []string{"from-image"}, Env: []string{"A=image", "B=image"},
		User: "image", WorkDir: "/image",
	}
	profile := profiles.Profile{
		Name: "p",
		Process: profiles.Process{
			User: "profile", Workdir: "/profile", Hostname: "profile", Init: yesNo(false),
			Env: map[string]string{"B": "profile", "C": "profile"},
		},
		Filesystem: profiles.Filesystem{
			ReadOnly: yesNo(true), Disk: 1 << 20, Inodes: 100, Bind: []string{"/a:/b"}, Tmpfs: []string{"/c:1M"},
			Hidden: []string{"/h"}, Protected: []string{"/proc/p"},
		},
		Limits:   profiles.Limits{Memory: 1 << 20, Swap: sized(5), CPUs: 1, Processes: 3, Timeout: profiles.Duration(time.Minute), CoreSize: sized(0)},
		Network:  profiles.Network{Mode: "host"},
		Landlock: profiles.Landlock{Filesystem: yesNo(true), Scopes: yesNo(false), Read: []string{}, Connect: []uint16{80}},
	}
	flags := Override{
		Settings: profiles.Profile{
			Process: profiles.Process{User: "flag", Workdir: "/flag", Hostname: "flag", Init: yesNo(true)},
			Filesystem: profiles.Filesystem{
				ReadOnly: yesNo(false), Disk: 2 << 20, Inodes: 200, Bind: []string{"/d:/e:rw"}, Hidden: []string{"/i"}, Protected: []string{"/proc/q"},
			},
			Limits:   profiles.Limits{Memory: 2 << 20, Swap: sized(0), CPUs: 2, Processes: 4, Timeout: profiles.Duration(time.Hour), Grace: profiles.Duration(time.Second)},
			Network:  profiles.Network{Mode: "none"},
			Landlock: profiles.Landlock{Filesystem: yesNo(false), Scopes: yesNo(true), Read: []string{"/f"}, Connect: []uint16{}},
		},
		Command: []string{"from", "flags"},
		Env:     []string{"C=flag", "A=flag"},
		IDMap:   IDMapSingle,
	}
	std := "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	tests := []struct {
		what                                    string
		get                                     func(*Spec) any
		defaults, fromImage, fromProfile, flags any
	}{
		{"command", func(s *Spec) any { return words(s) }, "", "/entry from-image", "/entry from-image", "/entry from flags"},
		{"env", func(s *Spec) any { return env(s) }, std, std + " A=image B=image", std + " A=image B=profile C=profile", std + " A=flag B=profile C=flag"},
		{"workdir", func(s *Spec) any { return s.Workdir }, "/", "/image", "/profile", "/flag"},
		{"user", func(s *Spec) any { return s.User }, "", "image", "profile", "flag"},
		{"hostname", func(s *Spec) any { return s.Hostname }, "hutch", "hutch", "profile", "flag"},
		{"init", func(s *Spec) any { return s.Init }, true, true, false, true},
		{"network", func(s *Spec) any { return s.Network }, "none", "none", "host", "none"},
		{"id map", func(s *Spec) any { return s.IDMap }, "auto", "auto", "auto", "single"},
		{"read-only", func(s *Spec) any { return s.Root.ReadOnly }, false, false, true, false},
		{"disk", func(s *Spec) any { return s.Root.Disk }, int64(1 << 30), int64(1 << 30), int64(1 << 20), int64(2 << 20)},
		{"inodes", func(s *Spec) any { return s.Root.Inodes }, int64(1 << 18), int64(1 << 18), int64(100), int64(200)},
		{"mounts", func(s *Spec) any { return len(s.Mounts) }, 0, 0, 2, 3},
		{"hidden", func(s *Spec) any { return strings.Join(s.Hidden, " ") }, "", "", "/h", "/h /i"},
		{"protected", func(s *Spec) any { return strings.Join(s.Protected, " ") }, "", "", "/proc/p", "/proc/p /proc/q"},
		{"memory", func(s *Spec) any { return s.Limits.MemoryBytes }, int64(0), int64(0), int64(1 << 20), int64(2 << 20)},
		{"swap", func(s *Spec) any {
			if s.Limits.SwapBytes == nil {
				return "none"
			}
			return *s.Limits.SwapBytes
		}, "none", "none", int64(5), int64(0)},
		{"core size", func(s *Spec) any { return s.Limits.CoreSizeBytes != nil }, false, false, true, true},
		{"cpus", func(s *Spec) any { return s.Limits.CPUs }, 0.0, 0.0, 1.0, 2.0},
		{"processes", func(s *Spec) any { return s.Limits.Processes }, int64(0), int64(0), int64(3), int64(4)},
		{"timeout", func(s *Spec) any { return s.Limits.Timeout }, time.Duration(0), time.Duration(0), time.Minute, time.Hour},
		{"grace", func(s *Spec) any { return s.Limits.Grace }, 10 * time.Second, 10 * time.Second, 10 * time.Second, time.Second},
		{"landlock filesystem", func(s *Spec) any { return s.Landlock.Filesystem }, Prefer, Prefer, Require, Omit},
		{"landlock scopes", func(s *Spec) any { return s.Landlock.Scopes }, Prefer, Prefer, Omit, Require},
		{"landlock read", func(s *Spec) any { return fmt.Sprint(s.Landlock.Read == nil, s.Landlock.Read) }, "true []", "true []", "false []", "false [/f]"},
		{"landlock connect", func(s *Spec) any { return fmt.Sprint(s.Landlock.Connect == nil, s.Landlock.Connect) }, "true []", "true []", "false [80]", "false []"},
		{"profile", func(s *Spec) any { return s.Profile }, "", "", "p", "p"},
	}
	none := &profiles.Profile{}
	defaults, err := Resolve(none, dir(nil), Override{})
	must(t, defaults, err)
	fromImage, err := Resolve(none, dir(image), Override{})
	must(t, fromImage, err)
	fromProfile, err := Resolve(&profile, dir(image), Override{})
	must(t, fromProfile, err)
	all, err := Resolve(&profile, dir(image), flags)
	must(t, all, err)
	for _, test := range tests {
		for _, at := range []struct {
			where string
			s     *Spec
			want  any
		}{{"defaults", defaults, test.defaults}, {"image", fromImage, test.fromImage}, {"profile", fromProfile, test.fromProfile}, {"flags", all, test.flags}} {
			if got := test.get(at.s); got != at.want {
				t.Errorf("%s with %s: %v, want %v", test.what, at.where, got, at.want)
			}
		}
	}
	if err := all.Validate(); err != nil {
		t.Error(err)
	}
	again, err := Resolve(&profile, dir(image), flags)
	if must(t, again, err); !reflect.DeepEqual(again, all) {
		t.Error("Resolve is not pure")
	}
}

func TestResolveCapabilities(t *testing.T) {
	const image = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP " +
		"CAP_NET_BIND_SERVICE CAP_SYS_CHROOT CAP_AUDIT_WRITE CAP_SETFCAP"
	c := func(keep, add, drop []string) profiles.Capabilities {
		return profiles.Capabilities{Keep: keep, Add: add, Drop: drop}
	}
	tests := []struct {
		kind           rootfs.Kind
		profile, flags profiles.Capabilities
		want           string // empty with fails
		fails          bool
	}{
		{rootfs.KindDir, c(nil, nil, nil), c(nil, nil, nil), "", false},
		{rootfs.KindHost, c(nil, nil, nil), c(nil, nil, nil), "", false},
		{rootfs.KindHost, c(nil, []string{"chown"}, nil), c(nil, nil, nil), "CAP_CHOWN", false},
		{rootfs.KindDir, c([]string{"kill", "CAP_CHOWN"}, nil, nil), c(nil, nil, nil), "CAP_CHOWN CAP_KILL", false},
		{rootfs.KindDir, c([]string{}, nil, nil), c(nil, nil, nil), "", false},
		{rootfs.KindDir, c(nil, nil, []string{"all"}), c(nil, []string{"Net_Admin"}, nil), "CAP_NET_ADMIN", false},
		{rootfs.KindDir, c(nil, nil, []string{"all"}), c(nil, []string{"kill", "cap_kill", "chown"}, []string{"CHOWN"}), "CAP_KILL", false},
		{rootfs.KindDir, c([]string{"kill"}, []string{"chown"}, nil), c([]string{"setuid"}, nil, nil), "CAP_SETUID", false},
		{rootfs.KindDir, c(nil, []string{"sys_root"}, nil), c(nil, nil, nil), "", true},
		{rootfs.KindDir, c(nil, nil, nil), c(nil, nil, []string{""}), "", true},
		{rootfs.KindDir, c([]string{"CAP_"}, nil, nil), c(nil, nil, nil), "", true},
	}
	for i, test := range tests {
		s, err := Resolve(&profiles.Profile{Capabilities: test.profile}, &rootfs.Root{Kind: test.kind, Lowers: []string{"/r"}}, Override{Settings: profiles.Profile{Capabilities: test.flags}})
		if test.fails {
			if e := new(Error); !errors.As(err, &e) || e.Stage != StageResolve || e.Hint == "" {
				t.Errorf("%d: %v", i, err)
			}
			continue
		}
		want := test.want
		if i == 0 {
			want = image
		}
		if err != nil || caps(s) != want {
			t.Errorf("%d: %q, want %q: %v", i, caps(s), want, err)
		}
	}
	if n, ok := CapabilityNumber("CAP_CHECKPOINT_RESTORE"); !ok || n != 40 {
		t.Errorf("the last capability is %d", n)
	}
	if n, ok := CapabilityNumber("CAP_SYS_ADMIN"); !ok || n != 21 {
		t.Errorf("CAP_SYS_ADMIN is %d", n)
	}
}

func TestResolveHostHasNoLowers(t *testing.T) {
	s, err := Resolve(&profiles.Profile{}, &rootfs.Root{Kind: rootfs.KindHost, Lowers: []string{"/"}}, Override{Command: []string{"id"}})
	if must(t, s, err); s.Root.Kind != RootHost || s.Root.Lowers != nil || len(s.Capabilities) != 0 {
		t.Errorf("%+v", s.Root)
	}
}

func TestResolveRefuses(t *testing.T) {
	for name, p := range map[string]profiles.Profile{
		"bind":     {Filesystem: profiles.Filesystem{Bind: []string{"/a"}}},
		"tmpfs":    {Filesystem: profiles.Filesystem{Tmpfs: []string{"/a:no"}}},
		"read":     {Limits: profiles.Limits{IORead: []string{"/dev/vda:fast"}}},
		"read ops": {Limits: profiles.Limits{IOReadOps: []string{"10M"}}},
		"negative": {Limits: profiles.Limits{IOWriteOps: []string{"-1"}}},
	} {
		for _, asFlag := range []bool{true, false} {
			profile, o := &p, Override{}
			if asFlag {
				profile, o = &profiles.Profile{}, Override{Settings: p}
			}
			_, err := Resolve(profile, dir(nil), o)
			if e := new(Error); !errors.As(err, &e) || e.Stage != StageResolve || e.Hint == "" || ExitStatus(err) != ExitHutch {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestResolveIO(t *testing.T) {
	s, err := Resolve(
		&profiles.Profile{Limits: profiles.Limits{IORead: []string{"/dev/vda:1M"}, IOReadOps: []string{"5"}}}, dir(nil),
		Override{Settings: profiles.Profile{Limits: profiles.Limits{IORead: []string{"/dev/vda:2M"}, IOWrite: []string{"/dev/vda:3M", "4K"}}}},
	)
	must(t, s, err)
	want := []IOLimit{{Device: "/dev/vda", ReadBytes: 2 << 20, WriteBytes: 3 << 20}, {ReadOps: 5, WriteBytes: 4 << 10}}
	slices.SortFunc(s.Limits.IO, func(a, b IOLimit) int { return strings.Compare(b.Device, a.Device) })
	if !reflect.DeepEqual(s.Limits.IO, want) {
		t.Errorf("%+v", s.Limits.IO)
	}
}

// A Spec survives the way into a guest.
func TestSpecRoundTrip(t *testing.T) {
	for _, name := range profiles.BuiltinNames() {
		p, err := profiles.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		p.Filesystem.Bind = []string{"/a:/b:rw"}
		p.Limits.Swap, p.Limits.Timeout = sized(0), profiles.Duration(1500*time.Millisecond)
		p.Landlock.Read, p.Landlock.Bind = []string{}, []uint16{0, 443}
		s, err := Resolve(p, dir(nil), Override{Command: []string{"a", "ü\xff"[:2], ""}, Env: []string{"X=\n\t\"=", "EMPTY="}})
		must(t, s, err)
		s.Seccomp = Seccomp{Name: name, Digest: "sha256:1", Filter: []byte{0, 1, 255}}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Spec
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(normal(&back), normal(s)) {
			t.Errorf("%s:\n%+v\n%+v", name, back, *s)
		}
		if !reflect.DeepEqual(back.Landlock, s.Landlock) { // nothing is not the same as not said
			t.Errorf("%s: %+v, want %+v", name, back.Landlock, s.Landlock)
		}
	}
}

// normal makes nil and empty lists the same.
func normal(s *Spec) string {
	text, _ := json.Marshal(s)
	return strings.ReplaceAll(string(text), "null", "[]")
}

func FuzzParseBind(f *testing.F) {
	for _, s := range []string{"/a:/b", "/a:/b:ro", "/a:/b:rw", "a:b", ":", "::", ":::", "/a:", ":/b", "/a:/b:RW", "/a:/b:ro:rw", "\x00:\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		m, err := ParseBind(arg)
		if err != nil {
			if Hint(err) == "" {
				t.Errorf("%q: no hint: %v", arg, err)
			}
			return
		}
		back := m.Source + ":" + m.Target
		switch {
		case !m.ReadOnly:
			back += ":rw"
		case strings.Count(arg, ":") == 2:
			back += ":ro"
		}
		if back != arg || m.Type != MountBind || m.Source == "" {
			t.Errorf("%q became %+v", arg, m)
		}
		checkAccepted(t, m)
	})
}

func FuzzParseTmpfs(f *testing.F) {
	for _, s := range []string{"/a", "/a:1M", "/a:0", "/a:-1", "/a:", "", ":", "/a:1:2", "/a:99999999999T"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		m, err := ParseTmpfs(arg)
		if err != nil {
			if Hint(err) == "" {
				t.Errorf("%q: no hint: %v", arg, err)
			}
			return
		}
		if m.Type != MountTmpfs || m.Source != "" || !strings.HasPrefix(arg, m.Target) || strings.Contains(arg, ":") != (m.Size > 0) {
			t.Errorf("%q became %+v", arg, m)
		}
		checkAccepted(t, m)
	})
}

// checkAccepted: what Validate takes is absolute, clean of "..", and not one of
// the places that the box keeps for itself.
func checkAccepted(t *testing.T, m Mount) {
	t.Helper()
	s := valid()
	s.Mounts = []Mount{m}
	if s.Validate() != nil {
		return
	}
	for _, p := range []string{m.Target, m.Source} {
		if p == "" {
			continue
		}
		if p[0] != '/' || strings.Contains("/"+p+"/", "/../") || strings.ContainsRune(p, 0) {
			t.Errorf("accepted %q", p)
		}
	}
	if clean := path.Clean(m.Target); clean == "/" || clean == "/proc" || clean == "/dev" {
		t.Errorf("accepted target %q", m.Target)
	}
}
