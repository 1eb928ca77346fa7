/*
 * The prober: what runs inside a box and tries what it must not do.
 *
 * It obeys only where $HUTCH_PROBE says who called: "inside" wants to see
 * the box's process 1, so that no attack ever hits the machine by mistake;
 * "outside" is for the tests that show that an attack bites.
 *
 * To add a role: a function, and a row in the table at the end.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 16] = "X";

static void nap(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};
	nanosleep(&t, NULL);
}

/* Process 1 may not have become the reaper yet. */
static int has_reaper(void)
{
	char name[32];
	for (int try = 0; try < 2000; try++) {
		int fd = open("/proc/1/cmdline", O_RDONLY);
		ssize_t n = fd < 0 ? -1 : read(fd, name, sizeof(name) - 1);
		close(fd);
		if (n < 0)
			return 0;
		name[n] = 0;
		if (!strcmp(name, "hutch-init"))
			return 1;
		nap(1);
	}
	return 0;
}

static void in_box(void)
{
	const char *where = getenv("HUTCH_PROBE");
	if (where && !strcmp(where, "outside"))
		return;
	if (where && !strcmp(where, "inside") && (getpid() == 1 || has_reaper()))
		return;
	fprintf(stderr, "probe: not in a box\n");
	exit(99);
}

/* word is a number, or @ for the address of the buffer, @text with text in it. */
static unsigned long word(char *s)
{
	if (s && *s == '@') {
		if (s[1])
			strcpy(buffer, s + 1);
		return (unsigned long)buffer;
	}
	return s ? strtoull(s, NULL, 0) : 0;
}

/* calls: makes the call of each line, "NR ARG...", and prints its errno. */
static int calls(char **argv)
{
	char line[4096];
	while (fgets(line, sizeof(line), stdin)) {
		unsigned long a[7] = {0};
		char *save, *s = strtok_r(line, " \n", &save);
		for (int i = 0; i < 7 && s; i++, s = strtok_r(NULL, " \n", &save))
			a[i] = word(s);
		errno = 0;
		long r = syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
		printf("%d\n", r == -1 ? errno : 0);
		fflush(stdout);
	}
	return 0;
}

/* opens: opens the file of each line, "r PATH" or "w PATH", reads a byte where
 * it may, and prints the errno, or 0 and the number of bytes read. */
static int opens(char **argv)
{
	char line[4096], byte;
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		int fd = open(line + 2, (line[0] == 'w' ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_CLOEXEC);
		long n = 0;
		if (fd < 0) {
			printf("%d 0\n", errno);
			continue;
		}
		if (line[0] == 'r') {
			n = read(fd, &byte, 1);
			if (n < 0 && errno == EISDIR) {
				n = 0;
				DIR *d = fdopendir(dup(fd));
				while (d && readdir(d))
					n++;
				n = n > 2 ? n - 2 : 0;
				closedir(d);
			} else if (n < 0) {
				printf("%d 0\n", errno);
				close(fd);
				continue;
			}
		}
		printf("0 %ld\n", n);
		close(fd);
	}
	return 0;
}

