package cgroup

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestV2Placement holds the rules on a real v2 hierarchy with controllers; on
// a host without one, what New then does. The guest runs the first half.
func TestV2Placement(t *testing.T) {
	lay, err := readLayout()
	if err != nil {
		t.Fatal(err)
	}
	g := newGroup(t, Limits{Memory: 64 * mib, Processes: 20}, Options{Usage: true})
	fd, ok := g.FD()
	if !lay.v2.offered().has(memory | pids) {
		if ok || g.Version() == "v2" || len(g.Procs()) == 0 {
			t.Errorf("version %s, fd %d, %v on a host without v2 controllers", g.Version(), fd, g.Procs())
		}
		return
	}
	if !ok || g.Version() != "v2" || len(g.Procs()) != 0 || len(g.Paths()) != 1 {
		t.Fatalf("version %s, fd %d, %v, %v", g.Version(), fd, g.Procs(), g.Paths())
	}
	for file, want := range map[string]string{"memory.max": itoa(64 * mib), "memory.oom.group": "1", "pids.max": "20"} {
		if got, err := readAt(fd, file); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", file, got, err, want)
		}
	}
	// A process is born in the group: its very first act finds it there.
	b, _ := run(t, g, "grep ^0: /proc/self/cgroup")
	if !strings.HasSuffix(strings.TrimSpace(b.out.String()), "/"+g.Name()) {
		t.Errorf("the box is in %q", b.out.String())
	}
}

// The whole box dies with one victim on v2 (memory.oom.group).
func TestV2OOMGroup(t *testing.T) {
	g := newGroup(t, Limits{Memory: 24 * mib}, Options{})
	if _, ok := g.FD(); !ok {
		return // v1 has no such thing
	}
	_, status := run(t, g, "tail /dev/zero; echo survived; exit 7")
	if !status.Signaled() {
		t.Errorf("the shell survived: %#x", status)
	}
}

// A limit that the box set for a group of its own, inside, is not the box's.
func TestV2OOMInsideIsNotOurs(t *testing.T) {
	g := newGroup(t, Limits{Memory: 128 * mib}, Options{})
	fd, ok := g.FD()
	if !ok {
		return // v1 raises no event in a group above the full one
	}
	if err := writeAt(fd, subtreeFile, "+memory"); err != nil {
		t.Fatal(err)
	}
	l := Limits{Memory: 24 * mib}
	inner := &Group{name: "inner", oom: oomWatch{eventfd: -1}}
	if err := inner.make(placement{parents: []parent{{path: g.Paths()[0], v2: true, ctl: memory}}}, &l); err != nil {
		t.Fatal(err)
	}
	defer cleanUp(t, inner)
	if _, status := run(t, inner, eatMemory); !status.Signaled() {
		t.Fatalf("ended with %#x", status)
	}
	if killed, err := inner.OOMKilled(); err != nil || !killed {
		t.Errorf("inner OOMKilled: %v, %v; want true", killed, err)
	}
	if killed, err := g.OOMKilled(); err != nil || killed {
		t.Errorf("outer OOMKilled: %v, %v; want false", killed, err)
	}
}

