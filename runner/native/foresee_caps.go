package native

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// capabilityRefusal foresees a call for want of a capability. Each case is one
// in which the kernel has nothing else left to ask, capabilities(7).
func (w *watcher) capabilityRefusal(p *process, name string, a [6]uint64) *refusal {
	switch name {
	case "setuid", "setreuid", "setresuid":
		if !idsGranted(name, a, p.uids, p.uidMap) {
			return w.wants(p, unix.CAP_SETUID, "setuid")
		}
	case "setgid", "setregid", "setresgid":
		if !idsGranted(name, a, p.gids, p.gidMap) {
			return w.wants(p, unix.CAP_SETGID, "setgid")
		}
	case "setgroups":
		return w.wants(p, unix.CAP_SETGID, "setgid")
	case "sethostname", "setdomainname", "fsopen":
		return w.wants(p, unix.CAP_SYS_ADMIN, "sys_admin")
	case "unshare":
		const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWPID | unix.CLONE_NEWCGROUP
		if a[0] != 0 && a[0]&^namespaces == 0 {
			return w.wants(p, unix.CAP_SYS_ADMIN, "sys_admin")
		}
	case "setns":
		return w.joinRefusal(p, a)
	case "chroot", "mount", "umount2", "pivot_root":
		return w.directoryRefusal(p, name, a)
	case "settimeofday", "clock_settime":
		return clockRefusal(p, name, a)
	}
	return nil
}

// wants is the refusal of a call for want of one capability of the box's own
// user namespace, nil if the process has it.
func (w *watcher) wants(p *process, number int, capability string) *refusal {
	if p.has(number) {
		return nil
	}
	return w.lacking(p, capability)
}

// lacking says how the capability is had: only root of the box keeps any.
func (w *watcher) lacking(p *process, capability string) *refusal {
	r := &refusal{
		what: refusedCapability, name: "CAP_" + strings.ToUpper(capability), errno: unix.EPERM,
		hint: `capabilities.add = ["` + capability + `"]`,
	}
	if root, ok := p.uidMap.outside(0); !ok {
		r.hint = "none: no root is mapped into this box; run an image, or hutch as root"
	} else if root != p.uids[1] {
		r.hint = `process.user = "root"  # only it has capabilities; with ` + r.hint
	}
	if capability == "sys_admin" {
		r.warning = "gives root of the box most of the kernel's code to attack"
	}
	return r
}

// directoryRefusal is of calls that look their directory up first. Landlock
// refuses every change of mounts to who has a ruleset about files, landlock(7).
func (w *watcher) directoryRefusal(p *process, name string, a [6]uint64) *refusal {
	if name == "chroot" {
		return w.chrootRefusal(p, a)
	}
	at, nofollow := 0, false
	switch name {
	case "mount":
		at = 1
		for _, text := range [...]uint64{a[0], a[2]} {
			if text != 0 && memory(p.pid)(text, 1) == nil {
				return nil // EFAULT
			}
		}
	case "umount2":
		const known = unix.MNT_FORCE | unix.MNT_DETACH | unix.MNT_EXPIRE | unix.UMOUNT_NOFOLLOW
		nofollow = a[1]&unix.UMOUNT_NOFOLLOW != 0
		if a[1]&^known != 0 || a[1]&unix.MNT_EXPIRE != 0 {
			return nil
		}
	}
	lacks, kept := !p.has(unix.CAP_SYS_ADMIN), slices.ContainsFunc(w.layers, func(l layer) bool { return l.handled != 0 })
	if name == "pivot_root" {
		if lacks { // before it looks
			return w.lacking(p, "sys_admin")
		}
		return nil
	}
	f, err := p.find(p.path(unix.AT_FDCWD, a[at]), nofollow)
	if err != nil {
		return nil
	}
	defer f.close()
	switch {
	case !p.reaches(f) || !lacks && !kept:
		return nil
	case lacks:
		r := w.lacking(p, "sys_admin")
		if kept && !strings.HasPrefix(r.hint, "none") {
			r.hint += ", and landlock.filesystem = false and no list in landlock"
		}
		return r
	}
	return &refusal{
		what: refusedPath, name: f.name, errno: unix.EPERM, hint: "landlock.filesystem = false, and no list in landlock",
		warning: "the layer that holds where a mount is forgotten is gone for every path",
	}
}

func (w *watcher) chrootRefusal(p *process, a [6]uint64) *refusal {
	f, err := p.find(p.path(unix.AT_FDCWD, a[0]), false)
	if err != nil {
		return nil
	}
	defer f.close()
	if !p.reaches(f) || !f.is(unix.S_IFDIR) || !p.may(f, 1) {
		return nil
	}
	return w.wants(p, unix.CAP_SYS_CHROOT, "sys_chroot")
}

// joinRefusal is of setns(2) to a namespace that is not a user namespace.
func (w *watcher) joinRefusal(p *process, a [6]uint64) *refusal {
	for _, n := range [...]struct {
		prefix string
		kind   uint64
	}{
		{"mnt:[", unix.CLONE_NEWNS},
		{"net:[", unix.CLONE_NEWNET},
		{"ipc:[", unix.CLONE_NEWIPC},
		{"uts:[", unix.CLONE_NEWUTS},
		{"pid:[", unix.CLONE_NEWPID},
		{"cgroup:[", unix.CLONE_NEWCGROUP},
	} {
		if strings.HasPrefix(p.link("fd/"+number(a[0])), n.prefix) && (a[1] == 0 || uint64(uint32(a[1])) == n.kind) {
			return w.wants(p, unix.CAP_SYS_ADMIN, "sys_admin")
		}
	}
	return nil
}

// clockRefusal is of the machine's clock, which no box may set: the kernel asks
// for the capability outside of every user namespace.
func clockRefusal(p *process, name string, a [6]uint64) *refusal {
	at, least := 0, uint64(1e6) // of microseconds, then of nanoseconds
	if name == "clock_settime" {
		if at, least = 1, 1e9; a[0] != unix.CLOCK_REALTIME {
			return nil
		}
	}
	t := memory(p.pid)(a[at], 16)
	if len(t) < 16 || int64(word64(t)) < 0 || word64(t[8:]) >= least {
		return nil
	}
	return &refusal{
		what: refusedCapability, name: "CAP_SYS_TIME", errno: unix.EPERM,
		hint: "none: the clock is the machine's, and no capability in a user namespace sets it",
	}
}
