package cgroup

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const mib = 1 << 20

// tail must keep the last line, and /dev/zero has none.
const eatMemory = "exec tail /dev/zero"

func TestMemoryLimit(t *testing.T) {
	g := newGroup(t, Limits{Memory: 24 * mib}, Options{})
	started := time.Now()
	_, status := run(t, g, eatMemory)
	if !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Fatalf("ended with %#x, want SIGKILL", status)
	}
	if d := time.Since(started); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
	for range 2 { // asking twice gives the same answer
		if killed, err := g.OOMKilled(); err != nil || !killed {
			t.Errorf("OOMKilled: %v, %v; want true", killed, err)
		}
	}
	u, err := g.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if u.OOMKills == nil || *u.OOMKills < 1 {
		t.Errorf("OOMKills: %v", u.OOMKills)
	}
	if u.MemoryPeak != nil && (*u.MemoryPeak < 8*mib || *u.MemoryPeak > 25*mib) {
		t.Errorf("peak of %d bytes under a limit of %d", *u.MemoryPeak, 24*mib)
	}
	if g.Version() != "v2" && u.MemoryPeak == nil {
		t.Error("no memory peak on v1")
	}
}

// The test above bites: with enough memory the same kind of program ends well.
func TestMemoryEnough(t *testing.T) {
	g := newGroup(t, Limits{Memory: 64 * mib}, Options{})
	if _, status := run(t, g, "exec tail -c 8M /dev/zero >/dev/null 2>&1 & p=$!; sleep 0.2; kill $p; exit 3"); status.ExitStatus() != 3 {
		// tail -c on an endless file keeps 8 MiB and reads on until it is killed.
		t.Fatalf("ended with %#x", status)
	}
	if killed, err := g.OOMKilled(); err != nil || killed {
		t.Errorf("OOMKilled: %v, %v; want false", killed, err)
	}
}

func TestKillIsNoOOM(t *testing.T) {
	g := newGroup(t, Limits{Memory: 64 * mib}, Options{})
	if _, status := run(t, g, "kill -9 $$"); status.Signal() != syscall.SIGKILL {
		t.Fatalf("ended with %#x", status)
	}
	if killed, err := g.OOMKilled(); err != nil || killed {
		t.Errorf("OOMKilled: %v, %v; want false", killed, err)
	}
}

// Page cache that reaches the limit is no shortage.
func TestPageCacheIsNoOOM(t *testing.T) {
	g := newGroup(t, Limits{Memory: 16 * mib}, Options{})
	script := "dd if=/dev/zero of=" + t.TempDir() + "/big bs=1M count=48 2>&1; exit 4"
	if os.Getenv(guestVar) != "" { // its only writable file system is memory itself
		script = "dd if=" + ioDevice(t) + " of=/dev/null bs=1M 2>&1; exit 4"
	}
	b, status := run(t, g, script)
	if status.ExitStatus() != 4 {
		t.Fatalf("ended with %#x: %s", status, b.out.String())
	}
	if killed, err := g.OOMKilled(); err != nil || killed {
		t.Errorf("OOMKilled: %v, %v; want false", killed, err)
	}
}

// When the group above is full, its victims in the box are not the box's.
func TestOOMAboveIsNotOurs(t *testing.T) {
	outer := newGroup(t, Limits{Memory: 24 * mib}, Options{})
	d := &outer.dirs[slices.IndexFunc(outer.dirs, func(d dir) bool { return d.ctl.has(memory) })]
	if d.v2 {
		if err := writeAt(d.fd, subtreeFile, "+memory"); err != nil {
			t.Fatal(err)
		}
	}
	l := Limits{Memory: 512 * mib, Swap: -1}
	inner := &Group{name: "inner", oom: oomWatch{eventfd: -1}}
	if err := inner.make(placement{parents: []parent{{path: d.path, v2: d.v2, ctl: memory}}}, &l); err != nil {
		t.Fatal(err)
	}
	defer cleanUp(t, inner)
	if _, status := run(t, inner, eatMemory); status.Signal() != syscall.SIGKILL {
		t.Fatalf("ended with %#x", status)
	}
	if u, err := inner.Usage(); err != nil || u.OOMKills == nil || *u.OOMKills == 0 {
		t.Errorf("the victim was not counted: %v, %v", u.OOMKills, err)
	}
	if killed, err := inner.OOMKilled(); err != nil || killed {
		t.Errorf("inner OOMKilled: %v, %v; want false, the limit above was the full one", killed, err)
	}
	if killed, err := outer.OOMKilled(); d.v2 && (err != nil || !killed) {
		t.Errorf("outer OOMKilled: %v, %v; want true", killed, err)
	}
}

