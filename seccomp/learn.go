package seccomp

import (
	"fmt"
	"slices"
	"strings"
)

// intMask is the part of an int argument that the kernel looks at.
const intMask = Value("0xffffffff")

// Allowance is the narrowest rule that lets one refused call pass: of a socket
// the family, of clone the namespaces, of ioctl and personality the number.
// Without Args, the name alone says it.
func Allowance(name string, args [6]uint64) Rule {
	r := Rule{Calls: []string{name}, Action: "allow"}
	word := func(index int, mask Value, value string) Rule {
		r.Args = []Arg{{Index: index, Op: "masked_eq", Mask: mask, Value: Value(value)}}
		return r
	}
	switch name {
	case "socket", "socketpair":
		family := constantName("AF_", args[0]&0xffffffff)
		if family == "" {
			family = fmt.Sprint(uint32(args[0]))
		}
		return word(0, intMask, family)
	case "clone", "unshare":
		const namespaces = 0x7e020000
		mask := "CLONE_NEWCGROUP|CLONE_NEWIPC|CLONE_NEWNET|CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWUSER|CLONE_NEWUTS"
		value := flagWords(args[0]&namespaces, cloneFlags[:7], "")
		if value == "0x0" {
			value = "0"
		}
		return word(0, Value(mask), value)
	case "ioctl":
		return word(1, intMask, fmt.Sprintf("%#x", uint32(args[1])))
	case "personality", "prctl":
		return word(0, intMask, fmt.Sprintf("%#x", uint32(args[0])))
	}
	return r
}

// Line is the rule as one writes it in a profile, in the shortest form that is TOML.
func (r Rule) Line() string {
	if len(r.Args) == 0 {
		return fmt.Sprintf("seccomp.allow = [%q]", r.Calls[0])
	}
	a := r.Args[0]
	return fmt.Sprintf("seccomp.rules = [{ calls = [%q], action = %q, args = [{ index = %d, op = %q, mask = %q, value = %q }] }]",
		r.Calls[0], r.Action, a.Index, a.Op, string(a.Mask), string(a.Value))
}

// Danger says what a rule opens that one should not open lightly, "" for
// nothing.
//
// To add a warning: a case.
func (r Rule) Danger() string {
	name, value := r.Calls[0], ""
	if len(r.Args) > 0 {
		value = string(r.Args[0].Value)
	}
	switch name {
	case "socket":
		if slices.Contains([]string{"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}, value) {
			return ""
		}
		return "families of sockets that few programs need are where kernels are broken into"
	case "clone", "unshare", "setns", "clone3":
		return "a namespace of one's own opens much kernel code to the application"
	case "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp":
		return "looks into other processes of the box"
	case "ioctl":
		if strings.HasPrefix(value, "0x54") {
			return "may type into the caller's terminal (CVE-2017-5226)"
		}
	case "io_uring_setup", "io_uring_enter", "io_uring_register":
		return "does what other calls do, past the filter"
	case "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key":
		return "much exploited kernel code"
	case "open_by_handle_at":
		return "opens files past the directories that lead to them"
	case "memfd_create", "memfd_secret", "execveat":
		return "runs machine code that is in no file"
	}
	for _, group := range []string{"@mount", "@kernel"} {
		if slices.Contains(Group(group), name) {
			return "changes what the box is made of, or the kernel itself"
		}
	}
	return ""
}
