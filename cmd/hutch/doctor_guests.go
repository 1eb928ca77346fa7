package main

import (
	"hutch/runner"
	"hutch/runner/host"
	"hutch/runner/kvm"
	"hutch/runner/uml"
)

// guestFacts says which kernels guests would boot, and whether /dev/kvm runs
// one: it is tried, up to a guest's first message.
func guestFacts() []host.Fact {
	u := &uml.Engine{Box: newEngine(), Kernels: umlKernels(), Cache: guestCache(), Guest: guestProgram}
	filter, err := boxFilter("kvm")
	k := &kvm.Engine{Box: newEngine(), Filter: filter, Kernels: kvmKernels(), Cache: guestCache(), Guest: guestProgram}
	facts := []host.Fact{kernelFact("kernel for uml", u.KernelPath), kernelFact("kernel for kvm", k.KernelPath)}
	guest := host.Fact{Name: "kvm guest", Value: "ran up to its first message"}
	if err == nil {
		err = k.Try()
	}
	if err != nil {
		guest.Value, guest.Reason, guest.Remedy = "", err.Error(), runner.Hint(err)
	}
	guest.Have = err == nil
	return append(facts, guest)
}

func kernelFact(name string, find func() (string, error)) host.Fact {
	path, err := find()
	if err != nil {
		return host.Fact{Name: name, Reason: err.Error(), Remedy: runner.Hint(err)}
	}
	return host.Fact{Name: name, Have: true, Value: path}
}
