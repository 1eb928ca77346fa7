package rootfs

import (
	"os"
	"strings"
)

// foreignRuns tells whether the kernel hands programs of another architecture
// to an emulator that works in any root: one that was opened beforehand, flag F
// (Linux, Documentation/admin-guide/binfmt-misc.rst).
func foreignRuns(arch string) bool {
	machine, ok := qemuName(arch)
	if !ok {
		return false
	}
	b, err := os.ReadFile("/proc/sys/fs/binfmt_misc/qemu-" + machine)
	if err != nil {
		return false
	}
	text := string(b)
	_, flags, _ := strings.Cut(text, "flags: ")
	flags, _, _ = strings.Cut(flags, "\n")
	return strings.HasPrefix(text, "enabled") && strings.Contains(flags, "F")
}

// qemuName is QEMU's word for an architecture that Go, and the image
// specification, call arch.
func qemuName(arch string) (string, bool) {
	for _, n := range [...][2]string{
		{"amd64", "x86_64"},
		{"386", "i386"},
		{"arm64", "aarch64"},
		{"arm", "arm"},
		{"riscv64", "riscv64"},
		{"ppc64le", "ppc64le"},
		{"s390x", "s390x"},
		{"loong64", "loongarch64"},
		{"mips64le", "mips64el"},
	} {
		if n[0] == arch {
			return n[1], true
		}
	}
	return "", false
}
