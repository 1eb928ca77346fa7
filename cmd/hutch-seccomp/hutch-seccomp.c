/*
 * hutch-seccomp: libseccomp for hutch, which carries this program inside itself
 * and runs it when a filter is not in its cache. hutch has no C library: one
 * costs each start more than all filters cost those that compile one.
 *
 * Package seccomp makes stages of a policy (stages.go). They are read from
 * standard input, numbers in decimal:
 *
 *   stage ARCH DEFAULT BAD RULES    ARCH: a name of libseccomp's, or "native";
 *                                   actions as seccomp(2) returns them
 *   rule CALL ACTION CONDITIONS     CALL: a number, or a name, which is left out
 *                                   where ARCH has no such call
 *   INDEX OP A B                    a condition: enum scmp_compare, its operands
 *
 * For each stage the filter, struct sock_filter of seccomp(2), is written to
 * standard output, behind its size in bytes, eight digits and a newline. What
 * is wrong goes to standard error, and the exit status is 1.
 *
 * compile_libseccomp.go does the same with libseccomp-golang, for programs that
 * have a C library; TestCarriedCompiler holds the one against the other.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

static void fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void must(int result, const char *what)
{
	if (result < 0)
		fail("%s: %s", what, strerror(-result));
}

/* The number of a call, __NR_SCMP_ERROR where it has none. */
static int number(const char *call)
{
	char *end;
	long nr = strtol(call, &end, 10);
	return *end == '\0' ? (int)nr : seccomp_syscall_resolve_name(call);
}

static void rule(scmp_filter_ctx ctx)
{
	char call[64];
	unsigned action, count;
	struct scmp_arg_cmp conditions[6];
	if (scanf(" rule %63s %u %u", call, &action, &count) != 3 || count > 6)
		fail("a rule was expected");
	for (unsigned i = 0; i < count; i++) {
		unsigned index, op;
		unsigned long long a, b;
		if (scanf(" %u %u %llu %llu", &index, &op, &a, &b) != 4)
			fail("%s: a condition was expected", call);
		conditions[i] = (struct scmp_arg_cmp){index, op, a, b};
	}
	int nr = number(call);
	if (nr != __NR_SCMP_ERROR)
		must(seccomp_rule_add_array(ctx, action, nr, count, conditions), call);
}

/* Writes the filter, by way of a file in memory: libseccomp tells no size before. */
static void put(scmp_filter_ctx ctx)
{
	char buffer[65536];
	ssize_t n;
	off_t size;
	int fd = memfd_create("filter", MFD_CLOEXEC);
	if (fd < 0)
		fail("memfd_create: %s", strerror(errno));
	must(seccomp_export_bpf(ctx, fd), "export");
	if ((size = lseek(fd, 0, SEEK_END)) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		fail("lseek: %s", strerror(errno));
	printf("%08lld\n", (long long)size);
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		fwrite(buffer, 1, n, stdout);
	close(fd);
}

static void stage(const char *arch, unsigned fallback, unsigned bad, unsigned rules)
{
	scmp_filter_ctx ctx = seccomp_init(fallback);
	if (ctx == NULL)
		fail("seccomp_init: refused");
	/* 2 sorts the numbers into a binary tree. */
	must(seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2), "optimize");
	must(seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, bad), "bad architecture");
	if (strcmp(arch, "native") != 0) {
		uint32_t token = seccomp_arch_resolve_name(arch);
		if (token == 0)
			fail("%s: libseccomp knows no such architecture", arch);
		must(seccomp_arch_add(ctx, token), arch);
		must(seccomp_arch_remove(ctx, SCMP_ARCH_NATIVE), "native");
	}
	while (rules-- > 0)
		rule(ctx);
	put(ctx);
	seccomp_release(ctx);
}

int main(int argc, char **argv)
{
	char word[16], arch[32];
	unsigned fallback, bad, rules;
	if (argc > 1 && strcmp(argv[1], "--version") == 0) {
		const struct scmp_version *v = seccomp_version();
		printf("libseccomp %u.%u.%u\n", v->major, v->minor, v->micro);
		return 0;
	}
	while (scanf(" %15s", word) == 1) {
		if (strcmp(word, "stage") != 0 || scanf(" %31s %u %u %u", arch, &fallback, &bad, &rules) != 4)
			fail("a stage was expected");
		stage(arch, fallback, bad, rules);
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