static int fds(char **argv)
{
	for (int fd = 0; fd < 65536; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("%d\n", fd);
	return 0;
}

static int env(char **argv)
{
	extern char **environ;
	for (char **e = environ; *e; e++)
		puts(*e);
	return 0;
}

static int cat(char **argv)
{
	for (; *argv; argv++) {
		int fd = strcmp(*argv, "-") ? open(*argv, O_RDONLY) : 0;
		if (fd < 0) {
			printf("%s: %s\n", *argv, strerror(errno));
			continue;
		}
		for (ssize_t n; (n = read(fd, buffer, sizeof(buffer))) > 0;)
			if (write(1, buffer, n) != n)
				return 1;
		close(fd);
	}
	return 0;
}

/* stat PATH...: prints type, owner and device of each. */
static int status(char **argv)
{
	for (; *argv; argv++) {
		struct stat st;
		if (lstat(*argv, &st))
			printf("%s\n", strerror(errno));
		else
			printf("%o %d:%d %lx\n", st.st_mode, st.st_uid, st.st_gid, (long)st.st_rdev);
	}
	return 0;
}

static int leave(char **argv) { return atoi(argv[0]); }

static int die(char **argv)
{
	sigset_t none;
	int sig = atoi(argv[0]);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(sig, SIG_DFL);
	raise(sig);
	nap(10000);
	return 98;
}

static int abi(char **argv)
{
#if defined(__x86_64__)
	long ret;
	if (!strcmp(argv[0], "i386")) {
		__asm__ volatile("int $0x80" : "=a"(ret) : "a"(20) : "memory");
		printf("%d\n", ret == getpid());
	} else {
		syscall(0x40000000 | SYS_getppid);
		printf("1\n");
	}
#endif
	return 0;
}

/* space FLAGS: clone, unshare and clone3 with the flags; prints three errnos. */
static int space(char **argv)
{
	unsigned long flags = strtoull(argv[0], NULL, 0);
	long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		_exit(0);
	int first = pid < 0 ? errno : 0;
	if (pid > 0)
		waitpid(pid, NULL, 0);
	unsigned long args[11] = {flags, 0, 0, 0, SIGCHLD};
	pid = syscall(SYS_clone3, args, sizeof(args));
	if (pid == 0)
		_exit(0);
	int third = pid < 0 ? errno : 0;
	if (pid > 0)
		waitpid(pid, NULL, 0);
	int second = unshare(flags) ? errno : 0;
	printf("%d %d %d\n", first, second, third);
	return 0;
}

static void *count(void *p)
{
	__atomic_add_fetch((int *)p, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static int threads(char **argv)
{
	pthread_t t[8];
	int n = 0;
	for (int i = 0; i < 8; i++)
		if (pthread_create(&t[i], NULL, count, &n))
			return 1;
	for (int i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	printf("%d\n", n);
	return 0;
}

/* inject: takes the terminal on 0 and pushes a character into it, by the plain
 * number and by one with bits in its upper half; prints the errnos. */
static int inject(char **argv)
{
	ioctl(0, TIOCSCTTY, 0);
	for (int i = 0; i < 2; i++) {
		unsigned long high = i ? 0x7654321000000000UL : 0;
		char c = 'X', paste[2] = {3, 0};
		int a = syscall(SYS_ioctl, 0, high | TIOCSTI, &c) ? errno : 0;
		int b = syscall(SYS_ioctl, 0, high | TIOCLINUX, paste) ? errno : 0;
		printf("%d %d\n", a, b);
	}
	return 0;
}

/* orphans N MARK: N processes by double forks, each in a session of its own,
 * deaf to every signal; then leaves. */
static int orphans(char **argv)
{
	for (int i = atoi(argv[0]); i > 0; i--) {
		pid_t p = fork();
		if (p < 0)
			break;
		if (p == 0) {
			if (i % 2)
				setsid();
			for (int s = 1; s < 65; s++)
				signal(s, SIG_IGN);
			if (fork() == 0) {
				setsid();
				close(0), close(1), close(2);
				for (;;)
					pause();
			}
			_exit(0);
		}
		waitpid(p, NULL, 0);
	}
	printf("left\n");
	return 0;
}

/* bomb N: processes that fork again as they die, N at most at a time. */
static int bomb(char **argv)
{
	for (int i = atoi(argv[0]); i > 0; i--)
		if (fork() == 0)
			for (int left = 500; left > 0; left--) {
				pid_t p = fork();
				if (p > 0)
					_exit(0);
				if (p < 0)
					nap(1);
			}
	nap(30);
	printf("left\n");
	return 0;
}

/* zombies N: N orphans that end at once; waits until none of them is left. */
static int zombies(char **argv)
{
	int n = atoi(argv[0]), left = 0;
	for (int i = 0; i < n; i++) {
		pid_t p = fork();
		if (p == 0) {
			if (fork() == 0)
				nap(5);
			_exit(0);
		}
		waitpid(p, NULL, 0);
	}
	for (int try = 0; try < 500; try++) {
		DIR *d = opendir("/proc");
		left = 0;
		for (struct dirent *e; (e = readdir(d));)
			if (atoi(e->d_name) > 2)
				left++;
		closedir(d);
		if (!left)
			break;
		nap(10);
	}
	printf("%d\n", left);
	return 0;
}

static volatile sig_atomic_t got;
static void take(int sig) { got = sig; }

/* signals SIG...: says it is ready, then the number of each that arrives. */
static int signals(char **argv)
{
	int n = 0;
	sigset_t block, old;
	sigfillset(&block);
	sigprocmask(SIG_BLOCK, &block, &old);
	for (; argv[n]; n++)
		signal(atoi(argv[n]), take);
	printf("ready\n");
	fflush(stdout);
	for (int i = 0; i < n; i++) {
		sigsuspend(&old);
		printf("%d\n", (int)got);
		fflush(stdout);
	}
	return 0;
}

/* stay SECONDS MARK: ignores SIGTERM if MARK is "deaf". */
static int stay(char **argv)
{
	if (argv[1] && !strcmp(argv[1], "deaf"))
		signal(SIGTERM, SIG_IGN);
	printf("ready\n");
	fflush(stdout);
	nap(1000 * atol(argv[0]));
	return 0;
}

/* swap A B: exchanges two names for ever. */
static int swap(char **argv)
{
	printf("ready\n");
	fflush(stdout);
	for (;;)
		if (syscall(SYS_renameat2, AT_FDCWD, argv[0], AT_FDCWD, argv[1], 2 /* RENAME_EXCHANGE */)) {
			perror("renameat2");
			return 1;
		}
}

/* connect NAME: an abstract socket; prints the errno. */
static int dial(char **argv)
{
	struct sockaddr_un a = {AF_UNIX};
	strncpy(a.sun_path + 1, argv[0], sizeof(a.sun_path) - 2);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int r = connect(fd, (void *)&a, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(argv[0]));
	printf("%d\n", r ? errno : 0);
	return 0;
}

/* share KEY: makes a shared segment, a queue and a file in /dev/shm of one name;
 * prints whether each was there already. */
static int share(char **argv)
{
	int k = atoi(argv[0]);
	int a = syscall(SYS_shmget, k, 4096, 01600 | 02000) < 0 ? errno : 0;
	int b = syscall(SYS_semget, k, 1, 01600 | 02000) < 0 ? errno : 0;
	int c = syscall(SYS_msgget, k, 01600 | 02000) < 0 ? errno : 0;
	char name[64];
	snprintf(name, sizeof(name), "hutch-%d", k);
	int d = syscall(SYS_mq_open, name, O_CREAT | O_EXCL | O_RDWR, 0600, NULL) < 0 ? errno : 0;
	snprintf(name, sizeof(name), "/dev/shm/hutch-%d", k);
	int e = open(name, O_CREAT | O_EXCL | O_RDWR, 0600) < 0 ? errno : 0;
	printf("%d %d %d %d %d\n", a, b, c, d, e);
	if (argv[1] && !strcmp(argv[1], "clean")) {
		syscall(SYS_shmctl, syscall(SYS_shmget, k, 0, 0), 0, NULL);
		syscall(SYS_semctl, syscall(SYS_semget, k, 0, 0), 0, 0, NULL);
		syscall(SYS_msgctl, syscall(SYS_msgget, k, 0), 0, NULL);
		unlink(name);
		syscall(SYS_mq_unlink, strrchr(name, '/') + 1);
	}
	return 0;
}

/* key NAME: searches the session keyring; prints the errno. */
static int key(char **argv)
{
	long r = syscall(SYS_keyctl, 10 /* KEYCTL_SEARCH */, -3 /* KEY_SPEC_SESSION_KEYRING */, "user", argv[0], 0);
	printf("%d\n", r < 0 ? errno : 0);
	return 0;
}

/* make PATH...: makes the files; prints the errnos. */
static int make(char **argv)
{
	for (; *argv; argv++) {
		int fd = open(*argv, O_WRONLY | O_CREAT | O_EXCL, 0666);
		printf("%d\n", fd < 0 ? errno : 0);
		close(fd);
	}
	return 0;
}

/* exe: tries to open every process's program for writing, and by way of it. */
static int overwrite(char **argv)
{
	char path[64];
	for (int pid = 1; pid <= 3; pid++) {
		snprintf(path, sizeof(path), "/proc/%d/exe", pid);
		int w = open(path, O_RDWR);
		printf("%s %d\n", path, w < 0 ? errno : 0);
		snprintf(path, sizeof(path), "/proc/%d/mem", pid);
		w = open(path, O_RDWR);
		printf("%s %d\n", path, w < 0 ? errno : 0);
		snprintf(path, sizeof(path), "/proc/%d/root", pid);
		w = open(path, O_RDONLY);
		printf("%s %d\n", path, w < 0 ? errno : 0);
		snprintf(path, sizeof(path), "/proc/%d/cwd", pid);
		w = open(path, O_RDONLY);
		printf("%s %d\n", path, w < 0 ? errno : 0);
	}
	return 0;
}

static const struct role {
	const char *name;
	int args;
	int (*run)(char **argv);
} roles[] = {
	{"calls", 0, calls}, {"opens", 0, opens}, {"fds", 0, fds}, {"env", 0, env},
	{"cat", 1, cat}, {"stat", 1, status}, {"exit", 1, leave}, {"die", 1, die},
	{"abi", 1, abi}, {"space", 1, space}, {"threads", 0, threads}, {"inject", 0, inject},
	{"orphans", 2, orphans}, {"bomb", 1, bomb}, {"zombies", 1, zombies},
	{"signals", 1, signals}, {"stay", 1, stay}, {"swap", 2, swap}, {"dial", 1, dial},
	{"share", 1, share}, {"key", 1, key}, {"make", 1, make}, {"overwrite", 0, overwrite},
};

int main(int argc, char **argv)
{
	in_box();
	for (size_t i = 0; argc > 1 && i < sizeof(roles) / sizeof(roles[0]); i++)
		if (!strcmp(argv[1], roles[i].name) && argc - 2 >= roles[i].args) {
			int r = roles[i].run(argv + 2);
			fflush(stdout);
			return r;
		}
	fprintf(stderr, "probe: no such role\n");
	return 97;
}
