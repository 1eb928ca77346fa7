package runner

import (
	"fmt"
	"slices"
	"strings"

	"hutch/profiles"
)

// imageCapabilities is what package managers and services need inside a user
// namespace: to become other users, to own and change files whoever owns
// them, to bind low ports, to chroot. None reaches outside the namespace.
func imageCapabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
		"CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_SETFCAP",
		"CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_AUDIT_WRITE",
	}
}

// capabilityNames is every capability, at the index of its number,
// capabilities(7). To add one: append its name when the kernel numbers it.
var capabilityNames = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER",
	"CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST",
	"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
	"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
	"CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
	"CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD",
	"CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP",
	"CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
}

// CapabilityNumber is the number of the capability called name.
func CapabilityNumber(name string) (int, bool) {
	i := slices.Index(capabilityNames[:], name)
	return i, i >= 0
}

// capabilities applies, farthest first, each source's keep, add and drop.
func capabilities(kind string, sources ...profiles.Capabilities) ([]string, error) {
	list := []string{}
	if kind != RootHost {
		list = imageCapabilities()
	}
	for _, s := range sources {
		keep, err := canonical(s.Keep)
		if err != nil {
			return nil, err
		}
		add, err := canonical(s.Add)
		if err != nil {
			return nil, err
		}
		drop, err := canonical(s.Drop)
		if err != nil {
			return nil, err
		}
		if s.Keep != nil {
			list = keep
		}
		list = append(list, add...)
		list = slices.DeleteFunc(list, func(c string) bool { return slices.Contains(drop, c) })
	}
	slices.SortFunc(list, func(a, b string) int {
		i, _ := CapabilityNumber(a)
		j, _ := CapabilityNumber(b)
		return i - j
	})
	return slices.Compact(list), nil
}

// canonical turns "chown", "CHOWN" and "cap_chown" into "CAP_CHOWN" and
// "all" into every capability.
func canonical(names []string) ([]string, error) {
	var out []string
	for _, n := range names {
		c := strings.ToUpper(n)
		if c == "ALL" {
			out = append(out, capabilityNames[:]...)
			continue
		}
		if !strings.HasPrefix(c, "CAP_") {
			c = "CAP_" + c
		}
		if _, ok := CapabilityNumber(c); !ok {
			return nil, &Error{
				Stage: StageResolve, Step: fmt.Sprintf("capability %q is not one that Linux has", n),
				Hint: "capabilities(7) lists them; write chown, CAP_CHOWN or all",
			}
		}
		out = append(out, c)
	}
	return out, nil
}
