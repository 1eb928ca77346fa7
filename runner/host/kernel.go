package host

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The oldest kernel that has all that the native engine is built from:
// mount_setattr and id-mapped mounts, 5.12.
const (
	needMajor = 5
	needMinor = 12
)

// KernelVersion is the first two numbers of uname(2)'s release; 0, 0 when it
// makes no sense.
func KernelVersion() (major, minor int) { return parseRelease(release()) }

func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// parseRelease reads "6.18.44-fc" or "6.1-rc2".
func parseRelease(s string) (major, minor int) {
	first, rest, _ := strings.Cut(s, ".")
	second := rest
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		second = rest[:i]
	}
	a, errA := strconv.ParseUint(first, 10, 16)
	b, errB := strconv.ParseUint(second, 10, 16)
	if errA != nil || errB != nil {
		return 0, 0
	}
	return int(a), int(b)
}

// Kernel is whether the kernel is new enough.
func Kernel() Fact {
	f := Fact{Name: "kernel", Value: "Linux " + release()}
	major, minor := KernelVersion()
	f.Have = major > needMajor || major == needMajor && minor >= needMinor
	if !f.Have {
		f.Reason = fmt.Sprintf("it is older than %d.%d", needMajor, needMinor)
		f.Remedy = "install a newer kernel, or use an engine that brings its own"
	}
	return f
}

// LandlockABI is the version of Landlock's interface, 0 where there is none
// (landlock_create_ruleset(2)).
func LandlockABI() int {
	abi, _ := landlockABI()
	return abi
}

func landlockABI() (int, error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, errno
	}
	return int(abi), nil
}

// Landlock is whether the kernel has Landlock, and which ABI.
func Landlock() Fact {
	abi, err := landlockABI()
	return landlockFact(abi, err)
}

func landlockFact(abi int, err error) Fact {
	f := Fact{Name: "Landlock", Have: abi > 0}
	switch err {
	case nil:
		f.Value = "ABI " + strconv.Itoa(abi)
	case unix.EOPNOTSUPP:
		f.Reason = "it is built in, but switched off at boot"
		f.Remedy = "add landlock to lsm= on the kernel's command line"
	case unix.ENOSYS:
		f.Reason = "the kernel is older than 5.13, was built without it (CONFIG_SECURITY_LANDLOCK), or a filter hides it"
		f.Remedy = "use a newer kernel; in a container: allow landlock_create_ruleset in its seccomp profile"
	default:
		f.Reason = err.Error()
		f.Remedy = "in a container: allow landlock_create_ruleset in its seccomp profile"
	}
	return f
}

// Seccomp is whether system call filters can be loaded, with the actions the
// kernel knows. A filter that is already on this process is told, too: it
// goes on to apply inside every box.
func Seccomp() Fact {
	f := Fact{Name: "seccomp"}
	actions, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail")
	if err != nil {
		f.Reason = "the kernel has no system call filters (CONFIG_SECCOMP_FILTER), or /proc is not mounted: " + err.Error()
		f.Remedy = "use a kernel that has them"
		return f
	}
	f.Have, f.Value = true, strings.TrimSpace(string(actions))
	if n := statusField(selfStatus(), "Seccomp_filters"); n != "" && n != "0" {
		f.Reason = n + " filters are on this process already and bind every box too"
	}
	return f
}

func selfStatus() string {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return ""
	}
	return string(text)
}

// statusField finds a line of /proc/PID/status (proc_pid_status(5)).
func statusField(text, name string) string {
	for line := range strings.SplitSeq(text, "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && key == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
