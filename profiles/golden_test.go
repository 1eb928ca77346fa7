package profiles

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hutch/seccomp"
)

var update = flag.Bool("update", false, "write the golden files")

// A probe is a call whose arguments decide.
type probe struct {
	text string
	call string
	args [6]uint64
}

// probes are the calls with arguments that stand in the golden table. high is
// set in the upper half of an argument, which the kernel ignores for an int.
func probes() []probe {
	const high = 0xdead << 32
	list := []probe{
		{"ioctl(TCGETS)", "ioctl", [6]uint64{0, unix.TCGETS}},
		{"ioctl(TIOCSTI)", "ioctl", [6]uint64{0, unix.TIOCSTI}},
		{"ioctl(TIOCSTI|high)", "ioctl", [6]uint64{0, unix.TIOCSTI | high}},
		{"ioctl(TIOCLINUX)", "ioctl", [6]uint64{0, unix.TIOCLINUX}},
		{"ioctl(TIOCLINUX|high)", "ioctl", [6]uint64{0, unix.TIOCLINUX | high}},
		{"ioctl(TIOCSETD)", "ioctl", [6]uint64{0, unix.TIOCSETD}},
		{"ioctl(TIOCCONS)", "ioctl", [6]uint64{0, unix.TIOCCONS}},
		{"clone(fork)", "clone", [6]uint64{unix.CLONE_CHILD_SETTID | unix.CLONE_CHILD_CLEARTID | uint64(unix.SIGCHLD)}},
		{"clone(thread)", "clone", [6]uint64{0x3d0f00}},
		{"clone(thread|NEWUSER)", "clone", [6]uint64{0x3d0f00 | unix.CLONE_NEWUSER}},
		{"personality(PER_LINUX)", "personality", [6]uint64{0}},
		{"personality(query)", "personality", [6]uint64{0xffffffff}},
		{"personality(ADDR_NO_RANDOMIZE)", "personality", [6]uint64{0x40000}},
		{"personality(READ_IMPLIES_EXEC)", "personality", [6]uint64{0x400000}},
		{"personality(bad)", "personality", [6]uint64{0x0e}},
		{"mmap(read|exec)", "mmap", [6]uint64{0, 4096, unix.PROT_READ | unix.PROT_EXEC, unix.MAP_PRIVATE}},
		{"mmap(write|exec)", "mmap", [6]uint64{0, 4096, unix.PROT_WRITE | unix.PROT_EXEC, unix.MAP_PRIVATE}},
		{"mmap(exec, anonymous)", "mmap", [6]uint64{0, 4096, unix.PROT_EXEC, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS}},
		{"mprotect(exec)", "mprotect", [6]uint64{0, 4096, unix.PROT_EXEC}},
		{"socket(INET, STREAM|CLOEXEC)", "socket", [6]uint64{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC}},
		{"socket(INET|high, STREAM)", "socket", [6]uint64{unix.AF_INET | high, unix.SOCK_STREAM}},
		{"socket(ALG|high)", "socket", [6]uint64{unix.AF_ALG | high, unix.SOCK_SEQPACKET}},
		{"socket(INET, PACKET)", "socket", [6]uint64{unix.AF_INET, unix.SOCK_PACKET}},
		{"socket(INET, PACKET|CLOEXEC)", "socket", [6]uint64{unix.AF_INET, unix.SOCK_PACKET | unix.SOCK_CLOEXEC}},
		{"socket(INET, DCCP)", "socket", [6]uint64{unix.AF_INET, unix.SOCK_DCCP}},
		{"socket(INET, STREAM, SCTP)", "socket", [6]uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP}},
		{"socket(INET6, STREAM, MPTCP)", "socket", [6]uint64{unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}},
	}
	for bit := uint64(0); bit < 64; bit++ {
		list = append(list, probe{fmt.Sprintf("clone(SIGCHLD, bit %d)", bit), "clone", [6]uint64{uint64(unix.SIGCHLD) | 1<<bit}})
	}
	for family := uint64(0); family <= 48; family++ {
		list = append(list, probe{fmt.Sprintf("socket(%d, STREAM)", family), "socket", [6]uint64{family, unix.SOCK_STREAM}})
		list = append(list, probe{fmt.Sprintf("socketpair(%d, STREAM)", family), "socketpair", [6]uint64{family, unix.SOCK_STREAM}})
	}
	for protocol := uint64(0); protocol <= 24; protocol++ {
		list = append(list, probe{fmt.Sprintf("socket(NETLINK, RAW, %d)", protocol), "socket", [6]uint64{unix.AF_NETLINK, unix.SOCK_RAW, protocol}})
	}
	return list
}

