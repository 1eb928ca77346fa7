// Code generated from the *.toml files by internal/gen. DO NOT EDIT.

package profiles

import "hutch/seccomp"

func builtinNames() []string {
	return []string{"base", "ci", "default", "judge", "kvm", "strict", "tenant", "uml"}
}

func pointer[T any](v T) *T { return &v }

func builtin(name string) *Profile {
	switch name {
	case "base":
		return builtinBase()
	case "ci":
		return builtinCi()
	case "default":
		return builtinDefault()
	case "judge":
		return builtinJudge()
	case "kvm":
		return builtinKvm()
	case "strict":
		return builtinStrict()
	case "tenant":
		return builtinTenant()
	case "uml":
		return builtinUml()
	}
	return nil
}

// builtinByDigest returns the profile that has a policy, "" if there is none.
func builtinByDigest(d seccomp.Key) string {
	switch string(d[:]) {
	case "t;\x1e\x96m\x8d\x8a\x15\x82/>ы.\xa9Uդ\x90\xcet-\xc4\xd37\x95\x85],Y\xa2p":
		return "base"
	case "\x15\xac\xe0\x97\vՊ\b鈄\x8c\xd2\xea\xd3&\xea\xc7\x1c\x9e~`\xa5֡\xb8Ķ\xf6,\xcc?":
		return "ci"
	case "\xedBSN\fȒ\xd8!H\x8d/iagŇf+>\x99Ne\xe3\xee\xdf?\xf8\x1e\x96/\xdf":
		return "default"
	case "\xfeb\x8a\xf1$\xccLE\xb8\xec\xf7v\t\b\xf1$\xdc*\x06\x89\x05\x8b\n$\x8aJ+\xbaJ\xdc̥":
		return "judge"
	case "\x91a\xc9\x16թ\xaf_\x11=\x94\x85\xe7\xbb\\?\x8d\xf9%ȣ\xa7\x02\xf0\x80\xb4\x93Χ\x81f\x88":
		return "kvm"
	case "\xae\xb2m\xee\xb3\x0e\xc9\x19\xc3l\t\x8c\xd2\xc4tr]\xa0\xc0נuFl/ ?\xc0v\xbc\xb6\xcf":
		return "strict"
	case "\xc1AVyҹ\xff\x9d\x16\xb8y\xb6\xa7\xea\xaf\xe7\xee4\x1f\xb9\xfco\xa0\xc6\x18\xae\x86\x11}\xa97\xd8":
		return "tenant"
	case "]%\xa2\xe3\x93H;\xe2^\xd3\xddf\tG\xbe\xe9E\xb5\xf3\xc0\xb0\xa0>&\xc3\xe3\x14\x91\xadu\x10\xb6":
		return "uml"
	}
	return ""
}

func builtinBase() *Profile {
	return &Profile{
		Version:     1,
		Name:        "base",
		Description: "what every program needs; the other profiles extend it",
		Filesystem: Filesystem{
			Hidden:    []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware"},
			Protected: []string{"/proc/sys", "/proc/sysrq-trigger"},
		},
		Seccomp: &seccomp.Policy{
			Default: "errno",
			Errno:   "EPERM",
			Allow:   []string{"@file", "@io", "@memory", "@process", "@sandbox", "@scheduler", "@signal", "@system", "@time", "capget", "getegid", "geteuid", "getgid", "getgroups", "getresgid", "getresuid", "getuid", "uprobe", "uretprobe"},
			Rules: []seccomp.Rule{
				seccomp.Rule{
					Calls:  []string{"clone"},
					Action: "errno",
					Errno:  "EPERM",
					Reason: "a namespace of one's own gives all capabilities over much kernel code (CVE-2022-0185, CVE-2024-1086)",
				},
				seccomp.Rule{
					Calls:  []string{"clone"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "0",
							Mask:  "CLONE_NEWCGROUP|CLONE_NEWIPC|CLONE_NEWNET|CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWUSER|CLONE_NEWUTS",
						}},
					Reason: "processes and threads; CLONE_NEWTIME is a signal's number here and no flag",
				},
				seccomp.Rule{
					Calls:  []string{"clone3"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "its flags lie in memory, where a filter cannot see them; C libraries fall back to clone",
				},
				seccomp.Rule{
					Calls:  []string{"io_uring_enter", "io_uring_register", "io_uring_setup"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "does what other calls do, past this filter; programs fall back",
				},
				seccomp.Rule{
					Calls:  []string{"listmount", "listns", "statmount"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "tells of mounts and namespaces; libmount falls back to /proc",
				},
				seccomp.Rule{
					Calls:  []string{"@obsolete"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "what the kernel itself answers, or ought to",
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCSTI",
							Mask:  "0xffffffff",
						}},
					Reason: "types into the caller's terminal (CVE-2017-5226)",
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCLINUX",
							Mask:  "0xffffffff",
						}},
					Reason: "pastes into the caller's virtual console (CVE-2023-28100)",
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCCONS",
							Mask:  "0xffffffff",
						}},
					Reason: "takes the messages of the system console",
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCSETD",
							Mask:  "0xffffffff",
						}},
					Reason: "loads line disciplines, which hardly anybody looks after (CVE-2017-2636)",
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "PER_LINUX",
							Mask:  "0xffffffff",
						}},
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "PER_LINUX32",
							Mask:  "0xffffffff",
						}},
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "UNAME26",
							Mask:  "0xffffffff",
						}},
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "UNAME26|PER_LINUX32",
							Mask:  "0xffffffff",
						}},
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "0xffffffff",
							Mask:  "0xffffffff",
						}},
				}},
		},
	}
}