func TestParseLayout(t *testing.T) {
	const (
		unified = "28 27 0:25 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
		beside  = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
		memV1   = "35 31 0:31 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
		cpuV1   = "32 31 0:29 / /sys/fs/cgroup/cpu\\040x rw - cgroup cgroup rw,cpu,cpuacct\n"
		docker  = "35 31 0:31 /docker/a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
		systemd = "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
	)
	for _, c := range []struct {
		name, self, mounts string
		v2                 string
		v1                 []hierarchy
	}{
		{"v2", "0::/user.slice/x\n", unified, "/sys/fs/cgroup/user.slice/x", nil},
		{"root of v2", "0::/\n", unified, "/sys/fs/cgroup", nil},
		{"deleted", "0::/x (deleted)\n", unified, "/sys/fs/cgroup/x", nil},
		{"another namespace", "0::/../x\n", unified, "", nil},
		{
			"hybrid", "4:memory:/a\n2:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n", systemd + memV1 + cpuV1 + beside,
			"/sys/fs/cgroup/unified",
			[]hierarchy{
				{ctl: memory, mount: "/sys/fs/cgroup/memory", self: "/sys/fs/cgroup/memory/a"},
				{ctl: cpu | cpuacct, mount: "/sys/fs/cgroup/cpu x", self: "/sys/fs/cgroup/cpu x"},
			},
		},
		{
			"docker", "4:memory:/docker/a/b\n", docker, "",
			[]hierarchy{{ctl: memory, mount: "/sys/fs/cgroup/memory", self: "/sys/fs/cgroup/memory/b"}},
		},
		{
			"not below the mount", "4:memory:/docker/ab\n", docker, "",
			[]hierarchy{{ctl: memory, mount: "/sys/fs/cgroup/memory"}},
		},
		{"mounted twice", "0::/x\n", unified + beside, "/sys/fs/cgroup/x", nil},
		{"nothing", "", "22 27 0:21 / /proc rw - proc proc rw\n", "", nil},
		{"nonsense", "::::\n0\n", " - cgroup2\n- cgroup\n1 2 3 - cgroup\n", "", nil},
	} {
		lay := parseLayout(c.self, c.mounts)
		if lay.v2.self != c.v2 || fmt.Sprint(lay.v1) != fmt.Sprint(c.v1) {
			t.Errorf("%s: got %+v", c.name, lay)
		}
	}
}

// This process's own groups are where the kernel says.
func TestReadLayout(t *testing.T) {
	lay, err := readLayout()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, h := range append(lay.v1, lay.v2) {
		if h.self == "" {
			continue
		}
		procs, err := readFile(h.self + "/" + procsFile)
		if err != nil || !strings.Contains("\n"+procs+"\n", "\n"+itoa(int64(os.Getpid()))+"\n") {
			t.Errorf("%s does not list this process: %v", h.self, err)
		}
		found++
	}
	if found == 0 {
		t.Error("no group found")
	}
}

