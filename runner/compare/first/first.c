/*
 * The first instruction: writes one byte and exits. What a run of it takes up
 * to that byte is the start of a box, a container or a guest, and the rest its
 * end. No C library, so nothing of it is the program's own start.
 */

#if defined(__x86_64__)
enum { NR_write = 1, NR_exit_group = 231 };

static long call(long nr, long a, long b, long c)
{
	long ret;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
enum { NR_write = 64, NR_exit_group = 94 };

static long call(long nr, long a, long b, long c)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	return x0;
}
#endif

void _start(void)
{
	call(NR_write, 1, (long)"1\n", 2);
	for (;;)
		call(NR_exit_group, 0, 0, 0);
}