func builtinCi() *Profile {
	return &Profile{
		Version:     1,
		Name:        "ci",
		Description: "build tools, package managers, debuggers of one's own processes",
		Extends:     []string{"default"},
		Filesystem: Filesystem{
			Hidden:    []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware"},
			Protected: []string{"/proc/sys", "/proc/sysrq-trigger"},
		},
		Seccomp: &seccomp.Policy{
			Default: "errno",
			Errno:   "EPERM",
			Rules: []seccomp.Rule{
				seccomp.Rule{
					Calls:  []string{"kcmp", "pidfd_getfd", "process_vm_readv", "process_vm_writev", "ptrace"},
					Action: "allow",
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "ADDR_NO_RANDOMIZE",
							Mask:  "0xffffffff",
						}},
					Reason: "gdb and the sanitizers start programs at fixed addresses",
				},
				seccomp.Rule{
					Calls:  []string{"@aio", "@identity", "@ipc", "@network", "@xattr", "chroot", "get_mempolicy"},
					Action: "allow",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"socket", "socketpair"},
					Action: "errno",
					Errno:  "EAFNOSUPPORT",
					Reason: "AF_ALG, AF_VSOCK, AF_PACKET, AF_KEY and forty more have been ways into the kernel (CVE-2026-31431)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"socket", "socketpair"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "AF_UNIX",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "AF_INET",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "AF_INET6",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "AF_NETLINK",
							Mask:  "0xffffffff",
						},
						seccomp.Arg{
							Index: 2,
							Op:    "masked_eq",
							Value: "NETLINK_ROUTE",
							Mask:  "0xffffffff",
						}},
					Reason: "getaddrinfo and getifaddrs ask for addresses; other protocols of netlink are not for applications",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "errno",
					Errno:  "EAFNOSUPPORT",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "SOCK_PACKET",
							Mask:  "0xf",
						}},
					Reason: "the kernel takes AF_INET with this type for AF_PACKET",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "errno",
					Errno:  "ESOCKTNOSUPPORT",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "SOCK_DCCP",
							Mask:  "0xf",
						}},
					Reason: "loads a module that nobody looks after (CVE-2017-6074)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "errno",
					Errno:  "EPROTONOSUPPORT",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 2,
							Op:    "masked_eq",
							Value: "IPPROTO_SCTP",
							Mask:  "0xffffffff",
						}},
					Reason: "loads a large module; applications use TCP",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"@file", "@io", "@memory", "@process", "@sandbox", "@scheduler", "@signal", "@system", "@time", "capget", "getegid", "geteuid", "getgid", "getgroups", "getresgid", "getresuid", "getuid", "uprobe", "uretprobe"},
					Action: "allow",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"clone"},
					Action: "errno",
					Errno:  "EPERM",
					Reason: "a namespace of one's own gives all capabilities over much kernel code (CVE-2022-0185, CVE-2024-1086)",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"clone"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "0",
							Mask:  "CLONE_NEWCGROUP|CLONE_NEWIPC|CLONE_NEWNET|CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWUSER|CLONE_NEWUTS",
						}},
					Reason: "processes and threads; CLONE_NEWTIME is a signal's number here and no flag",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"clone3"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "its flags lie in memory, where a filter cannot see them; C libraries fall back to clone",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"io_uring_enter", "io_uring_register", "io_uring_setup"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "does what other calls do, past this filter; programs fall back",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"listmount", "listns", "statmount"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "tells of mounts and namespaces; libmount falls back to /proc",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"@obsolete"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "what the kernel itself answers, or ought to",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCSTI",
							Mask:  "0xffffffff",
						}},
					Reason: "types into the caller's terminal (CVE-2017-5226)",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCLINUX",
							Mask:  "0xffffffff",
						}},
					Reason: "pastes into the caller's virtual console (CVE-2023-28100)",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCCONS",
							Mask:  "0xffffffff",
						}},
					Reason: "takes the messages of the system console",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCSETD",
							Mask:  "0xffffffff",
						}},
					Reason: "loads line disciplines, which hardly anybody looks after (CVE-2017-2636)",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "PER_LINUX",
							Mask:  "0xffffffff",
						}},
					Rank: 2,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "PER_LINUX32",
							Mask:  "0xffffffff",
						}},
					Rank: 2,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "UNAME26",
							Mask:  "0xffffffff",
						}},
					Rank: 2,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "UNAME26|PER_LINUX32",
							Mask:  "0xffffffff",
						}},
					Rank: 2,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "0xffffffff",
							Mask:  "0xffffffff",
						}},
					Rank: 2,
				}},
		},
	}
}