func TestProcessLimit(t *testing.T) {
	const script = `i=0; while [ $i -lt 12 ]; do sleep 60 & i=$((i+1)); done; echo all`
	g := newGroup(t, Limits{Processes: 8}, Options{})
	b := start(t, g, script+" 2>&1")
	b.wait(t)
	if out := b.out.String(); strings.Contains(out, "all") || !strings.Contains(strings.ToLower(out), "fork") {
		t.Errorf("twelve processes fit below a limit of eight: %q", out)
	}
	if u, _ := g.Usage(); u.ProcessesPeak != nil && (*u.ProcessesPeak > 8 || *u.ProcessesPeak < 2) {
		t.Errorf("peak of %d processes under a limit of 8", *u.ProcessesPeak)
	}
	wide := newGroup(t, Limits{Processes: 30}, Options{})
	b = start(t, wide, script)
	b.wait(t)
	if out := b.out.String(); !strings.Contains(out, "all") {
		t.Errorf("twelve processes do not fit below a limit of thirty: %q", out)
	}
}

// Who would use a whole processor is held back, and gets the part that it was
// given. How much others get is the business of a machine that may be busy.
func TestCPUQuota(t *testing.T) {
	g := newGroup(t, Limits{CPUs: 0.2}, Options{})
	d := g.dirs[slices.IndexFunc(g.dirs, func(d dir) bool { return d.ctl.has(cpu) })]
	throttled := func() int64 {
		text, err := readAt(d.fd, "cpu.stat")
		n, ok := keyed(text, "nr_throttled")
		if err != nil || !ok {
			t.Fatalf("cpu.stat: %q, %v", text, err)
		}
		return n
	}
	if n := throttled(); n != 0 {
		t.Errorf("held back %d times before it ran", n)
	}
	began := time.Now()
	b := start(t, g, "while :; do :; done")
	for time.Since(began) < time.Second || throttled() == 0 && time.Since(began) < time.Minute {
		time.Sleep(50 * time.Millisecond)
	}
	held := throttled()
	if err := b.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.wait(t)
	used, wall := b.ProcessState.UserTime()+b.ProcessState.SystemTime(), time.Since(began)
	if used > wall*2/5 {
		t.Errorf("used %v of %v under a limit of 0.2 processors", used, wall)
	}
	if held == 0 {
		t.Errorf("was never held back in %v, and used %v", wall, used)
	}
}

func TestCPUWeight(t *testing.T) {
	g := newGroup(t, Limits{CPUWeight: 50}, Options{})
	i := slices.IndexFunc(g.dirs, func(d dir) bool { return d.ctl.has(cpu) })
	file, want := "cpu.shares", int64(512)
	if g.dirs[i].v2 {
		file, want = "cpu.weight", 50
	}
	if got := number(g.dirs[i].fd, file); got == nil || *got != want {
		t.Errorf("%s: %v, want %d", file, got, want)
	}
}

// The last processor of this machine, so that the answer differs from "all"
// wherever there is more than one.
func TestCPUSet(t *testing.T) {
	online, err := readFile("/sys/devices/system/cpu/online")
	if err != nil {
		t.Fatal(err)
	}
	ranges, err := parseList(online)
	if err != nil {
		t.Fatal(err)
	}
	last := strconv.Itoa(ranges[len(ranges)-1][1])
	g, err := New("", Limits{CPUSet: last}, Options{})
	if e := (*Error)(nil); errors.As(err, &e) && e.Controller == "cpuset" && !hasController(cpuset) {
		t.Logf("this kernel has no cpuset controller, and that is said: %v", err)
		return
	}
	requireGroups(t)
	if err != nil {
		t.Fatal(err)
	}
	defer cleanUp(t, g)
	b, _ := run(t, g, "grep Cpus_allowed_list: /proc/self/status")
	if f := strings.Fields(b.out.String()); len(f) != 2 || f[1] != last {
		t.Errorf("allowed processors %q, want %s", b.out.String(), last)
	}
}

