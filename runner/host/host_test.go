package host

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestProbeListsEveryFact(t *testing.T) {
	facts := Probe(context.Background())
	list := facts.List()
	if want := reflect.TypeFor[Facts]().NumField(); len(list) != want {
		t.Fatalf("List has %d facts, Facts has %d fields", len(list), want)
	}
	for _, f := range list {
		t.Logf("%-28s %-5v %s | %s | %s", f.Name, f.Have, f.Value, f.Reason, f.Remedy)
		if f.Name == "" {
			t.Errorf("a fact without a name: %+v", f)
		}
		if !f.Have && (f.Reason == "" || f.Remedy == "") {
			t.Errorf("%s is lacking without a reason and a remedy: %+v", f.Name, f)
		}
	}
}

func TestProbeStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if f := Probe(ctx).UserNamespaces; f.Have || !strings.Contains(f.Reason, "not tried") {
		t.Errorf("probed in spite of a cancelled context: %+v", f)
	}
}

// The facts agree with what the machine's own tools do.
func TestFactsAgreeWithTools(t *testing.T) {
	agree := func(f Fact, name string, args ...string) {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if (err == nil) != f.Have {
			t.Errorf("%s is %v (%s), but %s %q gave %v: %s", f.Name, f.Have, f.Reason, name, args, err, out)
		}
	}
	agree(UserNamespaces(), "unshare", "-Ur", "true")
	const overlay = "mount -t tmpfs none /mnt && cd /mnt && mkdir l u w m && mount -t overlay none m -o lowerdir=l,upperdir=u,workdir=w"
	agree(OverlayInUserns(), "unshare", "-Urm", "sh", "-c", overlay+",userxattr")
	agree(Overlay(), "unshare", "-m", "sh", "-c", overlay)
	agree(KVM(), "sh", "-c", "exec 3<>/dev/kvm")
}

func TestProbesLeaveNothing(t *testing.T) {
	count := func() (n [3]int) {
		fds, _ := os.ReadDir("/proc/self/fd")
		children, _ := os.ReadFile("/proc/thread-self/children")
		mounts, _ := os.ReadFile("/proc/self/mountinfo")
		return [...]int{len(fds), len(strings.Fields(string(children))), strings.Count(string(mounts), "\n")}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	Probe(context.Background())
	before := count()
	for range 20 {
		Probe(context.Background())
		_ = IDMappable("/proc")
	}
	if after := count(); after != before {
		t.Errorf("descriptors, children, mounts before %v and after %v", before, after)
	}
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("a child is left: wait4 gave %v", err)
	}
}

// A failed step is named, with its errno.
func TestRunOpsNamesTheStep(t *testing.T) {
	if f := UserNamespaces(); !f.Have {
		t.Skip(f.Reason)
	}
	err := runOps(unix.CLONE_NEWUSER|unix.CLONE_NEWNS, overlayOps(",nonsense=1"))
	if !errors.Is(err, unix.EINVAL) || !strings.HasPrefix(err.Error(), "mount the overlay") {
		t.Errorf("got %v, want the overlay step with EINVAL", err)
	}
}

func TestIDMappable(t *testing.T) {
	dir := t.TempDir()
	err := IDMappable(dir)
	if os.Geteuid() != 0 {
		if !errors.Is(err, unix.EPERM) {
			t.Fatalf("an ordinary user got %v, want EPERM", err)
		}
	} else if err != nil {
		t.Errorf("%s: %v", dir, err)
	}
	for path, want := range map[string]error{"/no/such": unix.ENOENT, "/proc": unix.EINVAL} {
		err := IDMappable(path)
		var e *IDMapError
		if !errors.As(err, &e) || e.Reason == "" || e.Remedy == "" {
			t.Fatalf("%s: %v is not an explained error", path, err)
		}
		if os.Geteuid() == 0 && !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
	}
}

