package native

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hutch/seccomp"
)

// ask makes the calls in a box, one a line, and returns their errnos.
func ask(t *testing.T, filtered bool, lines []string) []syscall.Errno {
	t.Helper()
	s := newSpec(t, "calls")
	if filtered {
		marked(s)
	} else {
		unfiltered(s)
	}
	got := runBox(t, s, strings.Join(lines, "\n")+"\n").lines()
	if len(got) != len(lines) {
		t.Fatalf("%d answers to %d questions", len(got), len(lines))
	}
	out := make([]syscall.Errno, len(got))
	for i := range got {
		out[i] = errno(got[i])
	}
	return out
}

// Every address family but four is refused by the filter, whether this kernel
// has it or not (AF_ALG: CVE-2026-31431).
func TestSocketFamilies(t *testing.T) {
	allowed := map[int]string{unix.AF_UNIX: "1 0", unix.AF_INET: "2 0", unix.AF_INET6: "2 0", unix.AF_NETLINK: "3 0"}
	var lines []string
	for family := range 46 {
		args := allowed[family]
		if args == "" {
			args = "2 0"
		}
		lines = append(lines, fmt.Sprintf("%d %d %s", unix.SYS_SOCKET, family, args))
	}
	lines = append(
		lines,
		fmt.Sprintf("%d %d 5 0", unix.SYS_SOCKET, unix.AF_ALG),
		fmt.Sprintf("%d %d 3 %d", unix.SYS_SOCKET, unix.AF_NETLINK, unix.NETLINK_NETFILTER),
		fmt.Sprintf("%d %d 3 %d", unix.SYS_SOCKET, unix.AF_NETLINK, unix.NETLINK_XFRM),
		fmt.Sprintf("%d %d %d 0", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_PACKET),
		// The kernel looks at the lower half of the family only.
		fmt.Sprintf("%d 0xffffffff%08x 5 0", unix.SYS_SOCKET, unix.AF_ALG),
		fmt.Sprintf("%d 0x1%08x 5 0", unix.SYS_SOCKETPAIR, unix.AF_ALG),
	)
	with, without := ask(t, true, lines), ask(t, false, lines)
	bites := 0
	for i, line := range lines {
		if _, ok := allowed[i]; ok {
			if with[i] != 0 {
				t.Errorf("socket %s: %v, but it is allowed", line, with[i])
			}
			continue
		}
		if with[i] < mark {
			t.Errorf("socket %s: %v, and not by the filter", line, with[i])
		}
		if without[i] == 0 || without[i] == unix.ESOCKTNOSUPPORT || without[i] == unix.EPROTONOSUPPORT {
			bites++
		}
	}
	if bites < 2 {
		t.Errorf("without the filter only %d refused sockets are to be had: %v", bites, without)
	}
}

// System calls by another ABI end the process.
func TestOtherABIs(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("i386 and x32 are ways into an x86_64 kernel only")
	}
	for _, abi := range []string{"i386", "x32"} {
		o, err := tryBox(newSpec(t, "abi", abi), "")
		if err != nil || o.result.Signal != "SIGSYS" || o.result.Cause != "seccomp-killed" || o.result.ExitStatus() != 128+int(unix.SIGSYS) {
			t.Errorf("%s: %s %s %v %q", abi, o.result.Cause, o.result.Signal, err, o.out)
		}
		if o := runBox(t, unfiltered(newSpec(t, "abi", abi)), ""); o.out != "1\n" {
			t.Errorf("it does not bite: %s without the filter: %q", abi, o.out)
		}
	}
}

// No namespace is to be had inside, by whichever call; threads are.
func TestNamespacesInside(t *testing.T) {
	for _, flag := range []uint64{
		unix.CLONE_NEWUSER, unix.CLONE_NEWNS, unix.CLONE_NEWPID, unix.CLONE_NEWNET,
		unix.CLONE_NEWIPC, unix.CLONE_NEWUTS, unix.CLONE_NEWCGROUP, unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
	} {
		arg := fmt.Sprintf("%#x", flag)
		got := runBox(t, marked(newSpec(t, "space", arg)), "").lines()
		want := []string{fmt.Sprint(mark + 1), fmt.Sprint(mark + 1), fmt.Sprint(mark + int(unix.ENOSYS))}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("clone, unshare, clone3 of %s: %v, want %v", arg, got, want)
		}
	}
	// Without the filter the sysctl still stands for user namespaces.
	if got := runBox(t, unfiltered(newSpec(t, "space", "0x10000000")), "").out; got != fmt.Sprintf("%d %d %[1]d\n", int(unix.ENOSPC), int(unix.ENOSPC)) {
		t.Errorf("user namespaces without the filter: %q", got)
	}
	// And it bites: without either, an unprivileged clone gives all capabilities.
	bare := unfiltered(newSpec(t, "space", "0x10000000"))
	if got := runWithout(t, bare, "write-proc"); got != "0 0 0\n" {
		t.Errorf("user namespaces without filter and sysctl: %q", got)
	}
	if got := runBox(t, newSpec(t, "threads"), "").out; got != "8\n" {
		t.Errorf("%q threads ran", got)
	}
	if got := runBox(t, newSpec(t, "cat", "/proc/sys/user/max_user_namespaces"), "").out; got != "0\n" {
		t.Errorf("max_user_namespaces is %q", got)
	}
}

