/* loop getppid N, loop filtered N, loop openat N FILE: makes the calls N times and prints the nanoseconds that one took.
 * It is measured in here, so that the start of the process is not in the figure.
 * "filtered" is getppid under a seccomp filter of one instruction, which allows all: the least that any
 * filter costs on this kernel. */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Returns 0 when a call failed: a refused call is quick, and must not win. */
static int once(int opening, const char *file)
{
	int fd;

	if (!opening)
		return syscall(SYS_getppid) >= 0;
	fd = syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC, 0);
	return fd >= 0 && close(fd) == 0;
}

static int filter(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = { 1, &allow };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

int main(int argc, char **argv)
{
	int opening = argc == 4 && !strcmp(argv[1], "openat");
	long n = argc > 2 ? atol(argv[2]) : 0;
	double start;

	if (n <= 0)
		return 2;
	if (!strcmp(argv[1], "filtered") && !filter())
		return 4;
	for (long i = 0; i < n / 10; i++) /* warm */
		if (!once(opening, argv[3]))
			return 3;
	start = now();
	for (long i = 0; i < n; i++)
		if (!once(opening, argv[3]))
			return 3;
	printf("%.3f\n", (now() - start) / n);
	return 0;
}
