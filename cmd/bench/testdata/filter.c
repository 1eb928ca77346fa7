/* filter CALL N FILE: puts the seccomp filter in FILE, an array of struct sock_filter, on itself, makes CALL N times, and
 * prints the nanoseconds that one took. "install" prints those that the filter's installation took.
 * The FILE "-" stands for a filter of one instruction, which allows all: the least that any filter costs. */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct sock_filter text[4096] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
static int zero, null, word;
static char byte;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Each returns 0 when the call failed: a refused call is quick, and must not win. */
static int do_read(void) { return syscall(SYS_read, zero, &byte, 1) == 1; }
static int do_write(void) { return syscall(SYS_write, null, &byte, 1) == 1; }
static int do_futex(void) { return syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0) == 0; }
static int do_openat(void)
{
	int fd = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC, 0);
	return fd >= 0 && close(fd) == 0;
}

int main(int argc, char **argv)
{
	static const struct { const char *name; int (*call)(void); } calls[] = {
		{ "read", do_read }, { "write", do_write }, { "futex", do_futex }, { "openat", do_openat }, { "install", 0 },
	};
	struct sock_fprog program = { 1, text };
	long n = argc == 4 ? atol(argv[2]) : 0;
	double start, installed;
	unsigned i = 0;

	while (i < sizeof calls / sizeof *calls && argc > 1 && strcmp(calls[i].name, argv[1]))
		i++;
	if (n <= 0 || i == sizeof calls / sizeof *calls)
		return 2;
	zero = open("/dev/zero", O_RDONLY);
	null = open("/dev/null", O_WRONLY);
	if (strcmp(argv[3], "-")) {
		int fd = open(argv[3], O_RDONLY);
		long got = read(fd, text, sizeof text);
		if (got < (long)sizeof *text)
			return 4;
		program.len = got / sizeof *text;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return 4;
	start = now();
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
		return 4;
	installed = now();
	if (!calls[i].call) {
		printf("%.0f\n", installed - start);
		return 0;
	}
	for (long k = 0; k < n / 10; k++) /* warm */
		if (!calls[i].call())
			return 3;
	start = now();
	for (long k = 0; k < n; k++)
		if (!calls[i].call())
			return 3;
	printf("%.3f\n", (now() - start) / n);
	return 0;
}