func readFilter(t *testing.T, name, goarch string) seccomp.Filter {
	t.Helper()
	f, err := os.ReadFile(name + "_" + goarch + ".bpf")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func outcome(f seccomp.Filter, a seccomp.Arch, nr int, args [6]uint64) string {
	return strings.TrimPrefix(seccomp.Run(f, seccomp.Data{Nr: int32(nr), Arch: a, Args: args}).String(), "errno ")
}

// Every number of the architecture × every built-in profile × what comes of it,
// and the calls whose arguments decide.
func TestGoldenTable(t *testing.T) {
	for _, a := range []struct {
		goarch string
		arch   seccomp.Arch
	}{{"amd64", seccomp.ArchX86_64}, {"arm64", seccomp.ArchAArch64}} {
		var b bytes.Buffer
		var filters []seccomp.Filter
		row := func(nr, what string, outcomes ...string) {
			line := fmt.Sprintf("%4s %-31s", nr, what)
			for _, o := range outcomes {
				line += fmt.Sprintf(" %-15s", o)
			}
			fmt.Fprintln(&b, strings.TrimRight(line, " "))
		}
		all := func(nr int, args [6]uint64) (out []string) {
			for _, f := range filters {
				out = append(out, outcome(f, a.arch, nr, args))
			}
			return out
		}
		row("#", a.arch.String(), BuiltinNames()...)
		for _, name := range BuiltinNames() {
			filters = append(filters, readFilter(t, name, a.goarch))
		}
		for nr := 0; nr <= seccomp.Last(a.arch)+2; nr++ {
			row(fmt.Sprint(nr), seccomp.Name(a.arch, nr), all(nr, [6]uint64{})...)
		}
		for _, p := range probes() {
			nr, ok := seccomp.Number(a.arch, p.call)
			if !ok {
				t.Fatalf("%s has no %s", a.arch, p.call)
			}
			row(fmt.Sprint(nr), p.text, all(nr, p.args)...)
		}
		golden(t, filepath.Join("testdata", "golden_"+a.goarch+".txt"), b.Bytes())
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wants, gots := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	for i := range max(len(wants), len(gots)) {
		w, g := line(wants, i), line(gots, i)
		if w != g {
			t.Errorf("%s:%d differs (-update writes it anew):\n-%s\n+%s", path, i+1, w, g)
		}
	}
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

// What no built-in profile may ever allow, whatever the golden table says.
func TestNeverAllowed(t *testing.T) {
	never := slices.Concat(
		seccomp.Group("@clock"), seccomp.Group("@handle"), seccomp.Group("@io-uring"), seccomp.Group("@kernel"),
		seccomp.Group("@keyring"), seccomp.Group("@mount"), seccomp.Group("@namespace"), seccomp.Group("@obsolete"),
		[]string{
			"acct", "clone3", "fanotify_init", "ioperm", "iopl", "mbind", "migrate_pages", "modify_ldt", "move_pages",
			"perf_event_open", "quotactl", "quotactl_fd", "reboot", "set_mempolicy", "setdomainname", "sethostname",
			"swapoff", "swapon", "syslog", "userfaultfd", "vhangup",
		},
	)
	notInDefault := []string{"kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace"}
	for _, name := range BuiltinNames() {
		f, _ := BuiltinFilter(name)
		list := never
		if name != "ci" && name != "tenant" {
			list = slices.Concat(never, notInDefault)
		}
		if name == "uml" { // whose kernel traces the guest's programs, its own children
			list = slices.DeleteFunc(list, func(call string) bool { return call == "ptrace" })
		}
		for _, call := range list {
			nr, ok := seccomp.Number(seccomp.Native(), call)
			if ok && outcome(f, seccomp.Native(), nr, [6]uint64{}) == "allow" {
				t.Errorf("%s allows %s", name, call)
			}
		}
		for _, foreign := range []seccomp.Data{
			{Arch: 0x40000003, Nr: 20},
			{Arch: 0x40000028, Nr: 20},
			{Arch: 0},
			{Arch: seccomp.Native(), Nr: 0x40000000 | 39},
			{Arch: seccomp.Native(), Nr: 0x40000000 | 5000},
		} {
			if got := seccomp.Run(f, foreign); got != seccomp.ActionKillProcess {
				t.Errorf("%s: %+v: %s", name, foreign, got)
			}
		}
	}
}

// What is embedded is what the texts say.
func TestGeneratedIsCurrent(t *testing.T) {
	files, err := filepath.Glob("*.toml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(BuiltinNames()) {
		t.Errorf("%d texts, %d built-in profiles: run go generate", len(files), len(BuiltinNames()))
	}
	for _, name := range BuiltinNames() {
		text := decodeBuiltin(t, name)
		built, ok := Builtin(name)
		if !ok {
			t.Fatalf("%s is missing", name)
		}
		if got, want := fmt.Sprintf("%#v", dump(built)), fmt.Sprintf("%#v", dump(text)); got != want {
			t.Errorf("%s: run go generate\ngot  %s\nwant %s", name, got, want)
		}
		for goarch, arch := range map[string]seccomp.Arch{"amd64": seccomp.ArchX86_64, "arm64": seccomp.ArchAArch64} {
			if goarch == "arm64" && seccomp.Native() != seccomp.ArchX86_64 {
				continue // made on x86_64
			}
			want, err := seccomp.CompileFor(text.Seccomp, arch)
			if err != nil {
				t.Fatal(err)
			}
			if got := readFilter(t, name, goarch); !bytes.Equal(got, want) {
				t.Errorf("%s_%s.bpf: run go generate", name, goarch)
			}
		}
		f, err := built.Filter("")
		embedded, _ := BuiltinFilter(name)
		if err != nil || !bytes.Equal(f, embedded) {
			t.Errorf("%s: Filter is not the embedded one: %v", name, err)
		}
	}
}

func decodeBuiltin(t *testing.T, name string) *Profile {
	t.Helper()
	data, err := os.ReadFile(name + ".toml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Decode(name+".toml", data, func(parent string) (*Profile, error) { return decodeBuiltin(t, parent), nil })
	if err != nil {
		t.Fatal(err)
	}
	return p
}
