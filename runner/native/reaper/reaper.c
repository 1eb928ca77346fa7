/*
 * The reaper: process 1 of a box, pid_namespaces(7).
 *
 * It reaps orphans, passes signals on to the application (always process 2,
 * the first that process 1 starts), and writes the application's wait status,
 * four bytes as wait4(2) gives them, to descriptor 0. Its end is the end of
 * the box: the kernel then kills whatever is left in it.
 *
 * With an argument it leads the session of a terminal, of which the application
 * is a job: then it also tells when that stops, and SIGCONT is for all of the
 * job's process group. SIGHUP is a terminal that is gone: as there, SIGCONT comes
 * after it, for whom is stopped.
 *
 * No C library: a page of code, so that a thousand boxes cost a thousand
 * pages. It starts with every signal blocked and without a capability but
 * CAP_KILL, which it needs for an application of another user, and its file
 * cannot be read, so nothing in the box may trace it.
 */

typedef unsigned long ulong;

#if defined(__x86_64__)
enum { NR_write = 1, NR_wait4 = 61, NR_kill = 62, NR_sigtimedwait = 128, NR_exit = 231 };

static long call(long nr, long a, long b, long c, long d)
{
	long ret;
	register long r10 __asm__("r10") = d;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
enum { NR_write = 64, NR_wait4 = 260, NR_kill = 129, NR_sigtimedwait = 137, NR_exit = 94 };

static long call(long nr, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
}
#endif

enum { APPLICATION = 2, WNOHANG = 1, WUNTRACED = 2, ECHILD = 10, SIGHUP = 1, SIGCHLD = 17, SIGCONT = 18 };

/* Leaves with the application's status told, once there is one. */
static void reap(int terminal)
{
	int status;
	for (;;) {
		long pid = call(NR_wait4, -1, (long)&status, terminal ? WNOHANG | WUNTRACED : WNOHANG, 0);
		if (pid == APPLICATION) {
			call(NR_write, 0, (long)&status, sizeof(status), 0);
			if ((status & 0xff) == 0x7f) /* stopped, wait(2) */
				continue;
			call(NR_exit, 0, 0, 0, 0);
		}
		if (pid == -ECHILD)
			call(NR_exit, 0, 0, 0, 0);
		if (pid <= 0)
			return;
	}
}

/* The stack holds the number of arguments when a program begins. */
#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x0, sp\n\tbl begin\n");
#endif

__attribute__((used)) void begin(long *stack)
{
	ulong all = ~0UL;
	int terminal = stack[0] > 1;
	for (;;) {
		/* Before the first wait too: the application may have ended already. */
		reap(terminal);
		long sig = call(NR_sigtimedwait, (long)&all, 0, 0, sizeof(all));
		if (sig > 0 && sig != SIGCHLD)
			call(NR_kill, terminal && sig == SIGCONT ? -APPLICATION : APPLICATION, sig, 0, 0);
		if (terminal && sig == SIGHUP)
			call(NR_kill, -APPLICATION, SIGCONT, 0, 0);
	}
}