func builtinDefault() *Profile {
	return &Profile{
		Version:     1,
		Name:        "default",
		Description: "images and applications",
		Extends:     []string{"base"},
		Filesystem: Filesystem{
			Hidden:    []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware"},
			Protected: []string{"/proc/sys", "/proc/sysrq-trigger"},
		},
		Seccomp: &seccomp.Policy{
			Default: "errno",
			Errno:   "EPERM",
			Rules: []seccomp.Rule{
				seccomp.Rule{
					Calls:  []string{"@aio", "@identity", "@ipc", "@network", "@xattr", "chroot", "get_mempolicy"},
					Action: "allow",
				},
				seccomp.Rule{
					Calls:  []string{"socket", "socketpair"},
					Action: "errno",
					Errno:  "EAFNOSUPPORT",
					Reason: "AF_ALG, AF_VSOCK, AF_PACKET, AF_KEY and forty more have been ways into the kernel (CVE-2026-31431)",
				},
				seccomp.Rule{
					Calls:  []string{"socket", "socketpair"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "AF_UNIX",
							Mask:  "0xffffffff",
						}},
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "AF_INET",
							Mask:  "0xffffffff",
						}},
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "AF_INET6",
							Mask:  "0xffffffff",
						}},
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "AF_NETLINK",
							Mask:  "0xffffffff",
						},
						seccomp.Arg{
							Index: 2,
							Op:    "masked_eq",
							Value: "NETLINK_ROUTE",
							Mask:  "0xffffffff",
						}},
					Reason: "getaddrinfo and getifaddrs ask for addresses; other protocols of netlink are not for applications",
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "errno",
					Errno:  "EAFNOSUPPORT",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "SOCK_PACKET",
							Mask:  "0xf",
						}},
					Reason: "the kernel takes AF_INET with this type for AF_PACKET",
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "errno",
					Errno:  "ESOCKTNOSUPPORT",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "SOCK_DCCP",
							Mask:  "0xf",
						}},
					Reason: "loads a module that nobody looks after (CVE-2017-6074)",
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "errno",
					Errno:  "EPROTONOSUPPORT",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 2,
							Op:    "masked_eq",
							Value: "IPPROTO_SCTP",
							Mask:  "0xffffffff",
						}},
					Reason: "loads a large module; applications use TCP",
				},
				seccomp.Rule{
					Calls:  []string{"@file", "@io", "@memory", "@process", "@sandbox", "@scheduler", "@signal", "@system", "@time", "capget", "getegid", "geteuid", "getgid", "getgroups", "getresgid", "getresuid", "getuid", "uprobe", "uretprobe"},
					Action: "allow",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"clone"},
					Action: "errno",
					Errno:  "EPERM",
					Reason: "a namespace of one's own gives all capabilities over much kernel code (CVE-2022-0185, CVE-2024-1086)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"clone"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "0",
							Mask:  "CLONE_NEWCGROUP|CLONE_NEWIPC|CLONE_NEWNET|CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWUSER|CLONE_NEWUTS",
						}},
					Reason: "processes and threads; CLONE_NEWTIME is a signal's number here and no flag",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"clone3"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "its flags lie in memory, where a filter cannot see them; C libraries fall back to clone",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"io_uring_enter", "io_uring_register", "io_uring_setup"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "does what other calls do, past this filter; programs fall back",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"listmount", "listns", "statmount"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "tells of mounts and namespaces; libmount falls back to /proc",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"@obsolete"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "what the kernel itself answers, or ought to",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCSTI",
							Mask:  "0xffffffff",
						}},
					Reason: "types into the caller's terminal (CVE-2017-5226)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCLINUX",
							Mask:  "0xffffffff",
						}},
					Reason: "pastes into the caller's virtual console (CVE-2023-28100)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCCONS",
							Mask:  "0xffffffff",
						}},
					Reason: "takes the messages of the system console",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCSETD",
							Mask:  "0xffffffff",
						}},
					Reason: "loads line disciplines, which hardly anybody looks after (CVE-2017-2636)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "PER_LINUX",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "PER_LINUX32",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "UNAME26",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "UNAME26|PER_LINUX32",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "0xffffffff",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				}},
		},
	}
}

