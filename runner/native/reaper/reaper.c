/*
 * The reaper: process 1 of a box, pid_namespaces(7).
 *
 * It reaps orphans, passes signals on to the application (always process 2,
 * the first that process 1 starts), and writes the application's wait status,
 * four bytes as wait4(2) gives them, to descriptor 0. Its end is the end of
 * the box: the kernel then kills whatever is left in it.
 *
 * No C library: a page of code, so that a thousand boxes cost a thousand
 * pages. It starts with every signal blocked and without a capability, and
 * its file cannot be read, so nothing in the box may trace it.
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

enum { APPLICATION = 2, WNOHANG = 1, ECHILD = 10, SIGCHLD = 17 };

/* Leaves with the application's status told, once there is one. */
static void reap(void)
{
	int status;
	for (;;) {
		long pid = call(NR_wait4, -1, (long)&status, WNOHANG, 0);
		if (pid == APPLICATION) {
			call(NR_write, 0, (long)&status, sizeof(status), 0);
			call(NR_exit, 0, 0, 0, 0);
		}
		if (pid == -ECHILD)
			call(NR_exit, 0, 0, 0, 0);
		if (pid <= 0)
			return;
	}
}

void _start(void)
{
	ulong all = ~0UL;
	for (;;) {
		/* Before the first wait too: the application may have ended already. */
		reap();
		long sig = call(NR_sigtimedwait, (long)&all, 0, 0, sizeof(all));
		if (sig > 0 && sig != SIGCHLD)
			call(NR_kill, APPLICATION, sig, 0, 0);
	}
}
