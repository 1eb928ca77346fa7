package seccomp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Memory reads up to n bytes of the caller's memory at an address; fewer, or
// none, where they cannot be had. What it returns may change meanwhile: it is
// for people to read, and decides nothing.
type Memory func(address uint64, n int) []byte

// Explain writes the arguments of a call in words, one each.
func Explain(name string, args [6]uint64, mem Memory) []string {
	kinds := signature(name)
	list := make([]string, 0, len(kinds))
	for i := range kinds {
		if text := argument(kinds[i], i, args, mem); text != "" {
			list = append(list, text)
		}
	}
	return list
}

// signature says of what kind each argument of a call is: s a path or another
// string, d a directory's descriptor, o flags of open, m a mode, F a socket's
// family, T its type, a an address with its length behind it, n flags of clone,
// M flags of mount, i a number, x a number in hexadecimal, - nothing to show.
//
// To add a call: a word in the case of its arguments.
func signature(name string) string {
	switch name {
	case "open":
		return "som"
	case "openat":
		return "dsom"
	case "openat2", "execveat", "unlinkat", "readlinkat", "open_tree":
		return "ds"
	case "creat", "chmod", "mkdir", "mknod":
		return "sm"
	case "mkdirat", "mknodat", "fchmodat":
		return "dsm"
	case "execve", "unlink", "rmdir", "chroot", "acct", "swapon", "swapoff", "uselib", "chdir", "truncate", "fsopen":
		return "s"
	case "rename", "link", "symlink", "pivot_root":
		return "ss"
	case "renameat", "renameat2", "linkat", "move_mount":
		return "dsds"
	case "mount":
		return "sssM"
	case "umount2":
		return "sx"
	case "name_to_handle_at":
		return "ds"
	case "socket", "socketpair":
		return "FTi"
	case "connect", "bind":
		return "ia"
	case "clone", "unshare":
		return "n"
	case "setns":
		return "in"
	case "ioctl", "fcntl":
		return "ix"
	case "ptrace", "kill", "tkill", "process_vm_readv", "process_vm_writev", "keyctl", "bpf", "kcmp", "listen":
		return "ii"
	case "prctl", "personality", "userfaultfd", "memfd_secret", "seccomp", "arch_prctl":
		return "x"
	case "memfd_create", "request_key", "add_key":
		return "s"
	case "mmap", "mprotect", "pkey_mprotect":
		return "xxx"
	case "setuid", "setgid", "syslog", "iopl":
		return "i"
	case "sethostname", "setdomainname":
		return "s"
	}
	return ""
}

func argument(kind byte, i int, args [6]uint64, mem Memory) string {
	v := args[i]
	switch kind {
	case 's':
		return quotedString(v, mem)
	case 'd':
		if int32(v) == unix.AT_FDCWD {
			return "AT_FDCWD"
		}
		return strconv.Itoa(int(int32(v)))
	case 'o':
		return flagWords(v, openFlags[:], accessMode(v))
	case 'm':
		return fmt.Sprintf("%#o", v&0o7777777)
	case 'F':
		return familyName(v)
	case 'T':
		return socketType(v)
	case 'a':
		return Address(mem(v, int(min(args[min(i+1, 5)], 128))))
	case 'n':
		return flagWords(v, cloneFlags[:], "")
	case 'M':
		return flagWords(v, mountFlags[:], "")
	case 'i':
		return strconv.Itoa(int(int32(v)))
	case 'x':
		return fmt.Sprintf("%#x", v)
	}
	return ""
}

// longestString is how much of a path is shown.
const longestString = 256

// String is the text at an address, up to its zero byte.
func String(address uint64, mem Memory) (string, bool) {
	// Most paths are short, and PATH_MAX is 4096.
	for _, n := range [...]int{256, 4096} {
		b := mem(address, n)
		if b == nil {
			break
		}
		if text, _, whole := bytes.Cut(b, []byte{0}); whole || n == 4096 {
			return string(text), true
		}
	}
	return "", false
}

func quotedString(address uint64, mem Memory) string {
	if address == 0 {
		return "NULL"
	}
	s, ok := String(address, mem)
	if !ok {
		return fmt.Sprintf("%#x", address)
	}
	if len(s) > longestString {
		s = s[:longestString] + "…"
	}
	return strconv.Quote(s)
}

