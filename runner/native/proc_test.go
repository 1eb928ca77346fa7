package native

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// opened is what a box may do with a path: how a read and a write open ended,
// and how much a read gave.
type opened struct {
	read, write unix.Errno
	some        bool // the read gave something
	null        bool // it is the null device
}

func tryPaths(t *testing.T, s *runner.Spec, paths []string) map[string]opened {
	t.Helper()
	var in strings.Builder
	for _, p := range paths {
		fmt.Fprintf(&in, "r %s\nw %s\n", p, p)
	}
	s.Command = []string{"/bin/probe", "opens"}
	answers := strings.Split(strings.TrimSpace(runBox(t, s, in.String()).out), "\n")
	s.Command = append([]string{"/bin/probe", "stat"}, paths...)
	stats := strings.Split(strings.TrimSpace(runBox(t, s, "").out), "\n")
	if len(answers) != 2*len(paths) || len(stats) != len(paths) {
		t.Fatalf("%d and %d answers about %d paths", len(answers), len(stats), len(paths))
	}
	out := map[string]opened{}
	for i, p := range paths {
		r, n, _ := strings.Cut(answers[2*i], " ")
		w, _, _ := strings.Cut(answers[2*i+1], " ")
		out[p] = opened{errno(r), errno(w), n != "0", strings.HasSuffix(stats[i], " 103")}
	}
	return out
}

// What of /proc and /sys tells of the host or changes it is empty or
// read-only, with every built-in default and even as root inside.
func TestKernelFiles(t *testing.T) {
	secret := []string{
		"/proc/kcore", "/proc/kmsg", "/proc/keys", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
		"/proc/latency_stats", "/proc/acpi", "/proc/asound", "/proc/scsi", "/proc/interrupts",
		"/sys/firmware", "/sys/firmware/efi", "/sys/kernel/security", "/sys/kernel/debug", "/sys/fs/cgroup",
		"/proc/1/mem", "/proc/1/environ", "/proc/1/maps", "/proc/1/root", "/proc/1/cwd", "/proc/1/fd/0", "/proc/1/exe",
		"/proc/vmallocinfo", "/proc/slabinfo", "/proc/kpagecount", "/proc/kpageflags", "/proc/pagetypeinfo",
	}
	fixed := []string{
		"/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/fs", "/proc/bus",
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname",
		"/proc/sys/kernel/modprobe", "/proc/sys/kernel/sysrq", "/proc/sys/kernel/panic", "/proc/sys/kernel/ns_last_pid",
		"/proc/sys/kernel/msgmax", "/proc/sys/kernel/shmmax", "/proc/sys/kernel/sem",
		"/proc/sys/vm/overcommit_memory", "/proc/sys/vm/drop_caches", "/proc/sys/vm/panic_on_oom",
		"/proc/sys/fs/binfmt_misc/register", "/proc/sys/fs/mqueue/msg_max", "/proc/sys/fs/protected_symlinks",
		"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/core/somaxconn",
		"/proc/sys/user/max_user_namespaces", "/proc/sys/user/max_net_namespaces", "/proc/sys/user/max_mnt_namespaces",
		"/proc/mtrr", "/proc/cmdline", "/proc/modules",
	}
	for _, user := range []string{"", "other"} {
		s := newSpec(t)
		if user != "" {
			if m, err := mapIDs(s); err != nil || !maps(m.uid, 1234) {
				continue
			}
			s.User = "1234:1234"
		}
		for p, o := range tryPaths(t, s, secret) {
			if o.read == 0 && o.some {
				t.Errorf("user %q: %s can be read", user, p)
			}
			if o.write == 0 && !o.null {
				t.Errorf("user %q: %s can be written", user, p)
			}
		}
		for p, o := range tryPaths(t, s, fixed) {
			if o.write == 0 {
				t.Errorf("user %q: %s can be written", user, p)
			}
		}
	}

	// It bites: without the lists root inside writes the sysctls of its own
	// namespaces, and reads the keys.
	s := newSpec(t)
	s.Hidden, s.Protected = nil, nil
	written, read := 0, 0
	for _, o := range tryPaths(t, s, fixed) {
		if o.write == 0 {
			written++
		}
	}
	for _, o := range tryPaths(t, s, secret) {
		if o.read == 0 && o.some {
			read++
		}
	}
	if written < 3 || read < 1 {
		t.Errorf("without the lists only %d files can be written and %d read", written, read)
	}
}

