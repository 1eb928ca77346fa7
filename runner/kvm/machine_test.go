package kvm

import (
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	small := Config{VirtioMMIO: 'y', CommandLineDevices: 'y', P9: 'y'}
	cloud := Config{VirtioMMIO: 'm', VirtioPCI: 'm', ACPI: 'y'}
	noMMIO := Config{VirtioPCI: 'y', ACPI: 'y'}
	v := [2]int{7, 2}
	tests := []struct {
		name    string
		facts   Facts
		machine string // what its type begins with; or what the error says
		cpu     string
		modules string
	}{
		{"small kernel, emulated", Facts{Accel: AccelTCG, QEMU: v, Microvm: true, Kernel: small, Devices: 3}, "microvm,acpi=off", "max,la57=off", ""},
		{"small kernel, KVM", Facts{Accel: AccelKVM, QEMU: v, Microvm: true, Kernel: small, Devices: 3}, "microvm,acpi=off", "host", ""},
		{"cloud kernel, KVM", Facts{Accel: AccelKVM, QEMU: v, Microvm: true, Kernel: cloud, Devices: 3}, "microvm,acpi=on", "host", "virtio_mmio"},
		{"cloud kernel, emulated", Facts{Accel: AccelTCG, QEMU: v, Microvm: true, Kernel: cloud, Devices: 3}, "q35", "max,la57=off", "virtio_pci"},
		{"cloud kernel, many devices", Facts{Accel: AccelTCG, QEMU: v, Microvm: true, Kernel: cloud, Devices: 9}, "q35", "max,la57=off", "virtio_pci"},
		{"a QEMU without microvm", Facts{Accel: AccelKVM, QEMU: v, Kernel: cloud, Devices: 3}, "q35", "host", "virtio_pci"},
		{"a kernel without virtio-mmio", Facts{Accel: AccelTCG, QEMU: v, Microvm: true, Kernel: noMMIO, Devices: 3}, "q35", "max,la57=off", ""},
		{"the oldest QEMU", Facts{Accel: AccelTCG, QEMU: [2]int{5, 2}, Microvm: true, Kernel: small, Devices: 1}, "microvm", "max,la57=off", ""},
		{"an older one", Facts{Accel: AccelTCG, QEMU: [2]int{5, 1}, Microvm: true, Kernel: small, Devices: 1}, "QEMU 5.1 is too old", "", ""},
		{"an ancient one", Facts{Accel: AccelTCG, QEMU: [2]int{4, 9}, Microvm: true, Kernel: small, Devices: 1}, "QEMU 4.9 is too old", "", ""},
		{"too many devices", Facts{Accel: AccelTCG, QEMU: v, Microvm: true, Kernel: cloud, Devices: 29}, "needs 29 virtual devices", "", ""},
		{"too many for the small kernel", Facts{Accel: AccelTCG, QEMU: v, Microvm: true, Kernel: small, Devices: 9}, "needs 9 virtual devices; without CONFIG_VIRTIO_PCI", "", ""},
		{"no virtio at all", Facts{Accel: AccelTCG, QEMU: v, Microvm: true, Devices: 1}, "CONFIG_VIRTIO_MMIO", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Choose(tt.facts)
			if tt.cpu == "" {
				if err == nil || !strings.Contains(err.Error(), tt.machine) {
					t.Fatalf("%+v, error %v, want one with %q", m, err, tt.machine)
				}
				return
			}
			if err != nil || !strings.HasPrefix(m.Type, tt.machine) || m.CPU != tt.cpu || strings.Join(m.Modules, " ") != tt.modules {
				t.Errorf("%+v, %v", m, err)
			}
		})
	}
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string][2]int{
		"QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright": {7, 2},
		"QEMU emulator version 10.0":                      {10, 0},
		"QEMU emulator version 5.2.0 (qemu-5.2.0-1.fc33)": {5, 2},
	} {
		if got, err := parseVersion(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "version", "version x.y", "version 7", "version 7."} {
		if got, err := parseVersion(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestComplaint(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "",
		"[    0.000000] Linux version 7.3\n": "",
		"qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69\n":   "error: failed to set MSR 0x10a to 0x69",
		"[ 0.1] x\nKVM internal error. Suberror: 1\nemulation failure\n": "KVM internal error. Suberror: 1",
	} {
		if got := complaint(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}