// hasController reports what this host has, in the kernel's own words.
func hasController(c set) bool {
	lay, err := readLayout()
	if err != nil {
		return false
	}
	for _, h := range lay.v1 {
		if h.ctl.has(c) {
			return true
		}
	}
	return lay.v2.offered().has(c)
}

func TestCPUSetOfMissingProcessor(t *testing.T) {
	requireGroups(t)
	g, err := New("", Limits{CPUSet: "0,4095"}, Options{})
	if err == nil {
		cleanUp(t, g)
		t.Fatal("a processor that is not there was taken")
	}
	var e *Error
	if !errors.As(err, &e) || e.Controller != "cpuset" || e.Remedy == "" {
		t.Errorf("%v is not explained", err)
	}
	noLeftovers(t, os.Getpid())
}

// ioDevice is a disk that can be read and limited: in the guest its own, here
// a loop device over a file, which root may make.
func ioDevice(t *testing.T) string {
	t.Helper()
	if os.Getenv(guestVar) != "" {
		return "/dev/ubda"
	}
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user has no disk to read; root and the guest test this")
	}
	file := t.TempDir() + "/disk"
	if err := os.WriteFile(file, make([]byte, diskSize), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dev := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", dev).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return dev
}

const diskSize = 48 * mib

func TestIOLimit(t *testing.T) {
	dev := ioDevice(t)
	read := func(l Limits) (time.Duration, Usage) {
		t.Helper()
		g := newGroup(t, l, Options{})
		begin := time.Now()
		if b, status := run(t, g, "dd if="+dev+" of=/dev/null iflag=direct bs=64k count=32"); status != 0 {
			t.Fatalf("%#x: %s", status, b.out.String())
		}
		u, err := g.Usage()
		if err != nil {
			t.Fatal(err)
		}
		return time.Since(begin), u
	}
	for _, device := range []string{dev, ""} {
		// 2 MiB at 2 MiB a second.
		slow, u := read(Limits{IO: []IOLimit{{Device: device, ReadBytes: 2 * mib}}})
		if slow < 700*time.Millisecond {
			t.Errorf("device %q: two seconds' worth took %v", device, slow)
		}
		if u.ReadBytes == nil || *u.ReadBytes < 2*mib || *u.ReadBytes > 4*mib {
			t.Errorf("device %q: read %v bytes, want 2 MiB", device, u.ReadBytes)
		}
	}
	// On a busy machine one of many tries is fast enough; under a limit none is.
	fast := time.Hour
	for end := time.Now().Add(time.Minute); fast > 600*time.Millisecond && time.Now().Before(end); {
		took, _ := read(Limits{IO: []IOLimit{{Device: dev, ReadBytes: 1 << 40}}})
		fast = min(fast, took)
	}
	if fast > 600*time.Millisecond {
		t.Errorf("almost without a limit it took %v", fast)
	}
}

func TestIODeviceErrors(t *testing.T) {
	for _, device := range []string{"/no/such", "/dev/null", "/tmp", "x:y", "1:2:3"} {
		if dev, err := diskOf(device); err == nil || !strings.Contains(err.Error(), device) || !strings.Contains(err.Error(), "/dev/sda") {
			t.Errorf("%q: %q, %v", device, dev, err)
		}
	}
	if dev, err := diskOf("4095:77"); dev != "4095:77" || err != nil {
		t.Errorf("%q, %v", dev, err)
	}
}