// There is no cgroup file system inside, and the box's own group is the root
// of what it sees (CVE-2022-0492).
func TestNoCgroupInside(t *testing.T) {
	for _, root := range []string{runner.RootLayers, runner.RootHost} {
		s := newSpec(t, "cat", "/proc/self/mountinfo", "/proc/self/cgroup")
		if root == runner.RootHost {
			s.Root.Kind, s.Root.Lowers, s.Capabilities = root, nil, nil
			s.Command = []string{"cat", "/proc/self/mountinfo", "/proc/self/cgroup"}
		}
		for line := range strings.Lines(runBox(t, s, "").out) {
			if f := strings.Fields(line); len(f) > 8 {
				if strings.Contains(line, " - cgroup") || strings.Contains(line, " - sysfs") || strings.Contains(line, " - securityfs") {
					t.Errorf("%s: a mount of the kernel's: %s", root, line)
				}
				continue
			}
			if path := line[strings.LastIndexByte(line, ':')+1:]; path != "/\n" {
				t.Errorf("%s: the group shows as %s", root, line)
			}
		}
	}
}

// A mask is the same for all: the null device for a file, an empty directory
// that cannot be written for a directory; and what is hidden in the image is.
func TestMasks(t *testing.T) {
	image := newImage(t)
	mkdir(t, image+"/secret")
	write(t, image+"/secret/file", "s")
	write(t, image+"/password", "s")
	symlink(t, "/password", image+"/link")
	s := newSpecIn(t, image)
	s.Hidden = []string{"/secret", "/password", "/nowhere", "/link"}
	got := tryPaths(t, s, []string{"/secret", "/secret/file", "/password", "/link"})
	if o := got["/secret"]; o.read != 0 || o.some {
		t.Errorf("/secret: %+v", o)
	}
	if o := got["/secret/file"]; o.read != unix.ENOENT {
		t.Errorf("/secret/file: %+v", o)
	}
	for _, p := range []string{"/password", "/link"} {
		if o := got[p]; o.read != 0 || o.some {
			t.Errorf("%s: %+v", p, o)
		}
	}
	s.Command = []string{"/bin/probe", "make", "/secret/new"}
	if out := runBox(t, s, "").out; errno(strings.TrimSpace(out)) != unix.EROFS {
		t.Errorf("a file in a masked directory: %q", out)
	}
	if _, err := os.Stat(image + "/secret/new"); err == nil {
		t.Error("the image was written to")
	}
}

// Nothing that a box writes reaches the image, and a read-only root takes
// nothing.
func TestWrites(t *testing.T) {
	image := newImage(t)
	write(t, image+"/file", "x")
	s := newSpecIn(t, image, "make", "/new", "/bin/new", "/tmp/new", "/dev/shm/new")
	if out := runBox(t, s, "").out; out != "0\n0\n0\n0\n" {
		t.Errorf("%q", out)
	}
	list, _ := os.ReadDir(image)
	if len(list) != 2 {
		t.Errorf("the image holds %v", list)
	}
	s.Root.ReadOnly = true
	if out, want := runBox(t, s, "").out, fmt.Sprintf("%d\n%[1]d\n0\n0\n", int(unix.EROFS)); out != want {
		t.Errorf("read-only: %q, want %q", out, want)
	}
	source := tempDir(t)
	for _, ro := range []bool{true, false} {
		s := newSpecIn(t, image, "make", "/data/new")
		s.Mounts = []runner.Mount{{Type: runner.MountBind, Source: source, Target: "/data", ReadOnly: ro}}
		out := strings.TrimSpace(runBox(t, s, "").out)
		if want := map[bool]unix.Errno{true: unix.EROFS}[ro]; errno(out) != want {
			t.Errorf("bind read-only %v: %v", ro, errno(out))
		}
		if _, err := os.Stat(source + "/new"); (err == nil) == ro {
			t.Errorf("bind read-only %v: the host's directory: %v", ro, err)
		}
	}
}
