package kvm

import (
	"fmt"

	"hutch/runner"
)

// The accelerators.
const (
	AccelKVM = "kvm"
	// AccelTCG emulates every instruction. It is never chosen by itself.
	AccelTCG = "tcg"
)

// Facts is what the choice of a machine depends on.
type Facts struct {
	Accel string
	// QEMU is its version: major, minor.
	QEMU [2]int
	// Microvm says that QEMU has that machine.
	Microvm bool
	Kernel  Config
	// Devices is how many virtio devices the guest needs.
	Devices int
}

// A Config is the part of a kernel's configuration that matters: 'y', 'm', or
// 0 for what is not there.
type Config struct {
	VirtioMMIO, CommandLineDevices, VirtioPCI, ACPI, P9, VirtioFS byte
}

// A Machine is what QEMU is told to be.
type Machine struct {
	Type string // the value of -machine
	CPU  string // the value of -cpu
	// Bus ends the names of virtio devices: "device" on virtio-mmio, "pci" on PCI.
	Bus string
	// Modules are those that the kernel needs for the bus.
	Modules []string
}

// The versions of QEMU that this package was written for: microvm is there
// since 4.2, and works with ACPI since 5.2.
var oldestQEMU = [2]int{5, 2}

// microvmDevices is how many virtio-mmio devices microvm has without a second
// interrupt controller, whatever machine it is on.
const microvmDevices = 8

// pciDevices is how many slots q35 has free.
const pciDevices = 28

// checkVersion says whether QEMU is too old.
func checkVersion(v [2]int) error {
	if v[0] > oldestQEMU[0] || v[0] == oldestQEMU[0] && v[1] >= oldestQEMU[1] {
		return nil
	}
	return &runner.Error{
		Stage: runner.StageStart, Step: fmt.Sprintf("QEMU %d.%d is too old", v[0], v[1]),
		Hint: fmt.Sprintf("install QEMU %d.%d or newer: apt-get install qemu-system-x86; or use --engine uml, which needs no emulator", oldestQEMU[0], oldestQEMU[1]),
	}
}

// Choose chooses a machine. It is pure.
func Choose(f Facts) (Machine, error) {
	if err := checkVersion(f.QEMU); err != nil {
		return Machine{}, err
	}
	m := Machine{CPU: cpu(f.Accel)}
	switch {
	case f.Microvm && f.Devices <= microvmDevices && f.Kernel.VirtioMMIO != 0 && f.Kernel.CommandLineDevices != 0:
		// The kernel is told its devices on the command line: no ACPI, no BIOS
		// tables. Under TCG a kernel without the clock, timer and interrupt
		// controller of a PC hangs.
		m.Type, m.Bus = "microvm,acpi=off,rtc=on,pit=on,pic=on", "device"
	case f.Accel == AccelKVM && f.Microvm && f.Devices <= microvmDevices && f.Kernel.VirtioMMIO != 0 && f.Kernel.ACPI != 0:
		// Not under TCG, where every other guest waits for a timer for ever.
		m.Type, m.Bus = "microvm,acpi=on,rtc=on", "device"
	case f.Kernel.VirtioPCI != 0 && f.Devices <= pciDevices:
		m.Type, m.Bus = "q35,vmport=off,smbus=off,sata=off", "pci"
	case f.Kernel.VirtioPCI != 0:
		return Machine{}, &runner.Error{
			Stage: runner.StageStart, Step: fmt.Sprintf("the run needs %d virtual devices, and a guest has %d", f.Devices, pciDevices),
			Hint: "bind fewer directories, or use --engine native",
		}
	case f.Kernel.VirtioMMIO != 0 && f.Devices > microvmDevices:
		return Machine{}, &runner.Error{
			Stage: runner.StageStart, Step: fmt.Sprintf("the run needs %d virtual devices; without CONFIG_VIRTIO_PCI in its kernel a guest has %d", f.Devices, microvmDevices),
			Hint: "bind fewer directories, or boot Debian's kernel: make guest-kernel FLAVOUR=amd64, and --kernel",
		}
	default:
		return Machine{}, &runner.Error{
			Stage: runner.StageStart, Step: "the kernel was built without CONFIG_VIRTIO_MMIO and CONFIG_VIRTIO_PCI, which its disks need",
			Hint: getKernel,
		}
	}
	switch {
	case m.Bus == "device" && f.Kernel.VirtioMMIO == 'm':
		m.Modules = []string{"virtio_mmio"}
	case m.Bus == "pci" && f.Kernel.VirtioPCI == 'm':
		m.Modules = []string{"virtio_pci"}
	}
	return m, nil
}

// cpu is the model: the host's own where it runs the guest, and under
// emulation all that QEMU can emulate, but for five levels of page tables,
// which only cost.
func cpu(accel string) string {
	if accel == AccelKVM {
		return "host"
	}
	return "max,la57=off"
}