// What was not waited for is counted too.
func TestUsage(t *testing.T) {
	g := newGroup(t, Limits{Memory: 64 * mib, CPUs: 1, Processes: 20}, Options{Usage: true})
	b := start(t, g, `(i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done) & sleep 0.01; exit 0`)
	b.wait(t)
	waited := (b.ProcessState.UserTime() + b.ProcessState.SystemTime()).Seconds()
	var u Usage
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		var err error
		if u, err = g.Usage(); err != nil {
			t.Fatal(err)
		}
		if u.User == nil || u.System == nil || *u.User+*u.System >= waited+0.01 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("user %v, system %v; the shell alone: %v", *u.User, *u.System, waited)
		}
	}
	if u.User == nil || u.System == nil {
		t.Errorf("user %v, system %v", deref(u.User), deref(u.System))
	}
	if u.OOMKills == nil || *u.OOMKills != 0 {
		t.Errorf("OOMKills: %v", u.OOMKills)
	}
	if g.Version() != "v2" && (u.MemoryPeak == nil || *u.MemoryPeak < 4096 || u.ProcessesPeak == nil || *u.ProcessesPeak < 2) {
		t.Errorf("memory %v, processes %v", u.MemoryPeak, u.ProcessesPeak)
	}
}

func deref(f *float64) float64 {
	if f == nil {
		return math.NaN()
	}
	return *f
}

// Fields are nil when nobody asked for what they need.
func TestUsageUnknownIsNil(t *testing.T) {
	g := newGroup(t, Limits{Processes: 20}, Options{})
	u, err := g.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if fd, ok := g.FD(); ok {
		if _, err := readAt(fd, "io.stat"); errors.Is(err, unix.ENOENT) && u.ReadBytes != nil {
			t.Error("i/o is counted without its controller")
		}
		return
	}
	if u.MemoryPeak != nil || u.User != nil || u.ReadBytes != nil || u.OOMKills != nil {
		t.Errorf("counted without the controllers: %+v", u)
	}
}

func TestOnlyControllersInUse(t *testing.T) {
	g := newGroup(t, Limits{Processes: 20}, Options{})
	if paths := g.Paths(); len(paths) != 1 {
		t.Errorf("a process limit touched %v", paths)
	}
	if _, ok := g.FD(); !ok && len(g.Procs()) != 1 {
		t.Errorf("files to write: %v", g.Procs())
	}
}

func TestKillTakesAll(t *testing.T) {
	for _, c := range []struct {
		name string
		l    Limits
		opt  Options
	}{
		{"processes", Limits{Processes: 64}, Options{}},
		{"freezer", Limits{Memory: 128 * mib}, Options{Freezer: true}},
		{"memory", Limits{Memory: 128 * mib}, Options{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGroup(t, c.l, c.opt)
			b := start(t, g, `for i in 1 2 3; do setsid sh -c 'sleep 60 & sleep 60' & done; echo ready; sleep 60`)
			deadline := time.Now().Add(time.Minute)
			var list []int
			for len(list) < 10 && time.Now().Before(deadline) {
				time.Sleep(5 * time.Millisecond)
				list = processes(&g.dirs[0])
			}
			if len(list) < 10 {
				t.Fatalf("only %v run", list)
			}
			if err := g.Kill(); err != nil {
				t.Fatal(err)
			}
			b.wait(t)
			for _, pid := range list {
				if alive(pid) {
					t.Errorf("process %d is alive", pid)
				}
			}
			if left := processes(&g.dirs[0]); len(left) > 0 {
				t.Errorf("%v are left", left)
			}
		})
	}
}

