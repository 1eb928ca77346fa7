package seccomp

import "fmt"

// checkArchitecture says whether a policy may name an architecture here.
func checkArchitecture(name string) error {
	switch name {
	case "x86", "x32", "arm", "x86_64", "aarch64":
		return nil
	}
	return unknown("architecture", name, []string{"x86", "x32", "arm", "x86_64", "aarch64"})
}

// variant returns the call of the 64-bit tables whose rules a call holds that
// only 32-bit architectures have.
func variant(name string) (like string, ok bool) {
	for _, v := range variants {
		if v.name == name {
			return v.like, true
		}
	}
	return "", false
}

// withVariants appends the 32-bit calls that take the rules of those in list,
// unless the policy has rules of its own for them.
func withVariants(calls []loweredCall) []loweredCall {
	index := make(map[string]int, len(calls))
	for i, c := range calls {
		index[c.name] = i
	}
	out := calls
	for _, v := range variants {
		i, has := index[v.like]
		if _, own := index[v.name]; has && !own {
			out = append(out, loweredCall{name: v.name, answers: calls[i].answers})
		}
	}
	return out
}

func errArchitecture(name string) error {
	return fmt.Errorf("architecture %q does not run on %s", name, Native())
}

// variants are the calls of x86 and arm that 64-bit architectures have under
// another name, in alphabetical order. socketcall and ipc are missing on
// purpose: their arguments lie in memory, where a filter cannot see them.
var variants = [...]struct{ name, like string }{
	{"_llseek", "lseek"},
	{"_newselect", "select"},
	{"chown32", "chown"},
	{"clock_getres_time64", "clock_getres"},
	{"clock_gettime64", "clock_gettime"},
	{"clock_nanosleep_time64", "clock_nanosleep"},
	{"clock_settime64", "clock_settime"},
	{"fadvise64_64", "fadvise64"},
	{"fchown32", "fchown"},
	{"fcntl64", "fcntl"},
	{"fstat64", "fstat"},
	{"fstatat64", "newfstatat"},
	{"fstatfs64", "fstatfs"},
	{"ftruncate64", "ftruncate"},
	{"futex_time64", "futex"},
	{"getegid32", "getegid"},
	{"geteuid32", "geteuid"},
	{"getgid32", "getgid"},
	{"getgroups32", "getgroups"},
	{"getresgid32", "getresgid"},
	{"getresuid32", "getresuid"},
	{"getuid32", "getuid"},
	{"io_pgetevents_time64", "io_pgetevents"},
	{"lchown32", "lchown"},
	{"lstat64", "lstat"},
	{"mmap2", "mmap"},
	{"mq_timedreceive_time64", "mq_timedreceive"},
	{"mq_timedsend_time64", "mq_timedsend"},
	{"ppoll_time64", "ppoll"},
	{"pselect6_time64", "pselect6"},
	{"recvmmsg_time64", "recvmmsg"},
	{"rt_sigtimedwait_time64", "rt_sigtimedwait"},
	{"sched_rr_get_interval_time64", "sched_rr_get_interval"},
	{"semtimedop_time64", "semtimedop"},
	{"sendfile64", "sendfile"},
	{"setfsgid32", "setfsgid"},
	{"setfsuid32", "setfsuid"},
	{"setgid32", "setgid"},
	{"setgroups32", "setgroups"},
	{"setregid32", "setregid"},
	{"setresgid32", "setresgid"},
	{"setresuid32", "setresuid"},
	{"setreuid32", "setreuid"},
	{"setuid32", "setuid"},
	{"sigaction", "rt_sigaction"},
	{"signal", "rt_sigaction"},
	{"sigpending", "rt_sigpending"},
	{"sigprocmask", "rt_sigprocmask"},
	{"sigreturn", "rt_sigreturn"},
	{"sigsuspend", "rt_sigsuspend"},
	{"stat64", "stat"},
	{"statfs64", "statfs"},
	{"stime", "settimeofday"},
	{"timer_gettime64", "timer_gettime"},
	{"timer_settime64", "timer_settime"},
	{"timerfd_gettime64", "timerfd_gettime"},
	{"timerfd_settime64", "timerfd_settime"},
	{"truncate64", "truncate"},
	{"ugetrlimit", "getrlimit"},
	{"umount", "umount2"},
	{"utimensat_time64", "utimensat"},
	{"waitpid", "wait4"},
}