func TestKernel(t *testing.T) {
	for text, want := range map[string][2]int{
		"6.18.44-fc": {6, 18}, "6.1-rc2": {6, 1}, "5.10": {5, 10}, "": {}, "x.y": {}, "6": {}, "99999999.1": {},
	} {
		if a, b := parseRelease(text); [2]int{a, b} != want {
			t.Errorf("%q: got %d.%d, want %v", text, a, b, want)
		}
	}
	if major, _ := KernelVersion(); major < 3 {
		t.Errorf("this kernel's major version is %d", major)
	}
}

func TestLandlockFact(t *testing.T) {
	if f := landlockFact(7, nil); !f.Have || f.Value != "ABI 7" {
		t.Errorf("%+v", f)
	}
	for _, err := range []error{unix.EOPNOTSUPP, unix.ENOSYS, unix.EPERM} {
		if f := landlockFact(0, err); f.Have || f.Reason == "" || f.Remedy == "" {
			t.Errorf("%v: %+v", err, f)
		}
	}
}

// Each row is a machine, and the word that its remedy must hold.
func TestExplain(t *testing.T) {
	for _, c := range []struct {
		name   string
		e      usernsEvidence
		reason string
		remedy string
	}{
		{"max 0", usernsEvidence{err: unix.ENOSPC, maxNamespaces: "0"}, "max_user_namespaces is 0", "sysctl -w user.max_user_namespaces="},
		{"max reached", usernsEvidence{err: unix.ENOSPC, maxNamespaces: "5"}, "(5)", "sysctl -w user.max_user_namespaces="},
		{"debian", usernsEvidence{err: unix.EPERM, unprivClone: "0"}, "unprivileged_userns_clone", "sysctl -w kernel.unprivileged_userns_clone=1"},
		{"ubuntu", usernsEvidence{err: unix.EACCES, appArmor: "1"}, "apparmor_restrict", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
		{"docker", usernsEvidence{err: unix.EPERM, container: "docker", seccomp: "2"}, "docker", "--security-opt seccomp=unconfined"},
		{"podman", usernsEvidence{err: unix.EPERM, container: "podman", seccomp: "0"}, "podman", "--cap-add"},
		{"service", usernsEvidence{err: unix.EPERM, seccomp: "2"}, "seccomp filter", "RestrictNamespaces"},
		{"chroot", usernsEvidence{err: unix.EPERM, chrooted: true}, "chroot", "leave the chroot"},
		{"selinux", usernsEvidence{err: unix.EACCES, seLinux: true}, "SELinux", "ausearch"},
		{"no clone3", usernsEvidence{err: unix.ENOSYS}, "clone3", "newer kernel"},
		{"no userns", usernsEvidence{err: unix.EINVAL}, "CONFIG_USER_NS", "uml"},
		{"root ignores the sysctl", usernsEvidence{err: unix.EPERM, unprivClone: "0", root: true}, "the kernel refused", "uml"},
	} {
		reason, remedy := explain(c.e)
		if !strings.Contains(reason, c.reason) || !strings.Contains(remedy, c.remedy) {
			t.Errorf("%s: got %q, %q; want %q, %q", c.name, reason, remedy, c.reason, c.remedy)
		}
	}
}

// The real thing: a namespace in which max_user_namespaces is 0.
func TestExplainARealRefusal(t *testing.T) {
	if os.Getenv("HOST_TEST_REFUSED") == "1" {
		f := UserNamespaces()
		if f.Have || !strings.Contains(f.Remedy, "user.max_user_namespaces") {
			t.Errorf("got %+v", f)
		}
		return
	}
	if f := UserNamespaces(); !f.Have {
		t.Skip(f.Reason)
	}
	cmd := exec.Command("unshare", "-Ur", "sh", "-c", `echo 0 >/proc/sys/user/max_user_namespaces && exec "$0" -test.run=^TestExplainARealRefusal$ -test.v`, os.Args[0])
	cmd.Env = append(os.Environ(), "HOST_TEST_REFUSED=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS: TestExplainARealRefusal") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestHasRootMount(t *testing.T) {
	if chrooted() {
		t.Error("this process is said to be in a chroot")
	}
	if hasRootMount("22 27 0:21 / /proc rw - proc proc rw\n") || !hasRootMount("27 1 254:0 / / rw - ext4 /dev/vda rw") {
		t.Error("the mount of / is judged wrongly")
	}
}

func TestSubordinateIDs(t *testing.T) {
	const text = "# comment\n\nalice:100000:65536\nbob:1:x\n1000:300000:10\nalice:200000:5\n"
	for _, c := range []struct {
		user string
		uid  uint32
		want []IDRange
		err  string
	}{
		{"alice", 1, []IDRange{{0, 100000, 65536}, {65536, 200000, 5}}, ""},
		{"alice", 1000, []IDRange{{0, 100000, 65536}, {65536, 300000, 10}, {65546, 200000, 5}}, ""},
		{"carol", 7, nil, ""},
		{"", 7, nil, ""},
		{"bob", 2, nil, "line 4"},
	} {
		got, err := parseSubIDs(text, c.user, c.uid)
		if !reflect.DeepEqual(got, c.want) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s, %d: got %v, %v; want %v, %q", c.user, c.uid, got, err, c.want, c.err)
		}
	}
	for _, bad := range []string{"u:", "u", "u:1", "u:1:0", "u:-1:5", "u:4294967295:1", "u:4294967290:10", "u:1:2:3", "u:1:99999999999"} {
		if got, err := parseSubIDs(bad, "u", 5); err == nil {
			t.Errorf("%q is taken as %v", bad, got)
		}
	}
	if got, err := SubordinateIDs(filepath.Join(t.TempDir(), "none"), "x", 1); got != nil || err != nil {
		t.Errorf("a missing file gave %v, %v", got, err)
	}
}

func TestRootRange(t *testing.T) {
	for _, c := range []struct {
		subuid, subgid string
		base, count    uint32
	}{
		{"", "", rootBase, rootCount},
		{"root:500000:65536", "root:500000:70000", 500000, 65536},
		{"root:500000:65536", "", rootBase, rootCount},
		{"root:500000:10", "root:500000:10", rootBase, rootCount},
		{"hutch:600000:131072", "hutch:600000:131072", 600000, 131072},
		{"root:0:65536", "root:0:65536", rootBase, rootCount}, // would map root to root
		{"root:x:1\nhutch:600000:65536", "hutch:600000:65536", 600000, 65536},
	} {
		if base, count := rootRange(c.subuid, c.subgid); base != c.base || count != c.count {
			t.Errorf("%q, %q: got %d:%d, want %d:%d", c.subuid, c.subgid, base, count, c.base, c.count)
		}
	}
}

func TestIDMapHelper(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "newuidmap")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	var m *Missing
	if _, err := idMapHelper("newuidmap", capSetUID); !errors.As(err, &m) || !strings.Contains(m.Remedy, "chmod u+s") {
		t.Errorf("an ordinary program gave %v", err)
	}
	if _, err := idMapHelper("newgidmap", capSetGID); !errors.As(err, &m) || !strings.Contains(m.Remedy, "apt-get install uidmap") {
		t.Errorf("a missing program gave %v", err)
	}
	if os.Geteuid() != 0 {
		return
	}
	caps := make([]byte, 20)
	binary.LittleEndian.PutUint32(caps, 0x02000001)
	binary.LittleEndian.PutUint32(caps[4:], capSetUID)
	if err := unix.Setxattr(path, "security.capability", caps, 0); err != nil {
		t.Fatal(err)
	}
	if got, err := idMapHelper("newuidmap", capSetUID); got != path || err != nil {
		t.Errorf("with the file capability: %q, %v", got, err)
	}
	if err := unix.Removexattr(path, "security.capability"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	if got, err := idMapHelper("newuidmap", capSetUID); got != path || err != nil {
		t.Errorf("setuid: %q, %v", got, err)
	}
}

func TestBoundingLacks(t *testing.T) {
	if got := boundingLacks("000001fffeffffff", "40"); !slices.Equal(got, []string{"CAP_SYS_RESOURCE"}) {
		t.Errorf("got %v", got)
	}
	if got := boundingLacks("1ffffffffff", "40"); got != nil {
		t.Errorf("a whole set lacks %v", got)
	}
	// The kernel's own word for each capability of this process.
	for i := 0; i <= 40; i++ {
		has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(i), 0, 0, 0)
		if err != nil {
			break
		}
		if lacks := slices.Contains(BoundingLacks(), CapabilityName(i)); lacks == (has == 1) {
			t.Errorf("%s: the kernel says %d", CapabilityName(i), has)
		}
	}
}