func builtinJudge() *Profile {
	return &Profile{
		Version:     1,
		Name:        "judge",
		Description: "one computation: no fork, tight limits, the same surroundings every time",
		Extends:     []string{"strict"},
		Process: Process{
			Env: map[string]string{
				"HOME": "/tmp",
				"LANG": "C.UTF-8",
				"PATH": "/usr/local/bin:/usr/bin:/bin",
				"TZ":   "UTC",
			},
			Hostname: "judge",
		},
		Filesystem: Filesystem{
			Disk:      67108864,
			Hidden:    []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware"},
			Protected: []string{"/proc/sys", "/proc/sysrq-trigger"},
		},
		Limits: Limits{
			Memory:    536870912,
			CPUs:      1,
			Processes: 64,
			OpenFiles: 256,
			CoreSize:  pointer(Size(0)),
			Timeout:   30000000000,
			CPUTime:   10000000000,
			Output:    67108864,
		},
		Capabilities: Capabilities{
			Keep: []string{},
		},
		Network: Network{
			Mode: "none",
		},
		Seccomp: &seccomp.Policy{
			Default: "errno",
			Errno:   "EPERM",
			Rules: []seccomp.Rule{
				seccomp.Rule{
					Calls:  []string{"fork", "vfork", "inotify_add_watch", "inotify_init", "inotify_init1", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "setpriority", "setsid"},
					Action: "errno",
					Errno:  "EPERM",
				},
				seccomp.Rule{
					Calls:  []string{"clone"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "0",
							Mask:  "CLONE_THREAD",
						}},
					Reason: "threads, and no processes",
				},
				seccomp.Rule{
					Calls:  []string{"execveat", "memfd_create", "memfd_secret", "mknod", "mknodat", "name_to_handle_at", "pidfd_open", "pidfd_send_signal", "remap_file_pages", "seccomp"},
					Action: "errno",
					Errno:  "EPERM",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"mmap"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 2,
							Op:    "masked_eq",
							Value: "PROT_WRITE|PROT_EXEC",
							Mask:  "PROT_WRITE|PROT_EXEC",
						}},
					Reason: "machine code comes out of files; just-in-time compilers do not work here",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"mmap"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 2,
							Op:    "masked_eq",
							Value: "PROT_EXEC",
							Mask:  "PROT_EXEC",
						},
						seccomp.Arg{
							Index: 3,
							Op:    "masked_eq",
							Value: "MAP_ANONYMOUS",
							Mask:  "MAP_ANONYMOUS",
						}},
					Reason: "the same",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"mprotect", "pkey_mprotect"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 2,
							Op:    "masked_eq",
							Value: "PROT_EXEC",
							Mask:  "PROT_EXEC",
						}},
					Reason: "the same",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"socketpair"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "AF_UNIX",
							Mask:  "0xffffffff",
						}},
					Reason: "between a program's own processes",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"recvfrom", "recvmsg", "sendmsg", "sendto", "shutdown", "getsockopt"},
					Action: "allow",
					Reason: "on those pairs",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"@file", "@io", "@memory", "@process", "@sandbox", "@scheduler", "@signal", "@system", "@time", "capget", "getegid", "geteuid", "getgid", "getgroups", "getresgid", "getresuid", "getuid", "uprobe", "uretprobe"},
					Action: "allow",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"clone"},
					Action: "errno",
					Errno:  "EPERM",
					Reason: "a namespace of one's own gives all capabilities over much kernel code (CVE-2022-0185, CVE-2024-1086)",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"clone"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "0",
							Mask:  "CLONE_NEWCGROUP|CLONE_NEWIPC|CLONE_NEWNET|CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWUSER|CLONE_NEWUTS",
						}},
					Reason: "processes and threads; CLONE_NEWTIME is a signal's number here and no flag",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"clone3"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "its flags lie in memory, where a filter cannot see them; C libraries fall back to clone",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"io_uring_enter", "io_uring_register", "io_uring_setup"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "does what other calls do, past this filter; programs fall back",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"listmount", "listns", "statmount"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "tells of mounts and namespaces; libmount falls back to /proc",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"@obsolete"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "what the kernel itself answers, or ought to",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCSTI",
							Mask:  "0xffffffff",
						}},
					Reason: "types into the caller's terminal (CVE-2017-5226)",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCLINUX",
							Mask:  "0xffffffff",
						}},
					Reason: "pastes into the caller's virtual console (CVE-2023-28100)",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCCONS",
							Mask:  "0xffffffff",
						}},
					Reason: "takes the messages of the system console",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCSETD",
							Mask:  "0xffffffff",
						}},
					Reason: "loads line disciplines, which hardly anybody looks after (CVE-2017-2636)",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "PER_LINUX",
							Mask:  "0xffffffff",
						}},
					Rank: 2,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "PER_LINUX32",
							Mask:  "0xffffffff",
						}},
					Rank: 2,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "UNAME26",
							Mask:  "0xffffffff",
						}},
					Rank: 2,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "UNAME26|PER_LINUX32",
							Mask:  "0xffffffff",
						}},
					Rank: 2,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "0xffffffff",
							Mask:  "0xffffffff",
						}},
					Rank: 2,
				}},
		},
		Landlock: Landlock{
			Filesystem: pointer(bool(true)),
			Scopes:     pointer(bool(true)),
		},
	}
}

