package host

import (
	"errors"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// KVM is whether /dev/kvm is there and may be opened. That proves little: on a
// nested or emulated one no ordinary guest runs. Only a guest that boots does.
func KVM() Fact {
	f := Fact{Name: "kvm"}
	fd, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
		f.Have, f.Value = true, "/dev/kvm opens; a guest was not tried"
		f.Reason = "that it opens does not prove that a guest runs at speed"
		return f
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		f.Reason = "there is no /dev/kvm"
		f.Remedy = "switch virtualization on in the firmware, or nested virtualization in the machine around this one; as root: modprobe kvm_intel or kvm_amd"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		f.Reason = "this user may not open /dev/kvm"
		f.Remedy = "as root: usermod -aG kvm " + cmpOr(UserName(uint32(os.Geteuid())), itoa(os.Geteuid())) + "; and log in again"
	default:
		f.Reason, f.Remedy = "/dev/kvm: "+err.Error(), "look at dmesg for kvm"
	}
	return f
}

// UML is whether a User Mode Linux kernel is installed.
func UML() Fact {
	return installed("user mode linux", "linux.uml", "as root: apt-get install user-mode-linux")
}

// QEMU is whether a QEMU for this processor is installed.
func QEMU() Fact {
	return installed("qemu", qemuName(runtime.GOARCH), "as root: apt-get install qemu-system")
}

func qemuName(arch string) string {
	switch arch {
	case "arm64":
		return "qemu-system-aarch64"
	default:
		return "qemu-system-x86_64"
	}
}

func installed(fact, name, remedy string) Fact {
	path, err := exec.LookPath(name)
	if err != nil {
		return Fact{Name: fact, Reason: name + " is not installed", Remedy: remedy}
	}
	return Fact{Name: fact, Have: true, Value: path}
}
