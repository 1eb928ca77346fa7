package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"hutch/profiles"
	"hutch/runner"
	"hutch/runner/guest"
	"hutch/runner/kvm"
	"hutch/runner/native"
	"hutch/runner/uml"
)

// To add an engine: its name in engineNames, its case in engine, and its
// column in the table of runner/README.md.

var engineNames = [...]string{"native", "uml", "kvm"}

// An engineChoice is what the command line says of the engine.
type engineChoice struct {
	name   string
	kernel string
	accel  string
	vcpus  int64
	copy   guest.Copy
	kept   string // an image, see showKept
}

// check refuses what no engine has.
func (c *engineChoice) check() error {
	if c.name == "" {
		c.name = "native"
	}
	if !slices.Contains(engineNames[:], c.name) {
		return misuse("it is one of "+strings.Join(engineNames[:], ", "), "option --engine: no such engine %q", c.name)
	}
	if c.name == "native" && c.kernel != "" {
		return misuse("choose a guest with --engine uml or kvm", "option --kernel: the native engine runs on this machine's own kernel")
	}
	if c.name != "kvm" && c.accel != "" {
		return misuse("choose a full guest with --engine kvm", "option --accel: the engine %s has no accelerator", c.name)
	}
	if c.name != "kvm" && c.vcpus != 0 {
		return misuse("choose a full guest with --engine kvm, or limit the time with --cpus", "option --vcpus: the engine %s has no processors of its own", c.name)
	}
	if c.accel != "" && c.accel != kvm.AccelKVM && c.accel != kvm.AccelTCG {
		return misuse("it is kvm, or tcg, which emulates a processor", "option --accel: no such accelerator %q", c.accel)
	}
	if c.vcpus > kvm.MaxVCPUs {
		return misuse(fmt.Sprintf("give a guest 1 to %d", kvm.MaxVCPUs), "option --vcpus: %d processors", c.vcpus)
	}
	return nil
}

// engine is the engine that was chosen; box is that of its process's box.
func (c *engineChoice) engine(box *native.Engine) (runner.Engine, error) {
	switch c.name {
	case "uml":
		manyThreads()
		filter, err := boxFilter("uml")
		return &uml.Engine{Box: box, Filter: filter, Kernel: c.kernel, Kernels: umlKernels(), Cache: guestCache(), Guest: guestProgram, Copy: c.copy, Kept: c.kept}, err
	case "kvm":
		manyThreads()
		filter, err := boxFilter("kvm")
		return &kvm.Engine{
			Box: box, Filter: filter, Accel: c.accel, VCPUs: int(c.vcpus),
			Kernel: c.kernel, Kernels: kvmKernels(), Cache: guestCache(), Guest: guestProgram, Copy: c.copy, Kept: c.kept,
		}, err
	default:
		return box, nil
	}
}

// boxFilter is the filter of the built-in profile for a guest's process.
func boxFilter(profile string) (runner.Seccomp, error) {
	p, ok := profiles.Builtin(profile)
	if !ok {
		return runner.Seccomp{}, &runner.Error{Stage: runner.StageResolve, Step: "there is no built-in profile " + profile}
	}
	filter, err := p.Filter(cacheDir())
	if err != nil {
		return runner.Seccomp{}, &runner.Error{Stage: runner.StageResolve, Err: err}
	}
	return runner.Seccomp{Name: p.Name, Digest: filter.Digest(), Filter: filter}, nil
}

// sharedKernels is where kernels are that serve every user.
const sharedKernels = "/usr/local/lib/hutch/kernels"

// umlKernels is where make guest-kernels puts that of User Mode Linux.
func umlKernels() []string {
	return []string{cacheDir() + "/kernels/uml/linux", sharedKernels + "/uml/linux"}
}

// kvmKernels is where make guest-kernels and make guest-kernel put theirs: the
// small one first.
func kvmKernels() []string {
	var list []string
	for _, name := range []string{"microvm/vmlinux", "debian-amd64/boot/vmlinuz-*", "debian-cloud-amd64/boot/vmlinuz-*"} {
		for _, dir := range []string{cacheDir() + "/kernels", sharedKernels} {
			list = append(list, filepath.Join(dir, name))
		}
	}
	return list
}

// guestCache is where what a guest boots from is kept.
func guestCache() string {
	if d := cacheDir(); d != "" {
		return filepath.Join(d, "guest")
	}
	return ""
}