func builtinKvm() *Profile {
	return &Profile{
		Version:     1,
		Name:        "kvm",
		Description: "the emulator's own process, around a guest of --engine kvm",
		Extends:     []string{"base"},
		Filesystem: Filesystem{
			Hidden:    []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware"},
			Protected: []string{"/proc/sys", "/proc/sysrq-trigger"},
		},
		Capabilities: Capabilities{
			Keep: []string{},
		},
		Network: Network{
			Mode: "none",
		},
		Seccomp: &seccomp.Policy{
			Default: "errno",
			Errno:   "EPERM",
			Rules: []seccomp.Rule{
				seccomp.Rule{
					Calls:  []string{"@aio", "@xattr", "getpeername", "getsockname", "getsockopt", "recvmsg", "sendmsg", "shutdown"},
					Action: "allow",
				},
				seccomp.Rule{
					Calls:  []string{"execveat", "memfd_secret", "name_to_handle_at", "remap_file_pages", "seccomp"},
					Action: "errno",
					Errno:  "EPERM",
				},
				seccomp.Rule{
					Calls:  []string{"get_mempolicy", "mbind", "set_mempolicy"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "libnuma asks at its start; where memory lies is the host's business",
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "ENOTTY",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "0x5400",
							Mask:  "0xff00",
						}},
					Reason: "terminals: the standard streams are pipes, and nothing else of this kind is here",
				},
				seccomp.Rule{
					Calls:  []string{"@file", "@io", "@memory", "@process", "@sandbox", "@scheduler", "@signal", "@system", "@time", "capget", "getegid", "geteuid", "getgid", "getgroups", "getresgid", "getresuid", "getuid", "uprobe", "uretprobe"},
					Action: "allow",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"clone"},
					Action: "errno",
					Errno:  "EPERM",
					Reason: "a namespace of one's own gives all capabilities over much kernel code (CVE-2022-0185, CVE-2024-1086)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"clone"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "0",
							Mask:  "CLONE_NEWCGROUP|CLONE_NEWIPC|CLONE_NEWNET|CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWUSER|CLONE_NEWUTS",
						}},
					Reason: "processes and threads; CLONE_NEWTIME is a signal's number here and no flag",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"clone3"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "its flags lie in memory, where a filter cannot see them; C libraries fall back to clone",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"io_uring_enter", "io_uring_register", "io_uring_setup"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "does what other calls do, past this filter; programs fall back",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"listmount", "listns", "statmount"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "tells of mounts and namespaces; libmount falls back to /proc",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"@obsolete"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "what the kernel itself answers, or ought to",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCSTI",
							Mask:  "0xffffffff",
						}},
					Reason: "types into the caller's terminal (CVE-2017-5226)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCLINUX",
							Mask:  "0xffffffff",
						}},
					Reason: "pastes into the caller's virtual console (CVE-2023-28100)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCCONS",
							Mask:  "0xffffffff",
						}},
					Reason: "takes the messages of the system console",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCSETD",
							Mask:  "0xffffffff",
						}},
					Reason: "loads line disciplines, which hardly anybody looks after (CVE-2017-2636)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "PER_LINUX",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "PER_LINUX32",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "UNAME26",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "UNAME26|PER_LINUX32",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "0xffffffff",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				}},
		},
		Landlock: Landlock{
			Filesystem: pointer(bool(true)),
			Scopes:     pointer(bool(true)),
		},
	}
}

