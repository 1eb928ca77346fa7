// Package pid1 is hutch as process 1 of a guest kernel: it furnishes the
// guest, takes one Config from the host, hands its Spec to the engine of
// namespaces, as the host would have done, and reports.
//
// It never ends by itself: the host ends the guest when it has the result.
package pid1

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// ChannelVar names the environment variable, set on the kernel's command line,
// that says where the host is to be spoken to: the path of a terminal device,
// or "virtio:" and the name of a port. Having it and being process 1 is what
// makes hutch the guest's side.
const ChannelVar = "HUTCH_GUEST"

// Wanted says whether this process is to call Main.
func Wanted() bool { return os.Getpid() == 1 && os.Getenv(ChannelVar) != "" }

// Main is the life of the guest. It does not return.
func Main() {
	// The box dies with the thread that starts it.
	runtime.LockOSThread()
	// Nobody can be told but whoever reads the console.
	fmt.Fprintf(os.Stderr, "hutch in the guest: %v\n", serve(os.Getenv(ChannelVar)))
	if strings.HasPrefix(os.Getenv(ChannelVar), virtioPrefix) {
		// The machine has nothing to switch off with; the emulator ends when it
		// restarts.
		unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	}
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	os.Exit(1) // the kernel panics, which the host sees as well
}