func TestCgroupLayout(t *testing.T) {
	const (
		v2     = "28 27 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
		memory = "35 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
		docker = "35 31 0:31 /docker/a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	)
	for _, c := range []struct{ self, mounts, version, ownV2, ownV1 string }{
		{"0::/user/x", v2, "v2", "/sys/fs/cgroup/user/x", ""},
		{"0::/", v2, "v2", "/sys/fs/cgroup", ""},
		{"0::/../x", v2, "v2", "", ""},
		{"4:memory:/a\n0::/", v2 + memory, "hybrid", "/sys/fs/cgroup", "/sys/fs/cgroup/memory/a"},
		{"4:memory:/docker/a/b", docker, "v1", "", "/sys/fs/cgroup/memory/b"},
		{"4:memory:/docker/ab", docker, "v1", "", ""},
		{"", "", "none", "", ""},
	} {
		l := parseCgroupLayout(c.self, c.mounts)
		v1 := ""
		if len(l.V1) > 0 {
			v1 = l.V1[0].Own
		}
		if l.Version != c.version || l.Own != c.ownV2 || v1 != c.ownV1 {
			t.Errorf("%q with %q: got %+v", c.self, c.mounts, l)
		}
	}
	l := ReadCgroupLayout()
	for _, h := range l.V1 {
		if _, err := os.Stat(h.Own + "/cgroup.procs"); h.Own != "" && err != nil {
			t.Errorf("own group of %v: %v", h.Controllers, err)
		}
	}
}

func FuzzParsers(f *testing.F) {
	f.Add("6.18.44", "alice:100000:65536", "4:memory:/a", "35 31 0:31 / /m rw - cgroup cgroup rw,memory")
	f.Add("", "u:1:2:3", "0::/", "28 27 0:25 / /sys rw - cgroup2 c rw")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		parseRelease(a)
		ranges, err := parseSubIDs(b, "alice", 1000)
		for _, r := range ranges {
			if err != nil || r.Count == 0 || uint64(r.Outside)+uint64(r.Count) > 1<<32-1 || uint64(r.Inside)+uint64(r.Count) > 1<<32-1 {
				t.Errorf("%q gave %+v, %v", b, r, err)
			}
		}
		rootRange(b, c)
		l := parseCgroupLayout(c, d)
		for _, h := range l.V1 {
			if h.Own != "" && !strings.HasPrefix(h.Own, strings.TrimSuffix(h.Mount, "/")) {
				t.Errorf("own group %q leaves %q", h.Own, h.Mount)
			}
		}
		cgroupFact(l)
		hasRootMount(d)
		boundingLacks(a, b)
		statusField(a, b)
		parseFileCaps([]byte(a))
		itoa(len(a))
	})
}

func BenchmarkUserNamespaces(b *testing.B) {
	for b.Loop() {
		UserNamespaces()
	}
}

func BenchmarkIDMappable(b *testing.B) {
	for b.Loop() {
		_ = IDMappable("/")
	}
}

func BenchmarkRootRange(b *testing.B) {
	for b.Loop() {
		RootRange()
	}
}

func BenchmarkProbe(b *testing.B) {
	for b.Loop() {
		Probe(context.Background())
	}
}
