//go:build cgo && (amd64 || arm64)

package main

/*
#define _GNU_SOURCE
#include <errno.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/futex.h>
#include <unistd.h>

// Go's runtime takes as long to start as a box does. A constructor runs before
// it, and what every box begins with needs no decision: so the first process
// of the box is born here, and makes its namespaces while the runtime starts.
// Then it waits to be told what to do. Measured with the network namespace,
// which is the dearest: a start takes 0.71 to 0.78 of the time.
//
// Where it cannot be born, or fails, or does not fit what is asked for, it is
// thrown away and the engine makes another, with all its words for errors.

struct newborn {
	int pid, pidfd, self;
	// running is cleared by the kernel when the newborn has executed something
	// or ended; ready is a futex that says that entry and program are there.
	int running, ready;
	// failed is set when one of its first steps did not work.
	int failed;
	void (*entry)(void *);
	void *program;
};

static struct newborn newborn = {.pid = -1, .pidfd = -1, .self = -1};

static struct newborn *the_newborn(void) { return &newborn; }

#define CLONED (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID)
#define UNSHARED (CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET)

// raw makes a system call without errno, which lies in memory that the newborn
// shares with hutch's main thread.
static long raw(long nr, long a, long b, long c, long d, long e)
{
#if defined(__x86_64__)
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	return x0;
#endif
}

// be_born does the first steps of every plan, package plan, in their order.
// They are listed for the engine by steps.
static int be_born(void *unused)
{
	struct pollfd hutch = {.fd = newborn.self, .events = POLLIN};
	struct timespec none = {0};
	long keyring;
	if (raw(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 ||
	    raw(SYS_ppoll, (long)&hutch, 1, (long)&none, 0, 0) != 0 || // hutch is dead
	    raw(SYS_setsid, 0, 0, 0, 0, 0) < 0 ||
	    ((keyring = raw(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)) < 0 && keyring != -ENOSYS) ||
	    raw(SYS_unshare, UNSHARED, 0, 0, 0, 0) != 0 ||
	    raw(SYS_mount, 0, (long)"/", 0, MS_REC | MS_PRIVATE, 0) != 0) {
		newborn.failed = 1;
		raw(SYS_exit_group, 125, 0, 0, 0, 0);
	}
	while (__atomic_load_n(&newborn.ready, __ATOMIC_ACQUIRE) == 0)
		raw(SYS_futex, (long)&newborn.ready, FUTEX_WAIT, 0, 0, 0);
	newborn.entry(newborn.program);
	return 125;
}

// wanted says whether the command line is of a run that will likely want what
// be_born does. A wrong guess costs time, nothing else.
static int wanted(int argc, char **argv)
{
	static const char *const other[] = {"--net", "-net", "--dry-run", "--help", "-h", "--engine"};
	if (argc < 4 || strcmp(argv[1], "run") != 0)
		return 0;
	for (int i = 2; i < argc && argv[i][0] == '-'; i++)
		for (size_t k = 0; k < sizeof(other) / sizeof(*other); k++)
			if (strncmp(argv[i], other[k], strlen(other[k])) == 0)
				return 0;
	return 1;
}

// Before threads_unsafe.go takes processors away, which a child would inherit.
__attribute__((constructor(101))) static void birth(int argc, char **argv)
{
	static char stack[16384] __attribute__((aligned(16)));
	sigset_t all, old;
	if (!wanted(argc, argv) || (newborn.self = syscall(SYS_pidfd_open, getpid(), 0)) < 0)
		return;
	// The lowest free number: one of the standard streams is closed. Go opens
	// /dev/null in its place, and the application must get that, not this.
	if (newborn.self <= STDERR_FILENO) {
		close(newborn.self);
		newborn.self = -1;
		return;
	}
	// Go's handlers, which are there soon, must never run in the newborn.
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	newborn.running = 1;
	newborn.pid = clone(be_born, stack + sizeof(stack),
		CLONED | CLONE_VM | CLONE_FILES | CLONE_PIDFD | CLONE_CHILD_CLEARTID | SIGCHLD,
		NULL, &newborn.pidfd, NULL, &newborn.running);
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (newborn.pid < 0) {
		close(newborn.self);
		newborn.self = -1;
	}
}

// let_go tells the newborn what to do.
static void let_go(uintptr_t entry, uintptr_t program)
{
	newborn.entry = (void (*)(void *))entry;
	newborn.program = (void *)program;
	__atomic_store_n(&newborn.ready, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &newborn.ready, FUTEX_WAKE, 1, NULL, NULL, 0);
}
*/
import "C"

import (
	"hutch/runner/native"
	"hutch/runner/plan"
)

// newborn is the process that was born before the runtime, or nil.
var newborn = theNewborn()

func theNewborn() *native.Newborn {
	n := C.the_newborn()
	if n.pid < 0 {
		return nil
	}
	return &native.Newborn{
		PID: int(n.pid), Pidfd: int(n.pidfd), Hutch: int(n.self),
		Clone: C.CLONED, Steps: newbornSteps(),
		Running: (*int32)(&n.running), Failed: (*int32)(&n.failed),
		Go: func(entry, program uintptr) { C.let_go(C.uintptr_t(entry), C.uintptr_t(program)) },
	}
}

// newbornSteps is what be_born does.
func newbornSteps() []plan.Step {
	return []plan.Step{
		{Kind: plan.DieWithParent},
		{Kind: plan.CheckParent},
		{Kind: plan.NewSession},
		{Kind: plan.NewKeyring},
		{Kind: plan.Unshare, Bits: C.UNSHARED},
		{Kind: plan.PrivateMounts},
	}
}