func TestKillForkBomb(t *testing.T) {
	g := newGroup(t, Limits{Processes: 64}, Options{})
	b := start(t, g, `f() { f 2>/dev/null & f 2>/dev/null & wait; }; while :; do f; done 2>/dev/null`)
	time.Sleep(200 * time.Millisecond)
	begin := time.Now()
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	b.wait(t)
	if d := time.Since(begin); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestRemoveIsPatientAndRepeatable(t *testing.T) {
	g := newGroup(t, Limits{Processes: 20}, Options{})
	b := start(t, g, "exec sleep 60")
	time.AfterFunc(100*time.Millisecond, func() { b.Process.Kill() })
	if err := g.Remove(); err != nil {
		t.Errorf("while the last process was ending: %v", err)
	}
	b.wait(t)
	if err := g.Remove(); err != nil {
		t.Error(err)
	}
	if err := (*Group)(nil).Remove(); err != nil {
		t.Error(err)
	}
	if _, err := g.Usage(); err == nil {
		t.Error("usage of a removed group")
	}
}

func TestRemoveTellsWhoIsInside(t *testing.T) {
	g := newGroup(t, Limits{Processes: 20}, Options{})
	path := g.Paths()[0]
	b := start(t, g, "exec sleep 60")
	err := removeTree(path)
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, unix.EBUSY) || e.Reason == "" {
		t.Errorf("got %v", err)
	}
	if err := b.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.wait(t)
}

// Groups made inside go too.
func TestRemoveTree(t *testing.T) {
	g := newGroup(t, Limits{Processes: 20}, Options{})
	if err := os.MkdirAll(g.Paths()[0]+"/a/b", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(g.Paths()[0]+"/c", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := g.Remove(); err != nil || exists(g.dirs[0].path) {
		t.Errorf("%v", err)
	}
}

func TestNames(t *testing.T) {
	g := newGroup(t, Limits{Processes: 20}, Options{})
	again, err := New(g.Name(), Limits{Processes: 20}, Options{})
	if err == nil {
		cleanUp(t, again)
		t.Fatal("a name in use was taken")
	}
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, unix.EEXIST) || !strings.Contains(e.Reason, "in use") {
		t.Errorf("got %v", err)
	}
	if !exists(g.Paths()[0]) {
		t.Error("the first group was removed")
	}
	for _, bad := range []string{"a/b", ".", "..", "x\ny", strings.Repeat("x", 256)} {
		if g, err := New(bad, Limits{Processes: 20}, Options{}); err == nil {
			cleanUp(t, g)
			t.Errorf("%q was taken as a name", bad)
		}
	}
}

func TestErrnoSurvives(t *testing.T) {
	if err := (&Error{Op: "x", Err: unix.EROFS}); errnoOf(err) != unix.EROFS {
		t.Error("the errno is lost")
	}
	e := parent{path: "/sys/fs/cgroup", v2: true, ctl: memory}.denied("make x", unix.EROFS)
	if !strings.Contains(e.Error(), "read-only") || !strings.Contains(e.Remedy, "remount") {
		t.Errorf("%v", e)
	}
}

func BenchmarkGroup(b *testing.B) {
	for _, c := range []struct {
		name string
		l    Limits
		opt  Options
	}{
		{"pids", Limits{Processes: 64}, Options{}},
		{"memory", Limits{Memory: 64 * mib}, Options{}},
		{"memory,cpu,pids", Limits{Memory: 64 * mib, CPUs: 1, Processes: 64}, Options{}},
		{"memory,cpu,pids+usage", Limits{Memory: 64 * mib, CPUs: 1, Processes: 64}, Options{Usage: true}},
	} {
		b.Run(c.name, func(b *testing.B) {
			requireGroups(b)
			for b.Loop() {
				g, err := New("", c.l, c.opt)
				if err != nil {
					b.Fatal(err)
				}
				if err := g.Remove(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReadLayout(b *testing.B) {
	for b.Loop() {
		if _, err := readLayout(); err != nil {
			b.Fatal(err)
		}
	}
}

// What a run has to do besides: put one process in.
func BenchmarkAdd(b *testing.B) {
	requireGroups(b)
	g := newGroup(b, Limits{Memory: 64 * mib, CPUs: 1, Processes: 64}, Options{})
	if _, ok := g.FD(); ok {
		b.Skip("on v2 a process is started in its group")
	}
	for b.Loop() {
		b.StopTimer()
		p := exec.Command("sleep", "60")
		if err := p.Start(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := g.Add(p.Process.Pid); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = p.Process.Kill()
		_ = p.Wait()
		b.StartTimer()
	}
}

func BenchmarkSweep(b *testing.B) {
	for b.Loop() {
		if _, err := Sweep(false); err != nil {
			b.Fatal(err)
		}
	}
}
