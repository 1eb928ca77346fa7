package native

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/plan"
	"hutch/seccomp"
)

// portRefusal is of a TCP port that the profile's lists leave out, which the
// kernel asks first, and of a port that only root of the network may bind, ip(7).
func (w *watcher) portRefusal(p *process, name string, a [6]uint64) *refusal {
	right := uint64(unix.LANDLOCK_ACCESS_NET_CONNECT_TCP)
	switch name {
	case "bind":
		right = unix.LANDLOCK_ACCESS_NET_BIND_TCP
	case "connect":
	default:
		return nil
	}
	to, ok := inetAddress(p, a[1], a[2])
	if !ok {
		return nil
	}
	kind := p.socket(int(int32(a[0])), to.Addr())
	for i := range w.layers {
		l := &w.layers[i]
		if l.ports&right != 0 && kind == unix.SOCK_STREAM &&
			!slices.ContainsFunc(l.open, func(s plan.Step) bool { return s.Bits&right != 0 && s.Port == to.Port() }) {
			return &refusal{what: refusedNetwork, name: to.String(), errno: unix.EACCES, hint: fmt.Sprintf("add %d to landlock.%s", to.Port(), name)}
		}
	}
	if name != "bind" || kind == 0 || !to.Addr().IsLoopback() && !to.Addr().IsUnspecified() {
		return nil
	}
	return w.lowPort(p, to.Port())
}

