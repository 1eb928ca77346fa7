package kvm

import (
	"strings"
	"testing"

	"hutch/runner"
)

func TestArgs(t *testing.T) {
	p := guestPlan{
		qemu: "/usr/bin/qemu-system-x86_64", accel: AccelTCG, machine: Machine{Type: "microvm", CPU: "max", Bus: "device"},
		vcpus: 2, memory: 300 << 20, disks: 2, shares: []share{{true}, {false}},
	}
	line := strings.Join(p.args(booted), " ")
	for _, want := range []string{
		"-nodefaults", "-no-user-config", "-monitor none", "-no-reboot", "-smp 2", "-m 300M", "-accel tcg,",
		"file=/guest/disk/1,format=raw,readonly=on", "virtio-blk-device,drive=disk1,serial=layer1",
		"path=/guest/share/0,security_model=none,multidevs=remap,readonly=on", "id=share1,path=/guest/share/1,security_model=none,multidevs=remap -device",
		"quiet", "mitigations=off",
	} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in %s", want, line)
		}
	}
	// What is restored is the machine that was saved.
	for _, l := range []life{toSave, restored} {
		if words := strings.Join(p.args(l), " "); len(lives[l]) == 0 || words != line+" "+strings.Join(lives[l], " ") {
			t.Errorf("life %d: %s", l, words)
		}
	}
	p.accel = AccelKVM
	line = strings.Join(p.args(booted), " ")
	for _, no := range []string{"tcg", "mitigations=off", "quiet"} {
		if strings.Contains(line, no) {
			t.Errorf("%q with KVM in %s", no, line)
		}
	}
}

// Nothing that an image, a profile or the caller says may become a word of
// QEMU's command line.
func TestArgsHoldNothingOfTheImage(t *testing.T) {
	const evil = "x,id=evil -monitor stdio"
	s := &runner.Spec{
		Command: []string{evil}, Env: []string{"A=" + evil}, Workdir: "/" + evil, User: evil, Hostname: evil, Profile: evil,
		Root:   runner.Root{Kind: runner.RootLayers, Lowers: []string{"/" + evil}},
		Mounts: []runner.Mount{{Type: runner.MountBind, Source: "/" + evil, Target: "/" + evil}, {Type: runner.MountTmpfs, Target: "/" + evil}},
	}
	l := translate(s, []string{"/store/" + evil})
	p := guestPlan{qemu: "qemu", accel: AccelTCG, machine: Machine{Type: "q35", CPU: "max", Bus: "pci"}, vcpus: 1, memory: guestMemory(s), disks: len(l.config.Disks), shares: l.shares}
	for _, a := range p.args(booted) {
		if strings.Contains(a, "evil") {
			t.Errorf("argument %q", a)
		}
	}
	if len(l.shares) != 1 || len(l.files) != 2 {
		t.Errorf("%d shares and %d files", len(l.shares), len(l.files))
	}
}

func TestGuestMemory(t *testing.T) {
	for limit, want := range map[int64]int64{0: defaultMemory, 1: kernelMemory + 1<<20, 256 << 20: 256<<20 + kernelMemory} {
		if got := guestMemory(&runner.Spec{Limits: runner.Limits{MemoryBytes: limit}}); got != want {
			t.Errorf("%d for a limit of %d, want %d", got, limit, want)
		}
	}
}
