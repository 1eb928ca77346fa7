package seccomp

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// number returns what a value stands for.
func (v Value) number() (uint64, error) {
	var n uint64
	for _, word := range strings.Split(string(v), "|") {
		m, err := constant(strings.TrimSpace(word))
		if err != nil {
			return 0, err
		}
		n |= m
	}
	return n, nil
}

// constant reads a number or a word. A negative number is what the C compiler
// makes of it in 64 bits.
func constant(word string) (uint64, error) {
	for _, c := range constants {
		if c.name == word {
			return c.value, nil
		}
	}
	if n, err := strconv.ParseUint(word, 0, 64); err == nil {
		return n, nil
	}
	if n, err := strconv.ParseInt(word, 0, 64); err == nil {
		return uint64(n), nil
	}
	names := make([]string, len(constants))
	for i, c := range constants {
		names[i] = c.name
	}
	err := unknown("value", word, names)
	if strings.HasSuffix(err.Error(), "?") {
		return 0, err
	}
	return 0, fmt.Errorf("%w: expected a number or a word such as \"AF_INET\"", err)
}

// ConstantNames returns the words that a Value may hold.
func ConstantNames() []string {
	names := make([]string, len(constants))
	for i, c := range constants {
		names[i] = c.name
	}
	return names
}

// constants are the words a rule may use for a number, sorted. To add one, add
// its line; a number that x/sys/unix lacks names its header.
var constants = [...]struct {
	name  string
	value uint64
}{
	{"ADDR_NO_RANDOMIZE", 0x0040000}, // linux/personality.h
	{"AF_ALG", unix.AF_ALG},
	{"AF_AX25", unix.AF_AX25},
	{"AF_BLUETOOTH", unix.AF_BLUETOOTH},
	{"AF_CAN", unix.AF_CAN},
	{"AF_INET", unix.AF_INET},
	{"AF_INET6", unix.AF_INET6},
	{"AF_KEY", unix.AF_KEY},
	{"AF_LOCAL", unix.AF_LOCAL},
	{"AF_NETLINK", unix.AF_NETLINK},
	{"AF_NFC", unix.AF_NFC},
	{"AF_PACKET", unix.AF_PACKET},
	{"AF_PPPOX", unix.AF_PPPOX},
	{"AF_QIPCRTR", unix.AF_QIPCRTR},
	{"AF_RDS", unix.AF_RDS},
	{"AF_RXRPC", unix.AF_RXRPC},
	{"AF_SMC", unix.AF_SMC},
	{"AF_TIPC", unix.AF_TIPC},
	{"AF_UNIX", unix.AF_UNIX},
	{"AF_VSOCK", unix.AF_VSOCK},
	{"AF_XDP", unix.AF_XDP},
	{"CLONE_FILES", unix.CLONE_FILES},
	{"CLONE_FS", unix.CLONE_FS},
	{"CLONE_NEWCGROUP", unix.CLONE_NEWCGROUP},
	{"CLONE_NEWIPC", unix.CLONE_NEWIPC},
	{"CLONE_NEWNET", unix.CLONE_NEWNET},
	{"CLONE_NEWNS", unix.CLONE_NEWNS},
	{"CLONE_NEWPID", unix.CLONE_NEWPID},
	{"CLONE_NEWTIME", unix.CLONE_NEWTIME},
	{"CLONE_NEWUSER", unix.CLONE_NEWUSER},
	{"CLONE_NEWUTS", unix.CLONE_NEWUTS},
	{"CLONE_SYSVSEM", unix.CLONE_SYSVSEM},
	{"CLONE_THREAD", unix.CLONE_THREAD},
	{"CLONE_VFORK", unix.CLONE_VFORK},
	{"CLONE_VM", unix.CLONE_VM},
	{"IPPROTO_DCCP", unix.IPPROTO_DCCP},
	{"IPPROTO_ICMP", unix.IPPROTO_ICMP},
	{"IPPROTO_ICMPV6", unix.IPPROTO_ICMPV6},
	{"IPPROTO_MPTCP", unix.IPPROTO_MPTCP},
	{"IPPROTO_SCTP", unix.IPPROTO_SCTP},
	{"IPPROTO_TCP", unix.IPPROTO_TCP},
	{"IPPROTO_UDP", unix.IPPROTO_UDP},
	{"IPPROTO_UDPLITE", unix.IPPROTO_UDPLITE},
	{"MAP_ANONYMOUS", unix.MAP_ANONYMOUS},
	{"MFD_ALLOW_SEALING", unix.MFD_ALLOW_SEALING},
	{"MFD_CLOEXEC", unix.MFD_CLOEXEC},
	{"MFD_NOEXEC_SEAL", unix.MFD_NOEXEC_SEAL},
	{"NETLINK_AUDIT", unix.NETLINK_AUDIT},
	{"NETLINK_GENERIC", unix.NETLINK_GENERIC},
	{"NETLINK_KOBJECT_UEVENT", unix.NETLINK_KOBJECT_UEVENT},
	{"NETLINK_NETFILTER", unix.NETLINK_NETFILTER},
	{"NETLINK_ROUTE", unix.NETLINK_ROUTE},
	{"NETLINK_SOCK_DIAG", unix.NETLINK_SOCK_DIAG},
	{"NETLINK_XFRM", unix.NETLINK_XFRM},
	{"PER_LINUX", 0x0000},   // linux/personality.h
	{"PER_LINUX32", 0x0008}, // linux/personality.h
	{"PROT_EXEC", unix.PROT_EXEC},
	{"PROT_NONE", unix.PROT_NONE},
	{"PROT_READ", unix.PROT_READ},
	{"PROT_WRITE", unix.PROT_WRITE},
	{"PR_SET_DUMPABLE", unix.PR_SET_DUMPABLE},
	{"PR_SET_MM", unix.PR_SET_MM},
	{"PR_SET_PTRACER", unix.PR_SET_PTRACER},
	{"READ_IMPLIES_EXEC", 0x0400000}, // linux/personality.h
	{"SOCK_DCCP", unix.SOCK_DCCP},
	{"SOCK_DGRAM", unix.SOCK_DGRAM},
	{"SOCK_PACKET", unix.SOCK_PACKET},
	{"SOCK_RAW", unix.SOCK_RAW},
	{"SOCK_RDM", unix.SOCK_RDM},
	{"SOCK_SEQPACKET", unix.SOCK_SEQPACKET},
	{"SOCK_STREAM", unix.SOCK_STREAM},
	{"S_IFBLK", unix.S_IFBLK},
	{"S_IFCHR", unix.S_IFCHR},
	{"S_IFIFO", unix.S_IFIFO},
	{"S_IFMT", unix.S_IFMT},
	{"S_ISGID", unix.S_ISGID},
	{"S_ISUID", unix.S_ISUID},
	{"TIOCCONS", unix.TIOCCONS},
	{"TIOCLINUX", unix.TIOCLINUX},
	{"TIOCSETD", unix.TIOCSETD},
	{"TIOCSTI", unix.TIOCSTI},
	{"UNAME26", 0x0020000}, // linux/personality.h
}