func (w *watcher) lowPort(p *process, port uint16) *refusal {
	// A box's own network begins with the kernel's default, and its root owns it.
	own, first := w.spec.Network == runner.NetworkNone, 1024
	if !own {
		first, _ = strconv.Atoi(strings.TrimSpace(readFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")))
	}
	if port == 0 || int(port) >= first || own && p.has(unix.CAP_NET_BIND_SERVICE) {
		return nil
	}
	r := w.lacking(p, "net_bind_service")
	r.errno = unix.EACCES
	if !own {
		r.hint = fmt.Sprintf("none: on the host's network no capability of a box counts; take a port from %d on", first)
	}
	return r
}

// networkRefusal foresees that a box with no network but its own loopback
// reaches nobody, and that who lacks the capability gets no raw socket.
func (w *watcher) networkRefusal(p *process, name string, a [6]uint64) *refusal {
	if name == "socket" {
		return w.rawRefusal(p, a)
	}
	if w.spec.Network != runner.NetworkNone || p.has(unix.CAP_NET_ADMIN) {
		return nil
	}
	address, length, kind := addressOf(p, name, a)
	if address == 0 {
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

// addressOf is where a call names whom it speaks to, and the only type of socket
// for which that matters, 0 for any.
func addressOf(p *process, name string, a [6]uint64) (address, length uint64, kind int) {
	switch name {
	case "connect":
		return a[1], a[2], 0
	case "sendto":
		if a[2] > 1<<15 || a[3]&unix.MSG_OOB != 0 {
			return 0, 0, 0
		}
		return a[4], a[5], unix.SOCK_DGRAM
	case "sendmsg", "sendmmsg": // struct mmsghdr begins with a struct msghdr
		flags := a[2]
		if name == "sendmmsg" {
			flags = a[3]
		}
		b := memory(p.pid)(a[1], 56)
		if len(b) < 56 || flags&unix.MSG_OOB != 0 || name == "sendmmsg" && a[2] == 0 || word64(b[40:]) != 0 || word64(b[24:]) > 8 {
			return 0, 0, 0 // ancillary data can send it elsewhere
		}
		vectors, total := memory(p.pid)(word64(b[16:]), int(16*word64(b[24:]))), uint64(0)
		for i := 8; i < len(vectors); i += 16 {
			total += min(word64(vectors[i:]), 1<<16) // it must not overflow
		}
		if uint64(len(vectors)) != 16*word64(b[24:]) || total > 1<<15 {
			return 0, 0, 0
		}
		return word64(b), uint64(binary.NativeEndian.Uint32(b[8:])), unix.SOCK_DGRAM
	}
	return 0, 0, 0
}

// rawRefusal is of socket(2) with SOCK_RAW, raw(7).
func (w *watcher) rawRefusal(p *process, a [6]uint64) *refusal {
	own := w.spec.Network == runner.NetworkNone
	if a[0] != unix.AF_INET && a[0] != unix.AF_INET6 || a[1]&0xf != unix.SOCK_RAW || int32(a[2]) < 1 || int32(a[2]) > 255 || own && p.has(unix.CAP_NET_RAW) {
		return nil
	}
	r := w.lacking(p, "net_raw")
	r.warning = "forges what it sends"
	if !own {
		r.hint = "none: on the host's network no capability of a box counts"
	}
	return r
}

// localRefusal is about sockets that have a path or a name of their own, unix(7).
func (w *watcher) localRefusal(p *process, name string, a [6]uint64) *refusal {
	address, length, kind := addressOf(p, name, a)
	if name == "bind" {
		address, length = a[1], a[2]
	}
	if address == 0 || length < 4 || length > 110 {
		return nil
	}
	b := memory(p.pid)(address, int(length))
	if uint64(len(b)) != length || binary.NativeEndian.Uint16(b) != unix.AF_UNIX {
		return nil
	}
	s := p.socketOf(int(int32(a[0])))
	if s.domain != unix.AF_UNIX || s.connected || kind != 0 && s.kind != kind {
		return nil
	}
	if b[2] == 0 {
		return w.abstractRefusal(p, name, string(b[3:]), s.kind)
	}
	text, _, _ := strings.Cut(string(b[2:]), "\x00")
	given := p.absolute(unix.AT_FDCWD, text)
	switch {
	case given == "":
		return nil
	case name == "bind":
		return w.entryRefusal(p, pathCall{intent: creates, right: unix.LANDLOCK_ACCESS_FS_MAKE_SOCK}, given)
	}
	f, err := p.look(given, false)
	if err == nil {
		f.close()
	}
	if err != unix.ENOENT {
		return nil
	}
	return w.hiddenRefusal(p, given)
}

// abstractRefusal is of an abstract socket outside of the box's Landlock scope.
// What the box has bound itself is remembered, for the name alone says nothing.
func (w *watcher) abstractRefusal(p *process, call, name string, kind int) *refusal {
	if call == "bind" {
		// A line in a name could be read as another socket's, in listens.
		if len(w.bound) >= mostDenials || strings.Contains(name, "\n") {
			w.unsure = true
		}
		if !w.unsure {
			w.bound[name] = struct{}{}
		}
		return nil
	}
	// A name that the kernel has chosen could be of the box.
	chosen := len(name) == 5 && strings.Trim(name, "0123456789abcdef") == ""
	_, own := w.bound[name]
	if w.unsure || own || chosen || !w.scoped(unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET) || !listens(p.pid, name, kind) {
		return nil
	}
	return &refusal{
		what: refusedNetwork, name: seccomp.Address(append([]byte{unix.AF_UNIX, 0, 0}, name...)), errno: unix.EPERM,
		hint: "landlock.scopes = false", warning: "reaches every service of this machine that has such a socket",
	}
}

// scoped says whether one of the rulesets has a scope.
func (w *watcher) scoped(scope uint64) bool {
	return slices.ContainsFunc(w.layers, func(l layer) bool { return l.scopes&scope != 0 })
}

// listens says whether an abstract socket takes who comes, by
// proc_pid_net(5): of a stream only one that listens.
func listens(pid uint32, name string, kind int) bool {
	const accepts = 0x10000 // __SO_ACCEPTCON
	if strings.ContainsAny(name, "\n\x00@") {
		return false // it is not written there as it is
	}
	found := false
	eachLine(proc(pid, "net/unix"), func(l string) {
		words := strings.SplitN(l, " ", 8)
		if len(words) < 8 || words[7] != "@"+name {
			return
		}
		flags, _ := strconv.ParseUint(words[3], 16, 32)
		of, _ := strconv.ParseUint(words[4], 16, 32)
		found = found || int(of) == kind && (kind == unix.SOCK_DGRAM || flags&accepts != 0)
	})
	return found
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

// A socketState is what a socket says of itself.
type socketState struct {
	domain, kind       int
	connected, listens bool
}

// socketOf asks a copy of the descriptor; zero where that cannot be had.
func (p *process) socketOf(fd int) (s socketState) {
	pidfd, err := unix.PidfdOpen(int(p.leader), 0)
	if err != nil {
		return s
	}
	defer unix.Close(pidfd)
	copied, err := unix.PidfdGetfd(pidfd, fd, 0)
	if err != nil {
		return s
	}
	defer unix.Close(copied)
	domain, err := unix.GetsockoptInt(copied, unix.SOL_SOCKET, unix.SO_DOMAIN)
	kind, err2 := unix.GetsockoptInt(copied, unix.SOL_SOCKET, unix.SO_TYPE)
	_, peer := unix.Getpeername(copied)
	accepts, err3 := unix.GetsockoptInt(copied, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || err2 != nil || err3 != nil {
		return s
	}
	return socketState{domain: domain, kind: kind, connected: peer != unix.ENOTCONN, listens: accepts != 0}
}

// socket is the type of a socket that is of an address's family and has no peer
// yet, SOCK_STREAM or SOCK_DGRAM, else 0.
func (p *process) socket(fd int, to netip.Addr) int {
	want := unix.AF_INET6
	if to.Is4() {
		want = unix.AF_INET
	}
	s := p.socketOf(fd)
	if s.domain != want || s.connected || s.listens || s.kind != unix.SOCK_STREAM && s.kind != unix.SOCK_DGRAM {
		return 0
	}
	return s.kind
}

func word64(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }
