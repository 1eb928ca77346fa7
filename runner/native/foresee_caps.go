package native

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/seccomp"
)

// capabilityRefusal foresees a call for want of a capability. Each case is one
// in which the kernel has nothing else left to ask, capabilities(7).
func (w *watcher) capabilityRefusal(p *process, name string, a [6]uint64) *refusal {
	lacks := func(number int, capability string) *refusal {
		if p.has(number) {
			return nil
		}
		return w.lacking(p, capability)
	}
	switch name {
	case "setuid", "setreuid", "setresuid":
		if !idsGranted(name, a, p.uids, p.uidMap) {
			return lacks(unix.CAP_SETUID, "setuid")
		}
	case "setgid", "setregid", "setresgid":
		if !idsGranted(name, a, p.gids, p.gidMap) {
			return lacks(unix.CAP_SETGID, "setgid")
		}
	case "setgroups":
		return lacks(unix.CAP_SETGID, "setgid")
	case "sethostname", "setdomainname":
		return lacks(unix.CAP_SYS_ADMIN, "sys_admin")
	case "unshare":
		const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWPID | unix.CLONE_NEWCGROUP
		if a[0] != 0 && a[0]&^namespaces == 0 {
			return lacks(unix.CAP_SYS_ADMIN, "sys_admin")
		}
	case "chroot", "mount", "umount2":
		return w.directoryRefusal(p, name, a)
	case "chown", "lchown", "fchownat":
		return w.chownRefusal(p, name, a)
	case "settimeofday", "clock_settime":
		return clockRefusal(p, name, a)
	case "bind":
		return w.portRefusal(p, a)
	}
	return nil
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

// idsGranted says whether every id that is asked for is one that the caller may
// take as it is, setresuid(2); also where the kernel answers EINVAL.
func idsGranted(name string, a [6]uint64, have [4]uint32, ids idRanges) bool {
	own, asked := have[:3], a[:3]
	switch {
	case !strings.HasPrefix(name, "setre"):
		own, asked = []uint32{have[0], have[2]}, a[:1] // setuid takes no -1
	case !strings.HasPrefix(name, "setres"):
		asked = a[:2]
	}
	granted := true
	for i, v := range asked {
		id, ok := ids.outside(uint32(v))
		switch {
		case uint32(v) == ^uint32(0) && len(asked) > 1:
			continue
		case !ok:
			return true
		case len(asked) == 2 && i == 0:
			granted = granted && (id == have[0] || id == have[1])
		default:
			granted = granted && slices.Contains(own, id)
		}
	}
	return granted
}

// directoryRefusal is of calls that look their directory up first.
func (w *watcher) directoryRefusal(p *process, name string, a [6]uint64) *refusal {
	at, number, capability := 0, unix.CAP_SYS_ADMIN, "sys_admin"
	switch {
	case name == "chroot":
		number, capability = unix.CAP_SYS_CHROOT, "sys_chroot"
	case name == "mount":
		at = 1
	case a[1] != 0:
		return nil
	}
	if p.has(number) {
		return nil
	}
	given := p.path(unix.AT_FDCWD, a[at])
	f, err := p.find(given, false)
	if err != nil {
		return nil
	}
	defer f.close()
	if !p.reaches(f) || name == "chroot" && (!f.is(unix.S_IFDIR) || !p.may(f, 1)) {
		return nil
	}
	return w.lacking(p, capability)
}

// chownRefusal is of another owner; giving a file to a group of one's own is
// free.
func (w *watcher) chownRefusal(p *process, name string, a [6]uint64) *refusal {
	c, ok := pathCallOf(p, name, a)
	owner := uint32(a[1])
	if name == "fchownat" {
		owner = uint32(a[2])
	}
	id, mapped := p.uidMap.outside(owner)
	if !ok || p.has(unix.CAP_CHOWN) || owner == ^uint32(0) || !mapped {
		return nil
	}
	given := p.path(c.directory, c.address)
	f, err := p.find(given, c.nofollow)
	if err != nil {
		return nil
	}
	defer f.close()
	if f.ro || id == f.stat.Uid || !p.reaches(f) {
		return nil
	}
	return w.lacking(p, "chown")
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

// portRefusal is of a port below 1024. On the host's network a capability of the
// box's own namespace does not count, ip(7).
func (w *watcher) portRefusal(p *process, a [6]uint64) *refusal {
	to, ok := inetAddress(p, a[1], a[2])
	// The box's own network begins with the kernel's default.
	if !ok || w.spec.Network != runner.NetworkNone || p.has(unix.CAP_NET_BIND_SERVICE) || to.Port() == 0 || to.Port() >= 1024 {
		return nil
	}
	if s := p.socket(int(int32(a[0])), to.Addr()); s == 0 || !to.Addr().IsLoopback() && !to.Addr().IsUnspecified() {
		return nil
	}
	r := w.lacking(p, "net_bind_service")
	r.errno = unix.EACCES
	return r
}

// networkRefusal foresees that a box with no network but its own loopback
// reaches nobody.
func (w *watcher) networkRefusal(p *process, name string, a [6]uint64) *refusal {
	if w.spec.Network != runner.NetworkNone || p.has(unix.CAP_NET_ADMIN) {
		return nil
	}
	address, length, kind := a[1], a[2], 0
	switch name {
	case "connect":
	case "sendto":
		if address, length, kind = a[4], a[5], unix.SOCK_DGRAM; a[2] > 1<<15 || a[3]&unix.MSG_OOB != 0 {
			return nil
		}
	default:
		return nil
	}
	to, ok := inetAddress(p, address, length)
	if !ok || !routed(to.Addr()) || to.Port() == 0 {
		return nil
	}
	if s := p.socket(int(int32(a[0])), to.Addr()); s == 0 || kind != 0 && s != kind {
		return nil
	}
	return &refusal{
		what: refusedNetwork, name: to.String(), errno: unix.ENETUNREACH,
		hint: `network.mode = "host"`, warning: "reaches every network that the caller does, and services of this machine",
	}
}

// routed says whether an address needs a route that loopback does not give, and
// no interface of its own.
func routed(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.Is4In6()
}

// inetAddress reads struct sockaddr_in or sockaddr_in6.
func inetAddress(p *process, address, length uint64) (netip.AddrPort, bool) {
	b := memory(p.pid)(address, int(min(length, 128)))
	if len(b) < 16 {
		return netip.AddrPort{}, false
	}
	family := binary.NativeEndian.Uint16(b)
	if family != unix.AF_INET && (family != unix.AF_INET6 || len(b) < 28) {
		return netip.AddrPort{}, false
	}
	to, err := netip.ParseAddrPort(seccomp.Address(b))
	return to, err == nil
}

// socket is the type of a socket that is of an address's family and has no peer
// yet, SOCK_STREAM or SOCK_DGRAM, else 0. A copy of the descriptor is asked.
func (p *process) socket(fd int, to netip.Addr) int {
	pidfd, err := unix.PidfdOpen(int(p.leader), 0)
	if err != nil {
		return 0
	}
	defer unix.Close(pidfd)
	s, err := unix.PidfdGetfd(pidfd, fd, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(s)
	want := unix.AF_INET6
	if to.Is4() {
		want = unix.AF_INET
	}
	domain, err := unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_DOMAIN)
	kind, err2 := unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_TYPE)
	if _, peer := unix.Getpeername(s); err != nil || err2 != nil || domain != want || peer != unix.ENOTCONN {
		return 0
	}
	if listens, err := unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens != 0 || kind != unix.SOCK_STREAM && kind != unix.SOCK_DGRAM {
		return 0
	}
	return kind
}

func word64(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }
