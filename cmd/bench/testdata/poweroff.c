// The least process 1 that ends a machine in order.
#include <sys/reboot.h>
#include <unistd.h>

// A machine without a switch to power it off is restarted instead.
#ifndef END
#define END RB_POWER_OFF
#endif

int main(void)
{
	if (getpid() != 1)
		return 1;
	reboot(END);
	for (;;)
		pause();
}