func builtinStrict() *Profile {
	return &Profile{
		Version:     1,
		Name:        "strict",
		Description: "a stranger's binary: no network, few calls, no new machine code in memory",
		Extends:     []string{"base"},
		Filesystem: Filesystem{
			Hidden:    []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware"},
			Protected: []string{"/proc/sys", "/proc/sysrq-trigger"},
		},
		Capabilities: Capabilities{
			Keep: []string{},
		},
		Network: Network{
			Mode: "none",
		},
		Seccomp: &seccomp.Policy{
			Default: "errno",
			Errno:   "EPERM",
			Rules: []seccomp.Rule{
				seccomp.Rule{
					Calls:  []string{"execveat", "memfd_create", "memfd_secret", "mknod", "mknodat", "name_to_handle_at", "pidfd_open", "pidfd_send_signal", "remap_file_pages", "seccomp"},
					Action: "errno",
					Errno:  "EPERM",
				},
				seccomp.Rule{
					Calls:  []string{"mmap"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 2,
							Op:    "masked_eq",
							Value: "PROT_WRITE|PROT_EXEC",
							Mask:  "PROT_WRITE|PROT_EXEC",
						}},
					Reason: "machine code comes out of files; just-in-time compilers do not work here",
				},
				seccomp.Rule{
					Calls:  []string{"mmap"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 2,
							Op:    "masked_eq",
							Value: "PROT_EXEC",
							Mask:  "PROT_EXEC",
						},
						seccomp.Arg{
							Index: 3,
							Op:    "masked_eq",
							Value: "MAP_ANONYMOUS",
							Mask:  "MAP_ANONYMOUS",
						}},
					Reason: "the same",
				},
				seccomp.Rule{
					Calls:  []string{"mprotect", "pkey_mprotect"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 2,
							Op:    "masked_eq",
							Value: "PROT_EXEC",
							Mask:  "PROT_EXEC",
						}},
					Reason: "the same",
				},
				seccomp.Rule{
					Calls:  []string{"socketpair"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "AF_UNIX",
							Mask:  "0xffffffff",
						}},
					Reason: "between a program's own processes",
				},
				seccomp.Rule{
					Calls:  []string{"recvfrom", "recvmsg", "sendmsg", "sendto", "shutdown", "getsockopt"},
					Action: "allow",
					Reason: "on those pairs",
				},
				seccomp.Rule{
					Calls:  []string{"@file", "@io", "@memory", "@process", "@sandbox", "@scheduler", "@signal", "@system", "@time", "capget", "getegid", "geteuid", "getgid", "getgroups", "getresgid", "getresuid", "getuid", "uprobe", "uretprobe"},
					Action: "allow",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"clone"},
					Action: "errno",
					Errno:  "EPERM",
					Reason: "a namespace of one's own gives all capabilities over much kernel code (CVE-2022-0185, CVE-2024-1086)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"clone"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "0",
							Mask:  "CLONE_NEWCGROUP|CLONE_NEWIPC|CLONE_NEWNET|CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWUSER|CLONE_NEWUTS",
						}},
					Reason: "processes and threads; CLONE_NEWTIME is a signal's number here and no flag",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"clone3"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "its flags lie in memory, where a filter cannot see them; C libraries fall back to clone",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"io_uring_enter", "io_uring_register", "io_uring_setup"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "does what other calls do, past this filter; programs fall back",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"listmount", "listns", "statmount"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "tells of mounts and namespaces; libmount falls back to /proc",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"@obsolete"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "what the kernel itself answers, or ought to",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCSTI",
							Mask:  "0xffffffff",
						}},
					Reason: "types into the caller's terminal (CVE-2017-5226)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCLINUX",
							Mask:  "0xffffffff",
						}},
					Reason: "pastes into the caller's virtual console (CVE-2023-28100)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCCONS",
							Mask:  "0xffffffff",
						}},
					Reason: "takes the messages of the system console",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCSETD",
							Mask:  "0xffffffff",
						}},
					Reason: "loads line disciplines, which hardly anybody looks after (CVE-2017-2636)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "PER_LINUX",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "PER_LINUX32",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "UNAME26",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "UNAME26|PER_LINUX32",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "0xffffffff",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				}},
		},
		Landlock: Landlock{
			Filesystem: pointer(bool(true)),
			Scopes:     pointer(bool(true)),
		},
	}
}

