package runner

import (
	"slices"

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

// CapabilityNumber is the number of the capability called name.
func CapabilityNumber(name string) (int, bool) { return profiles.CapabilityNumber(name) }

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
		c, err := profiles.ParseCapability(n)
		if err != nil {
			return nil, &Error{Stage: StageResolve, Step: err.Error(), Hint: "capabilities(7) lists them; write chown, CAP_CHOWN or all"}
		}
		out = append(out, c...)
	}
	return out, nil
}