// The filter itself refuses these, with arguments that would do no harm.
func TestRefusedCalls(t *testing.T) {
	const bad = "0xffffffffffffffff"
	var lines, names []string
	for _, row := range []string{
		"bpf 99", "perf_event_open @ 0 -1 -1", "userfaultfd 0xffff", "keyctl 99", "add_key @", "request_key @",
		"mount @", "umount2 @", "open_tree " + bad, "fsopen @", "fsconfig " + bad, "fsmount " + bad, "fspick " + bad,
		"move_mount " + bad, "mount_setattr " + bad, "pivot_root @", "setns " + bad,
		"kexec_load 0 0 0 0xffff", "kexec_file_load " + bad, "open_by_handle_at " + bad,
		"ptrace 99", "ptrace 16 1", "process_vm_readv 1", "process_vm_writev 1", "process_madvise " + bad, "pidfd_getfd " + bad,
		"kcmp 1 1", "init_module @", "finit_module " + bad, "delete_module @", "reboot 0", "swapon @", "swapoff @",
		"settimeofday @", "clock_settime 99", "clock_adjtime 99", "adjtimex 0", "acct @", "quotactl 0", "quotactl_fd " + bad,
		"syslog 99", "iopl 0", "ioperm 0", "modify_ldt 99", "vhangup", "lookup_dcookie 0", "fanotify_init 0xffffffff",
		"nfsservctl 0", "sethostname @ 0xffffffff", "setdomainname @ 0xffffffff",
		"move_pages 0", "migrate_pages 0", "mbind 0", "set_mempolicy 99",
		"io_uring_setup 0", "io_uring_enter " + bad, "io_uring_register " + bad,
		"unshare 0x10000000", "clone3 0",
	} {
		name, args, _ := strings.Cut(row, " ")
		nr, ok := seccomp.Number(seccomp.Native(), name)
		if !ok {
			if runtime.GOARCH == "amd64" {
				t.Errorf("no call %s", name)
			}
			continue
		}
		names, lines = append(names, row), append(lines, fmt.Sprint(nr, " ", args))
	}
	got := ask(t, true, lines)
	for i, name := range names {
		if got[i] < mark {
			t.Errorf("%s: %v, not refused by the filter", name, got[i])
		}
		enosys := strings.HasPrefix(name, "io_uring") || strings.HasPrefix(name, "clone3")
		if enosys && got[i] != mark+unix.ENOSYS {
			t.Errorf("%s: %d, want ENOSYS, so that programs fall back", name, got[i]-mark)
		}
	}
	// It bites: without the filter the kernel gets to see the arguments.
	seen := 0
	for i, e := range ask(t, false, lines) {
		if e != unix.EPERM && e != unix.ENOSYS && e != unix.EACCES {
			seen++
		} else if strings.HasPrefix(names[i], "keyctl") {
			t.Errorf("%s without the filter: %v", names[i], e)
		}
	}
	if seen < 15 {
		t.Errorf("without the filter only %d calls reach the kernel", seen)
	}
}

// TIOCSTI and TIOCLINUX put nothing into the caller's terminal, whatever the
// upper half of the number holds (CVE-2017-5226, CVE-2019-7303).
func TestTerminalInjection(t *testing.T) {
	pushed := func(filtered bool) (string, string) {
		master, slave := openTerminal(t)
		defer master.Close()
		defer slave.Close()
		s := newSpec(t, "inject")
		if filtered {
			marked(s)
		} else {
			unfiltered(s)
		}
		out := runOn(t, s, slave)
		var n int
		n, err := unix.IoctlGetInt(int(slave.Fd()), unix.TIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		return out, fmt.Sprint(n)
	}
	perm := fmt.Sprint(mark + int(unix.EPERM))
	want := strings.Repeat(perm+" "+perm+"\n", 2)
	if out, n := pushed(true); out != want || n != "0" {
		t.Errorf("answers %q and %s characters arrived", out, n)
	}
	legacy, _ := os.ReadFile("/proc/sys/dev/tty/legacy_tiocsti")
	if string(legacy) == "0\n" {
		return // this kernel refuses by itself
	}
	if out, n := pushed(false); n != "2" {
		t.Errorf("it does not bite: %q, %s characters", out, n)
	}
}