func builtinTenant() *Profile {
	return &Profile{
		Version:     1,
		Name:        "tenant",
		Description: "a login shell for people on a shared machine",
		Extends:     []string{"default"},
		Filesystem: Filesystem{
			Hidden:    []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware"},
			Protected: []string{"/proc/sys", "/proc/sysrq-trigger"},
		},
		Capabilities: Capabilities{
			Keep: []string{},
		},
		Seccomp: &seccomp.Policy{
			Default: "errno",
			Errno:   "EPERM",
			Rules: []seccomp.Rule{
				seccomp.Rule{
					Calls:  []string{"ptrace"},
					Action: "allow",
				},
				seccomp.Rule{
					Calls:  []string{"chroot", "mlockall", "remap_file_pages"},
					Action: "errno",
					Errno:  "EPERM",
				},
				seccomp.Rule{
					Calls:  []string{"@aio", "@identity", "@ipc", "@network", "@xattr", "chroot", "get_mempolicy"},
					Action: "allow",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"socket", "socketpair"},
					Action: "errno",
					Errno:  "EAFNOSUPPORT",
					Reason: "AF_ALG, AF_VSOCK, AF_PACKET, AF_KEY and forty more have been ways into the kernel (CVE-2026-31431)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"socket", "socketpair"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "AF_UNIX",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "AF_INET",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "AF_INET6",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "AF_NETLINK",
							Mask:  "0xffffffff",
						},
						seccomp.Arg{
							Index: 2,
							Op:    "masked_eq",
							Value: "NETLINK_ROUTE",
							Mask:  "0xffffffff",
						}},
					Reason: "getaddrinfo and getifaddrs ask for addresses; other protocols of netlink are not for applications",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "errno",
					Errno:  "EAFNOSUPPORT",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "SOCK_PACKET",
							Mask:  "0xf",
						}},
					Reason: "the kernel takes AF_INET with this type for AF_PACKET",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "errno",
					Errno:  "ESOCKTNOSUPPORT",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "SOCK_DCCP",
							Mask:  "0xf",
						}},
					Reason: "loads a module that nobody looks after (CVE-2017-6074)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"socket"},
					Action: "errno",
					Errno:  "EPROTONOSUPPORT",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 2,
							Op:    "masked_eq",
							Value: "IPPROTO_SCTP",
							Mask:  "0xffffffff",
						}},
					Reason: "loads a large module; applications use TCP",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"@file", "@io", "@memory", "@process", "@sandbox", "@scheduler", "@signal", "@system", "@time", "capget", "getegid", "geteuid", "getgid", "getgroups", "getresgid", "getresuid", "getuid", "uprobe", "uretprobe"},
					Action: "allow",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"clone"},
					Action: "errno",
					Errno:  "EPERM",
					Reason: "a namespace of one's own gives all capabilities over much kernel code (CVE-2022-0185, CVE-2024-1086)",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"clone"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "0",
							Mask:  "CLONE_NEWCGROUP|CLONE_NEWIPC|CLONE_NEWNET|CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWUSER|CLONE_NEWUTS",
						}},
					Reason: "processes and threads; CLONE_NEWTIME is a signal's number here and no flag",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"clone3"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "its flags lie in memory, where a filter cannot see them; C libraries fall back to clone",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"io_uring_enter", "io_uring_register", "io_uring_setup"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "does what other calls do, past this filter; programs fall back",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"listmount", "listns", "statmount"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "tells of mounts and namespaces; libmount falls back to /proc",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"@obsolete"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "what the kernel itself answers, or ought to",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCSTI",
							Mask:  "0xffffffff",
						}},
					Reason: "types into the caller's terminal (CVE-2017-5226)",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCLINUX",
							Mask:  "0xffffffff",
						}},
					Reason: "pastes into the caller's virtual console (CVE-2023-28100)",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCCONS",
							Mask:  "0xffffffff",
						}},
					Reason: "takes the messages of the system console",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCSETD",
							Mask:  "0xffffffff",
						}},
					Reason: "loads line disciplines, which hardly anybody looks after (CVE-2017-2636)",
					Rank:   2,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "PER_LINUX",
							Mask:  "0xffffffff",
						}},
					Rank: 2,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "PER_LINUX32",
							Mask:  "0xffffffff",
						}},
					Rank: 2,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "UNAME26",
							Mask:  "0xffffffff",
						}},
					Rank: 2,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "UNAME26|PER_LINUX32",
							Mask:  "0xffffffff",
						}},
					Rank: 2,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "0xffffffff",
							Mask:  "0xffffffff",
						}},
					Rank: 2,
				}},
		},
		Landlock: Landlock{
			Scopes: pointer(bool(true)),
		},
	}
}