func TestMissingController(t *testing.T) {
	for _, c := range []struct {
		lay    layout
		reason string
	}{
		{layout{}, "no control groups are mounted"},
		{parseLayout("4:memory:/\n", "35 31 0:31 / /m rw - cgroup cgroup rw,memory\n"), "on no mounted hierarchy"},
	} {
		err := c.lay.placeV1(&placement{}, pids, 0)
		var e *Error
		if !errors.As(err, &e) || e.Controller != "pids" || !strings.Contains(e.Reason, c.reason) || !strings.Contains(e.Remedy, "mount -t cgroup") {
			t.Errorf("got %v", err)
		}
	}
	if err := notVisible(memory, "/m"); !strings.Contains(err.Error(), "namespace") {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	for _, good := range []Limits{
		{},
		{Memory: LeastMemory, Swap: -1},
		{Swap: 5},
		{CPUs: 0.01},
		{CPUs: 64},
		{CPUWeight: 10000},
		{CPUSet: "0-2,4"},
		{Processes: 1},
		{IO: []IOLimit{{ReadOps: 1}}},
	} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	nan := 0.0
	nan /= nan
	for _, bad := range []Limits{
		{Memory: -1},
		{Memory: LeastMemory - 1},
		{Swap: -2},
		{Memory: maxBytes, Swap: maxBytes},
		{CPUs: -1},
		{CPUs: 0.001},
		{CPUs: 1e9},
		{CPUs: nan},
		{CPUWeight: -1},
		{CPUWeight: 10001},
		{CPUSet: "x"},
		{CPUSet: "3-1"},
		{CPUSet: "1,"},
		{CPUSet: "99999999"},
		{Processes: -1},
		{Processes: 1 << 23},
		{IO: []IOLimit{{}}},
		{IO: []IOLimit{{ReadOps: -1}}},
	} {
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), ":") && !strings.Contains(err.Error(), "least") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestEmptyAndNames(t *testing.T) {
	if !(Limits{}).Empty() || !(Limits{Swap: -1}).Empty() {
		t.Error("limits of nothing are not empty")
	}
	all := Limits{Memory: 1, CPUs: 1, CPUWeight: 1, CPUSet: "0", Processes: 1, IO: make([]IOLimit, 1)}
	if got := strings.Join(all.Names(), " "); got != "memory swap cpus cpu-weight cpuset pids io" {
		t.Errorf("names: %s", got)
	}
	if all.controllers() != memory|cpu|cpuset|pids|blockio {
		t.Errorf("controllers: %b", all.controllers())
	}
}

// The least memory is enough for a static shell to be started, or refused.
func TestSwapOnlyOnV1(t *testing.T) {
	if _, err := memoryV1(&Limits{Swap: 5}); err == nil || !strings.Contains(err.Error(), "memory limit") {
		t.Errorf("got %v", err)
	}
}

func TestSettings(t *testing.T) {
	l := Limits{Memory: 1 << 20, Swap: 1 << 10, CPUs: 1.5, CPUWeight: 200}
	for _, c := range []struct {
		f    func(*Limits) ([]setting, error)
		want string
	}{
		{memoryV1, "memory.limit_in_bytes=1048576 memory.memsw.limit_in_bytes=1049600 memory.oom_control=0"},
		{memoryV2, "memory.oom.group=1 memory.max=1048576 memory.swap.max=1024"},
		{cpuV1, "cpu.cfs_quota_us=150000 cpu.shares=2048"},
		{cpuV2, "cpu.max=150000 100000 cpu.weight=200"},
	} {
		list, err := c.f(&l)
		var got []string
		for _, s := range list {
			got = append(got, s.file+"="+s.value)
		}
		if strings.Join(got, " ") != c.want || err != nil {
			t.Errorf("got %v, %v; want %s", got, err, c.want)
		}
	}
	io := []IOLimit{{Device: "4095:77", ReadBytes: 5, WriteOps: 7}}
	v2, err := ioV2(&Limits{IO: io})
	if err != nil || len(v2) != 1 || v2[0].value != "4095:77 rbps=5 wiops=7" {
		t.Errorf("io.max: %+v, %v", v2, err)
	}
	v1, err := ioV1(&Limits{IO: io})
	if err != nil || len(v1) != 2 || v1[1].file != "blkio.throttle.write_iops_device" || v1[1].value != "4095:77 7" {
		t.Errorf("blkio: %+v, %v", v1, err)
	}
}

// Each errno of a setting is explained.
func TestExplainSettings(t *testing.T) {
	p := parent{path: "/sys/fs/cgroup/x", ctl: memory}
	c := &controllers[0]
	s := setting{file: "memory.memsw.limit_in_bytes", lacks: noSwapAccounting, remedy: bootSwap, invalid: "it is too much"}
	for errno, want := range map[unix.Errno]string{
		unix.ENOENT: "swapaccount=1", unix.ENODEV: "lsblk", unix.EINVAL: "it is too much", unix.EROFS: "read-only", unix.EACCES: "chown",
	} {
		err := s.explain(c, "5", p, errno)
		if !errors.Is(err, errno) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "memory") {
			t.Errorf("%v: %v", errno, err)
		}
	}
}

func TestSharesOf(t *testing.T) {
	for weight, want := range map[int64]int64{1: 10, 100: 1024, 10000: 102400} {
		if got := sharesOf(weight); got != want {
			t.Errorf("weight %d: %d shares, want %d", weight, got, want)
		}
	}
}

func FuzzParsers(f *testing.F) {
	f.Add("4:memory:/a", "35 31 0:31 / /m rw - cgroup cgroup rw,memory", "0-3,5", "oom_kill 3")
	f.Add("0::/../x", `28 27 0:25 / /sys\040x rw - cgroup2 c rw`, "1-", "8:0 rbytes=1 wbytes=2")
	f.Fuzz(func(t *testing.T, self, mounts, list, text string) {
		lay := parseLayout(self, mounts)
		for _, h := range append(lay.v1, lay.v2) {
			if h.self != "" && !strings.HasPrefix(h.self, strings.TrimSuffix(h.mount, "/")) {
				t.Errorf("%q leaves its mount %q", h.self, h.mount)
			}
		}
		ranges, err := parseList(list)
		for _, r := range ranges {
			if err == nil && r[0] > r[1] {
				t.Errorf("%q gave %v", list, r)
			}
		}
		if p, ok := parseName(list); ok && p.pid <= 0 {
			t.Errorf("%q gave %+v", list, p)
		}
		keyed(text, "oom_kill")
		sumIOStat(text)
		sumServiceBytes(text)
		_, _ = parseStartTime(text)
		_ = Limits{CPUSet: list}.Validate()
	})
}
