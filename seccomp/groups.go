package seccomp

// A group is a name for calls that belong together.
type group struct {
	name  string
	calls []string
}

// Groups returns the names of all groups, sorted.
func Groups() []string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.name
	}
	return names
}

// Group returns the calls of a group, nil if there is no such group.
func Group(name string) []string {
	for _, g := range groups {
		if g.name == name {
			return g.calls
		}
	}
	return nil
}

// groupsDigest stands for the table below in the key of a cached filter. When
// the table changes, a test says what to write here.
// It covers the tables of variants and constants too.
const groupsDigest = "46c708bd3bb33cda"

// groups holds every call of the tables in exactly one group; a test sees to
// that. A new call: put it where its nearest relative is, in alphabetical
// order. A group is about what the calls do, not about whether they are safe:
// that is for the profiles to say.
var groups = [...]group{
	{"@administration", []string{ // rules the machine
		"acct", "chroot", "fanotify_init", "fanotify_mark", "ioperm", "iopl", "lsm_get_self_attr",
		"lsm_list_modules", "lsm_set_self_attr", "modify_ldt", "personality", "process_madvise",
		"process_mrelease", "quotactl", "quotactl_fd", "reboot", "setdomainname", "sethostname",
		"swapoff", "swapon", "syslog", "userfaultfd", "vhangup",
	}},
	{"@aio", []string{ // asynchronous input and output, the old way
		"io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit",
	}},
	{"@clock", []string{ // sets the clocks
		"adjtimex", "clock_adjtime", "clock_settime", "settimeofday",
	}},
	{"@debug", []string{ // looks into other processes, or at the kernel's counters
		"kcmp", "perf_event_open", "pidfd_getfd", "process_vm_readv", "process_vm_writev", "ptrace",
		"uprobe", "uretprobe",
	}},
	{"@file", []string{ // names and their attributes
		"access", "chdir", "chmod", "chown", "creat", "faccessat", "faccessat2", "fallocate", "fchdir",
		"fchmod", "fchmodat", "fchmodat2", "fchown", "fchownat", "file_getattr", "file_setattr",
		"fstat", "fstatfs", "ftruncate", "futimesat", "getcwd", "getdents", "getdents64",
		"inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "lchown", "link",
		"linkat", "lstat", "mkdir", "mkdirat", "mknod", "mknodat", "name_to_handle_at", "newfstatat",
		"open", "openat", "openat2", "readlink", "readlinkat", "rename", "renameat", "renameat2",
		"rmdir", "stat", "statfs", "statx", "symlink", "symlinkat", "truncate", "umask", "unlink",
		"unlinkat", "utime", "utimensat", "utimes",
	}},
	{"@handle", []string{ // opens files past the directories that lead to them
		"open_by_handle_at",
	}},
	{"@identity", []string{ // whom a process acts as
		"capget", "capset", "getegid", "geteuid", "getgid", "getgroups", "getresgid", "getresuid",
		"getuid", "setfsgid", "setfsuid", "setgid", "setgroups", "setregid", "setresgid", "setresuid",
		"setreuid", "setuid",
	}},
	{"@io", []string{ // on descriptors that are open
		"cachestat", "close", "close_range", "copy_file_range", "dup", "dup2", "dup3", "epoll_create",
		"epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd",
		"eventfd2", "fadvise64", "fcntl", "fdatasync", "flock", "fsync", "ioctl", "lseek", "pipe",
		"pipe2", "poll", "ppoll", "pread64", "preadv", "preadv2", "pselect6", "pwrite64", "pwritev",
		"pwritev2", "read", "readahead", "readv", "select", "sendfile", "splice", "sync",
		"sync_file_range", "syncfs", "tee", "vmsplice", "write", "writev",
	}},
	{"@io-uring", []string{
		"io_uring_enter", "io_uring_register", "io_uring_setup",
	}},
	{"@ipc", []string{ // System V and POSIX queues, semaphores, shared memory
		"mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink",
		"msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "shmat",
		"shmctl", "shmdt", "shmget",
	}},
	{"@kernel", []string{ // modules, other kernels, programs inside the kernel
		"bpf", "delete_module", "finit_module", "init_module", "kexec_file_load", "kexec_load",
	}},
	{"@keyring", []string{
		"add_key", "keyctl", "request_key",
	}},
	{"@memory", []string{
		"brk", "madvise", "map_shadow_stack", "memfd_create", "memfd_secret", "mincore", "mlock",
		"mlock2", "mlockall", "mmap", "mprotect", "mremap", "mseal", "msync", "munlock", "munlockall",
		"munmap", "pkey_alloc", "pkey_free", "pkey_mprotect", "remap_file_pages",
	}},
	{"@mount", []string{
		"fsconfig", "fsmount", "fsopen", "fspick", "listmount", "mount", "mount_setattr", "move_mount",
		"open_tree", "open_tree_attr", "pivot_root", "statmount", "umount2",
	}},
	{"@namespace", []string{
		"listns", "setns", "unshare",
	}},
	{"@network", []string{
		"accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen",
		"recvfrom", "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
		"socket", "socketpair",
	}},
	{"@numa", []string{ // where memory lies
		"get_mempolicy", "mbind", "migrate_pages", "move_pages", "set_mempolicy",
		"set_mempolicy_home_node",
	}},
	{"@obsolete", []string{ // the kernel has a number for them and nothing else, or ought to
		"_sysctl", "afs_syscall", "create_module", "epoll_ctl_old", "epoll_wait_old",
		"get_kernel_syms", "get_thread_area", "getpmsg", "lookup_dcookie", "nfsservctl", "putpmsg",
		"query_module", "security", "set_thread_area", "sysfs", "tuxcall", "uselib", "ustat", "vserver",
	}},
	{"@process", []string{ // processes and threads
		"arch_prctl", "clone", "clone3", "execve", "execveat", "exit", "exit_group", "fork", "futex",
		"futex_requeue", "futex_wait", "futex_waitv", "futex_wake", "get_robust_list", "getcpu",
		"getpgid", "getpgrp", "getpid", "getppid", "getpriority", "getrlimit", "getrusage", "getsid",
		"gettid", "membarrier", "pidfd_open", "prctl", "prlimit64", "rseq", "rseq_slice_yield",
		"set_robust_list", "set_tid_address", "setpgid", "setpriority", "setrlimit", "setsid", "times",
		"vfork", "wait4", "waitid",
	}},
	{"@sandbox", []string{ // only ever takes from the caller
		"landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "seccomp",
	}},
	{"@scheduler", []string{
		"ioprio_get", "ioprio_set", "sched_get_priority_max", "sched_get_priority_min",
		"sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler",
		"sched_rr_get_interval", "sched_setaffinity", "sched_setattr", "sched_setparam",
		"sched_setscheduler", "sched_yield",
	}},
	{"@signal", []string{
		"kill", "pause", "pidfd_send_signal", "restart_syscall", "rt_sigaction", "rt_sigpending",
		"rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
		"rt_tgsigqueueinfo", "sigaltstack", "signalfd", "signalfd4", "tgkill", "tkill",
	}},
	{"@system", []string{ // asks about the machine
		"getrandom", "sysinfo", "uname",
	}},
	{"@time", []string{ // reads the clocks, sleeps, sets timers
		"alarm", "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer", "gettimeofday",
		"nanosleep", "setitimer", "time", "timer_create", "timer_delete", "timer_getoverrun",
		"timer_gettime", "timer_settime", "timerfd_create", "timerfd_gettime", "timerfd_settime",
	}},
	{"@xattr", []string{ // extended attributes
		"fgetxattr", "flistxattr", "fremovexattr", "fsetxattr", "getxattr", "getxattrat", "lgetxattr",
		"listxattr", "listxattrat", "llistxattr", "lremovexattr", "lsetxattr", "removexattr",
		"removexattrat", "setxattr", "setxattrat",
	}},
}