func builtinUml() *Profile {
	return &Profile{
		Version:     1,
		Name:        "uml",
		Description: "the kernel's own process, around a guest of --engine uml",
		Extends:     []string{"base"},
		Filesystem: Filesystem{
			Hidden:    []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware"},
			Protected: []string{"/proc/sys", "/proc/sysrq-trigger"},
		},
		Capabilities: Capabilities{
			Keep: []string{},
		},
		Network: Network{
			Mode: "none",
		},
		Seccomp: &seccomp.Policy{
			Default: "errno",
			Errno:   "EPERM",
			Rules: []seccomp.Rule{
				seccomp.Rule{
					Calls:  []string{"@xattr", "ptrace"},
					Action: "allow",
				},
				seccomp.Rule{
					Calls:  []string{"memfd_secret", "name_to_handle_at"},
					Action: "errno",
					Errno:  "EPERM",
				},
				seccomp.Rule{
					Calls:  []string{"socket", "socketpair"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "AF_UNIX",
							Mask:  "0xffffffff",
						}},
					Reason: "pipes between its own threads, and a management console that nobody can reach",
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "ADDR_NO_RANDOMIZE",
							Mask:  "0xffffffff",
						}},
					Reason: "it lays its own memory out",
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "ENOTTY",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "0x5400",
							Mask:  "0xff00",
						}},
					Reason: "terminals: the standard streams are pipes, and nothing else of this kind is here",
				},
				seccomp.Rule{
					Calls:  []string{"@file", "@io", "@memory", "@process", "@sandbox", "@scheduler", "@signal", "@system", "@time", "capget", "getegid", "geteuid", "getgid", "getgroups", "getresgid", "getresuid", "getuid", "uprobe", "uretprobe"},
					Action: "allow",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"clone"},
					Action: "errno",
					Errno:  "EPERM",
					Reason: "a namespace of one's own gives all capabilities over much kernel code (CVE-2022-0185, CVE-2024-1086)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"clone"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "0",
							Mask:  "CLONE_NEWCGROUP|CLONE_NEWIPC|CLONE_NEWNET|CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWUSER|CLONE_NEWUTS",
						}},
					Reason: "processes and threads; CLONE_NEWTIME is a signal's number here and no flag",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"clone3"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "its flags lie in memory, where a filter cannot see them; C libraries fall back to clone",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"io_uring_enter", "io_uring_register", "io_uring_setup"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "does what other calls do, past this filter; programs fall back",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"listmount", "listns", "statmount"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "tells of mounts and namespaces; libmount falls back to /proc",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"@obsolete"},
					Action: "errno",
					Errno:  "ENOSYS",
					Reason: "what the kernel itself answers, or ought to",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCSTI",
							Mask:  "0xffffffff",
						}},
					Reason: "types into the caller's terminal (CVE-2017-5226)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCLINUX",
							Mask:  "0xffffffff",
						}},
					Reason: "pastes into the caller's virtual console (CVE-2023-28100)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCCONS",
							Mask:  "0xffffffff",
						}},
					Reason: "takes the messages of the system console",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"ioctl"},
					Action: "errno",
					Errno:  "EPERM",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Index: 1,
							Op:    "masked_eq",
							Value: "TIOCSETD",
							Mask:  "0xffffffff",
						}},
					Reason: "loads line disciplines, which hardly anybody looks after (CVE-2017-2636)",
					Rank:   1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "PER_LINUX",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "PER_LINUX32",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "UNAME26",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "UNAME26|PER_LINUX32",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				},
				seccomp.Rule{
					Calls:  []string{"personality"},
					Action: "allow",
					Args: []seccomp.Arg{
						seccomp.Arg{
							Op:    "masked_eq",
							Value: "0xffffffff",
							Mask:  "0xffffffff",
						}},
					Rank: 1,
				}},
		},
		Landlock: Landlock{
			Filesystem: pointer(bool(true)),
			Scopes:     pointer(bool(true)),
		},
	}
}
