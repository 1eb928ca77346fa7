// The least process 1 that ends a machine in order.
#include <sys/reboot.h>
#include <unistd.h>

int main(void)
{
	if (getpid() != 1)
		return 1;
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
