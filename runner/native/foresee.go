package native

import (
	"fmt"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"hutch/seccomp"
)

// A run of which everything is explained has the kernel hold up the calls below
// too, although the filter allows them. Each goes on always: the kernel alone
// decides, and what it answers nobody here sees. What is told is what it cannot
// but answer, from what was there while the caller waited; what is in doubt is
// not told. Another thread may change it in between: this is for people.

// foreseeable are the calls that are looked at. To add one: its name here, and
// its case in pathCallOf or in one of the functions that foresee asks.
var foreseeable = [...]string{
	"open", "openat", "openat2", "creat", "truncate",
	"stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "chdir",
	"mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat", "link", "linkat",
	"unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2",
	"chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utime", "utimes", "utimensat",
	"chroot", "mount", "umount2", "pivot_root", "fsopen", "unshare", "setns", "sethostname", "setdomainname",
	"settimeofday", "clock_settime", "setpriority", "ptrace", "kill", "tgkill",
	"setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups",
	"socket", "bind", "connect", "sendto", "sendmsg", "sendmmsg", "execve", "execveat",
}

// growing are looked at too where limits.file_size is set: all that is written
// waits then. To add one: its name here, and its case in growthRefusal.
var growing = [...]string{"write", "writev", "pwrite64", "pwritev", "ftruncate"}

// The kinds of what a Denial tells besides system calls.
const (
	refusedPath       = "path"
	refusedCapability = "capability"
	refusedNetwork    = "network"
	refusedProcess    = "process"
	refusedLimit      = "limit"
)

// A refusal is one that the kernel is about to make.
type refusal struct {
	what, name    string
	errno         syscall.Errno // 0: it looks done, and is not
	hint, warning string
}

// foresee records what the kernel will refuse of a call that the filter allows.
func (w *watcher) foresee(fd int, n *notification) {
	p := w.observe(n.pid)
	if p == nil {
		return
	}
	defer p.close()
	name := seccomp.Name(seccomp.Arch(n.arch), int(n.nr))
	c, names := pathCallOf(p, name, n.args)
	if names && w.harmless(p, &c) || !p.load() {
		return
	}
	r := w.descriptorRefusal(p, name)
	if r == nil && names {
		r = w.pathRefusal(p, c)
	}
	for _, ask := range [...]func(*process, string, [6]uint64) *refusal{
		w.executeRefusal, w.growthRefusal, w.portRefusal, w.capabilityRefusal, w.ownerRefusal, w.processRefusal, w.networkRefusal, w.localRefusal,
	} {
		if r == nil {
			r = ask(p, name, n.args)
		}
	}
	if r != nil {
		w.denyRefusal(fd, n, name, r)
	}
}

// line is a line of a profile with one string in a list. What TOML cannot say is
// not suggested: a path of the application's must not smuggle in a line of its
// own, toml.io.
func line(key, text, comment string) string {
	if !utf8.ValidString(text) {
		return unnamed(key)
	}
	if comment != "" {
		comment = "  # " + comment
	}
	return key + " = [" + tomlString(text) + "]" + comment
}

// unnamed is the hint for what no profile can say.
func unnamed(key string) string {
	return "none: a profile cannot name a path that is not UTF-8; name one above it in " + key
}

// tomlString is a basic string, in which all that does not print is escaped.
func tomlString(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08X`, r)
		default:
			fmt.Fprintf(&b, `\u%04X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