// Address writes a socket address, struct sockaddr: "127.0.0.1:80", a path, or
// the name of another family.
func Address(b []byte) string {
	if len(b) < 2 {
		return ""
	}
	family := uint64(binary.NativeEndian.Uint16(b))
	switch {
	case family == unix.AF_INET && len(b) >= 8:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:])).String()
	case family == unix.AF_INET6 && len(b) >= 24:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])), binary.BigEndian.Uint16(b[2:])).String()
	case family == unix.AF_UNIX && len(b) > 2 && b[2] == 0:
		return "unix:@" + strings.Trim(strconv.Quote(string(b[3:])), `"`)
	case family == unix.AF_UNIX:
		path, _, _ := bytes.Cut(b[2:], []byte{0})
		return "unix:" + strings.Trim(strconv.Quote(string(path)), `"`)
	}
	return familyName(family)
}

func familyName(v uint64) string {
	if name := constantName("AF_", v&0xffffffff); name != "" {
		return name
	}
	return fmt.Sprintf("family %d", uint32(v))
}

func socketType(v uint64) string {
	const flags = unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
	if name := constantName("SOCK_", v&0xffffffff&^flags); name != "" {
		return name
	}
	return fmt.Sprintf("type %d", uint32(v)&^flags)
}

// constantName is the word that begins with prefix and has the value, "" for
// none.
func constantName(prefix string, v uint64) string {
	for _, c := range constants {
		if c.value == v && strings.HasPrefix(c.name, prefix) && c.name != "AF_LOCAL" {
			return c.name
		}
	}
	return ""
}

// A flag is a bit and its name in the kernel's headers.
type flag struct {
	bit  uint64
	name string
}

// To add a flag to one of these tables: a row.
var openFlags = [...]flag{
	{unix.O_CREAT, "O_CREAT"},
	{unix.O_EXCL, "O_EXCL"},
	{unix.O_TRUNC, "O_TRUNC"},
	{unix.O_APPEND, "O_APPEND"},
	{unix.O_DIRECTORY, "O_DIRECTORY"},
	{unix.O_NOFOLLOW, "O_NOFOLLOW"},
	{unix.O_CLOEXEC, "O_CLOEXEC"},
	{unix.O_PATH, "O_PATH"},
}

var cloneFlags = [...]flag{
	{unix.CLONE_NEWUSER, "CLONE_NEWUSER"},
	{unix.CLONE_NEWNS, "CLONE_NEWNS"},
	{unix.CLONE_NEWPID, "CLONE_NEWPID"},
	{unix.CLONE_NEWNET, "CLONE_NEWNET"},
	{unix.CLONE_NEWIPC, "CLONE_NEWIPC"},
	{unix.CLONE_NEWUTS, "CLONE_NEWUTS"},
	{unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"},
	{unix.CLONE_VM, "CLONE_VM"},
	{unix.CLONE_FS, "CLONE_FS"},
	{unix.CLONE_FILES, "CLONE_FILES"},
	{unix.CLONE_VFORK, "CLONE_VFORK"},
	{unix.CLONE_THREAD, "CLONE_THREAD"},
}

var mountFlags = [...]flag{
	{unix.MS_RDONLY, "MS_RDONLY"},
	{unix.MS_NOSUID, "MS_NOSUID"},
	{unix.MS_NODEV, "MS_NODEV"},
	{unix.MS_NOEXEC, "MS_NOEXEC"},
	{unix.MS_REMOUNT, "MS_REMOUNT"},
	{unix.MS_BIND, "MS_BIND"},
	{unix.MS_REC, "MS_REC"},
	{unix.MS_PRIVATE, "MS_PRIVATE"},
}

func accessMode(v uint64) string {
	switch v & unix.O_ACCMODE {
	case unix.O_RDONLY:
		return "O_RDONLY"
	case unix.O_WRONLY:
		return "O_WRONLY"
	}
	return "O_RDWR"
}

func flagWords(v uint64, names []flag, first string) string {
	var words []string
	if first != "" {
		words = append(words, first)
	}
	for _, f := range names {
		if v&f.bit == f.bit {
			words = append(words, f.name)
		}
	}
	if len(words) == 0 {
		return fmt.Sprintf("%#x", v)
	}
	return strings.Join(words, "|")
}
