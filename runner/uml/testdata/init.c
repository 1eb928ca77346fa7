// A process 1 that does what -DMODE says, and not what hutch's does.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

// look tries what a kernel that was taken over could: to read and to write the
// host through its file server and its disks.
static void look(void)
{
	DIR *d;
	struct dirent *e;
	int fd;

	mkdir("/h", 0755);
	printf("mount: %d\n", mount("none", "/h", "hostfs", 0, "/"));
	if ((d = opendir("/h")) != NULL)
		while ((e = readdir(d)) != NULL)
			printf("%s ", e->d_name);
	printf("\npasswd: %d\n", access("/h/etc/passwd", F_OK));
	printf("outside: %d\n", access("/h/proc/1/root/etc/passwd", F_OK));
	fd = open("/h/disk/0", O_WRONLY);
	printf("image: %d\n", fd);
	printf("kernel: %d\n", open("/h/uml/linux", O_WRONLY));
	fd = open("/dev/ubda", O_WRONLY);
	printf("device: %d %d\n", fd, (int)pwrite(fd, "overwritten", 11, 4096));
	fflush(stdout);
}

int main(void)
{
	int fd;

	// Process 1 of any program but the guest's ends what it is in.
	if (getpid() != 1 || getenv("HUTCH_GUEST") == NULL)
		return 1;
	printf("the words of a bad init\n");
	fflush(stdout);
	mount("devtmpfs", "/dev", "devtmpfs", 0, "");
	if (!strcmp(MODE, "look"))
		look();
	if (!strcmp(MODE, "exit"))
		return 3;
	if (!strcmp(MODE, "power-off") || !strcmp(MODE, "look"))
		reboot(RB_POWER_OFF);
	if (!strcmp(MODE, "reboot"))
		reboot(RB_AUTOBOOT);
	if (!strcmp(MODE, "babble")) {
		fd = open("/dev/ttyS0", O_RDWR | O_NOCTTY);
		if (write(fd, "Debian GNU/Linux 12 login: root\r\n", 33) < 0)
			return 4;
	}
	if (!strcmp(MODE, "eat"))
		for (;;)
			memset(malloc(1 << 20), 1, 1 << 20);
	for (;;)
		pause();
}
