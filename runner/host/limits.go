package host

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// BoundingLacks lists the capabilities that this process's bounding set has
// lost: no process below it can have them, whatever it does
// (capabilities(7)).
func BoundingLacks() []string {
	return boundingLacks(statusField(selfStatus(), "CapBnd"), strings.TrimSpace(readSmall("/proc/sys/kernel/cap_last_cap")))
}

func boundingLacks(capBnd, last string) []string {
	bits, err := strconv.ParseUint(capBnd, 16, 64)
	if err != nil {
		return nil
	}
	n, err := strconv.ParseUint(last, 10, 6)
	if err != nil {
		n = 40 // CAP_CHECKPOINT_RESTORE, since 5.9
	}
	var lacks []string
	for i := uint64(0); i <= n; i++ {
		if bits&(1<<i) == 0 {
			lacks = append(lacks, CapabilityName(int(i)))
		}
	}
	return lacks
}

// Capabilities is whether the bounding set is whole.
func Capabilities() Fact {
	f := Fact{Name: "capabilities"}
	lacks := BoundingLacks()
	if len(lacks) == 0 {
		f.Have, f.Value = true, "the bounding set is whole"
		return f
	}
	f.Reason = "missing from the bounding set: " + strings.Join(lacks, " ")
	f.Remedy = "none is needed for most boxes; they were dropped by what started this session (a container: --cap-add)"
	return f
}

// CapabilityName is the name of a capability's number (linux/capability.h).
func CapabilityName(n int) string {
	names := [...]string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID",
		"CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE",
		"CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK",
		"CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
		"CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
		"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
		"CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
		"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
		"CAP_CHECKPOINT_RESTORE",
	}
	if n < 0 || n >= len(names) {
		return "CAP_" + strconv.Itoa(n)
	}
	return names[n]
}

// Rlimits are the hard limits that a box cannot rise above.
func Rlimits() Fact {
	f := Fact{Name: "rlimits", Have: true}
	var parts []string
	for _, r := range [...]struct {
		name string
		nr   int
	}{
		{"nofile", unix.RLIMIT_NOFILE},
		{"nproc", unix.RLIMIT_NPROC},
		{"fsize", unix.RLIMIT_FSIZE},
		{"as", unix.RLIMIT_AS},
		{"cpu", unix.RLIMIT_CPU},
		{"memlock", unix.RLIMIT_MEMLOCK},
	} {
		var lim unix.Rlimit
		if unix.Getrlimit(r.nr, &lim) == nil && lim.Max != unix.RLIM_INFINITY {
			parts = append(parts, r.name+"="+itoa(lim.Max))
		}
	}
	if f.Value = "unlimited"; len(parts) > 0 {
		f.Value = "at most " + strings.Join(parts, " ")
	}
	return f
}
