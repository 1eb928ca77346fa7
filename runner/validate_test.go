package runner

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// valid is a Spec with nothing wrong.
func valid() *Spec {
	return &Spec{
		Version: SpecVersion, Command: []string{"sh"}, Env: []string{"A=1"}, Workdir: "/", Hostname: "hutch", Init: true,
		Root:    Root{Kind: RootLayers, Lowers: []string{"/r"}, Disk: 1 << 20, Inodes: 100},
		Network: NetworkNone, IDMap: IDMapAuto,
		Landlock: Landlock{Filesystem: Prefer, Scopes: Prefer},
	}
}

func TestValidate(t *testing.T) {
	if err := valid().Validate(); err != nil {
		t.Fatal(err)
	}
	bind := func(source, target string) func(*Spec) {
		return func(s *Spec) { s.Mounts = []Mount{{Type: MountBind, Source: source, Target: target}} }
	}
	tmpfs := func(target string) func(*Spec) {
		return func(s *Spec) { s.Mounts = []Mount{{Type: MountTmpfs, Target: target}} }
	}
	tests := []struct {
		change func(*Spec)
		want   string // in the error; empty: valid
	}{
		{func(s *Spec) { s.Version = 2 }, "version 2"},
		{func(s *Spec) { s.Devices = []Device{{Source: "/dev/kvm", Name: "kvm"}} }, ""},
		{func(s *Spec) { s.Devices = []Device{{Source: "kvm", Name: "kvm"}} }, "source"},
		{func(s *Spec) { s.Devices = []Device{{Source: "/dev/kvm", Name: ".."}} }, "name"},
		{func(s *Spec) { s.Devices = []Device{{Source: "/dev/kvm", Name: "a/b"}} }, "name"},
		{func(s *Spec) { s.Command = nil }, "no command"},
		{func(s *Spec) { s.Command = []string{""} }, "empty word"},
		{func(s *Spec) { s.Command = []string{"a", ""} }, ""},
		{func(s *Spec) { s.Command = []string{"a", "b\x00c"} }, "zero byte"},
		{func(s *Spec) { s.Env = []string{"A"} }, "environment"},
		{func(s *Spec) { s.Env = []string{"=A"} }, "environment"},
		{func(s *Spec) { s.Env = []string{"A=\x00"} }, "environment"},
		{func(s *Spec) { s.Env = []string{"A="} }, ""},
		{func(s *Spec) { s.Workdir = "work" }, "not absolute"},
		{func(s *Spec) { s.Workdir = "" }, "not absolute"},
		{func(s *Spec) { s.Workdir = "/a/../b" }, "leaves its parent"},
		{func(s *Spec) { s.Workdir = "/proc/self/cwd/.." }, "leaves its parent"},
		{func(s *Spec) { s.Workdir = "/..." }, ""},
		{func(s *Spec) { s.Workdir = "/a\x00" }, "working directory"},
		{func(s *Spec) { s.Workdir = "/" + strings.Repeat("a/", 2048) }, "working directory"},
		{func(s *Spec) { s.Hidden = []string{"etc"} }, "not absolute"},
		{func(s *Spec) { s.Hidden = []string{"/a/.."} }, "leaves"},
		{func(s *Spec) { s.Protected = []string{"/proc/.."} }, "leaves"},
		{func(s *Spec) { s.Root.Lowers = nil }, "no layers"},
		{func(s *Spec) { s.Root.Lowers = []string{"r"} }, "not absolute"},
		{func(s *Spec) { s.Root = Root{Kind: RootHost, Disk: 1 << 20, Inodes: 100} }, ""},
		{func(s *Spec) { s.Root.Kind = "nfs" }, "root kind"},
		{bind("/a", "/b"), ""},
		{bind("/a", "b"), "not absolute"},
		{bind("a", "/b"), "not absolute"},
		{bind("/a/../b", "/b"), "leaves"},
		{bind("/a", "/"), "cover the root"},
		{bind("/a", "//."), "cover the root"},
		{bind("/a", "/b/.."), "leaves"},
		{bind("/a", "/proc"), "keeps for itself"},
		{bind("/a", "/proc/sys"), "keeps for itself"},
		{bind("/a", "//proc//sys"), "keeps for itself"},
		{bind("/a", "/./dev"), "keeps for itself"},
		{bind("/a", "/dev/null"), "keeps for itself"},
		{bind("/a", "/dev/shm/x"), ""},
		{bind("/a", "/dev/shmx"), "keeps for itself"},
		{bind("/a", "/process"), ""},
		{bind("/a", "/devices"), ""},
		{tmpfs("/"), "cover the root"},
		{tmpfs("/proc/x"), "keeps for itself"},
		{tmpfs("/a"), ""},
		{func(s *Spec) { s.Mounts = []Mount{{Type: "nfs", Target: "/a"}} }, "nfs"},
		{func(s *Spec) { s.Mounts = []Mount{{Type: MountTmpfs, Target: "/a", Size: -1}} }, "below zero"},
		{func(s *Spec) { s.Hostname = "" }, "hostname"},
		{func(s *Spec) { s.Hostname = strings.Repeat("a", 65) }, "hostname"},
		{func(s *Spec) { s.Hostname = "a b" }, "hostname"},
		{func(s *Spec) { s.Hostname = "a\n" }, "hostname"},
		{func(s *Spec) { s.Hostname = "ü" }, "hostname"},
		{func(s *Spec) { s.Hostname = "a-b.c_D9" }, ""},
		{func(s *Spec) { s.Network = "" }, "network"},
		{func(s *Spec) { s.Network = "none host" }, "network"},
		{func(s *Spec) { s.Network = "bridge" }, "network"},
		{func(s *Spec) { s.IDMap = "all" }, "id map"},
		{func(s *Spec) { s.Landlock.Filesystem = "" }, "landlock filesystem"},
		{func(s *Spec) { s.Landlock.Scopes = "maybe" }, "landlock scopes"},
		{func(s *Spec) { s.Landlock.Read = []string{"etc"} }, "landlock.read"},
		{func(s *Spec) { s.Landlock.Write = []string{"/tmp/../etc"} }, "landlock.write"},
		{func(s *Spec) { s.Landlock.Execute = []string{"/bin\x00"} }, "landlock.execute"},
		{func(s *Spec) { s.Landlock.List, s.Landlock.Connect = []string{"/"}, []uint16{0, 65535} }, ""},
		{func(s *Spec) { s.Root.Disk = 4096 }, "disk"},
		{func(s *Spec) { s.Root.Inodes = 1 }, "inodes"},
		{func(s *Spec) { s.Limits.MemoryBytes = -1 }, "memory"},
		{func(s *Spec) { s.Limits.Processes = -1 }, "processes"},
		{func(s *Spec) { s.Limits.OpenFiles = 7 }, "open files"},
		{func(s *Spec) { s.Limits.OpenFiles = 8 }, ""},
		{func(s *Spec) { s.Limits.Timeout = -time.Second }, "timeout"},
		{func(s *Spec) { s.Limits.Grace = -1 }, "grace"},
		{func(s *Spec) { s.Limits.CPUs = -1 }, "cpus"},
		{func(s *Spec) { s.Limits.CPUs = 1e9 }, "cpus"},
		{func(s *Spec) { n := int64(-5); s.Limits.SwapBytes = &n }, "swap"},
		{func(s *Spec) { n := int64(-5); s.Limits.CoreSizeBytes = &n }, "core size"},
		{func(s *Spec) { s.Capabilities = []string{"CAP_ALL"} }, "capability"},
		{func(s *Spec) { s.Capabilities = []string{"chown"} }, "capability"},
		{func(s *Spec) { s.Capabilities = []string{"CAP_CHOWN"} }, ""},
		{func(s *Spec) { s.Seccomp.Filter = []byte{1, 2, 3} }, "filter"},
		{func(s *Spec) { s.Seccomp.Filter = make([]byte, 8*70000) }, "filter"},
	}
	for i, test := range tests {
		s := valid()
		test.change(s)
		err := s.Validate()
		if test.want == "" {
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
			continue
		}
		e := new(Error)
		if !errors.As(err, &e) || e.Stage != StageResolve || !strings.Contains(e.Error(), test.want) || e.Hint == "" {
			t.Errorf("%d: %v, want %q and a hint", i, err, test.want)
		}
	}
}
