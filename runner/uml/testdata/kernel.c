// A program that says to be a kernel with all CONFIG that is asked for, and does
// what -DMODE says when it is to boot.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--version"))
		return puts("1.2.3") < 0;
	if (argc > 1 && !strcmp(argv[1], "--showconfig"))
		return fputs(CONFIG, stdout) < 0;
	fprintf(stderr, "the words of no kernel\n");
	if (!strcmp(MODE, "status"))
		return 7;
	if (!strcmp(MODE, "crash"))
		raise(SIGABRT);
	if (!strcmp(MODE, "close")) {
		close(0);
		close(1);
	}
	for (;;)
		pause();
}
