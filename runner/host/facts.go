// Package host finds out what this machine can enforce, and for what it
// cannot, why, and what to do about it.
//
// Each fact is a function of its own that asks the kernel when it is called.
// Nothing runs at start-up, and nothing but Probe calls more than one of them:
// a run asks for the one or two facts that it needs, mostly after something
// failed.
package host

import "context"

// A Fact is one thing that this machine has or lacks.
type Fact struct {
	Name  string `json:"name"`
	Have  bool   `json:"have"`
	Value string `json:"value,omitempty"` // such as "ABI 7"
	// Reason and Remedy say, when Have is false, why and what to do. Reason
	// may also qualify what is there.
	Reason string `json:"reason,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}

// Facts is everything that hutch doctor shows and that engines ask for.
type Facts struct {
	Kernel           Fact
	UserNamespaces   Fact
	IDMappedMounts   Fact
	Overlay          Fact // as the caller, in the first user namespace
	OverlayInUserns  Fact
	Landlock         Fact
	Seccomp          Fact
	Cgroup           Fact
	CgroupDelegation Fact
	SubIDs           Fact
	Newuidmap        Fact
	Capabilities     Fact
	Rlimits          Fact
	KVM              Fact
	UML              Fact
	QEMU             Fact
}

// Probe asks for every fact. It takes some ten milliseconds and leaves
// nothing behind; a context that is done skips the probes that start a
// process, and says so.
func Probe(ctx context.Context) Facts {
	f := Facts{
		Kernel:           Kernel(),
		Landlock:         Landlock(),
		Seccomp:          Seccomp(),
		Cgroup:           Cgroup(),
		CgroupDelegation: CgroupDelegation(),
		SubIDs:           SubIDs(),
		Newuidmap:        Newuidmap(),
		Capabilities:     Capabilities(),
		Rlimits:          Rlimits(),
		KVM:              KVM(),
		UML:              UML(),
		QEMU:             QEMU(),
	}
	if err := ctx.Err(); err != nil {
		skipped := func(name string) Fact {
			return Fact{Name: name, Reason: "not tried: " + err.Error(), Remedy: "allow more time"}
		}
		f.UserNamespaces, f.IDMappedMounts = skipped(nameUserns), skipped(nameIDMapped)
		f.Overlay, f.OverlayInUserns = skipped(nameOverlay), skipped(nameOverlayUserns)
		return f
	}
	f.UserNamespaces = UserNamespaces()
	f.IDMappedMounts = IDMappedMounts()
	f.Overlay = Overlay()
	f.OverlayInUserns = OverlayInUserns()
	return f
}

// List is the facts in the order in which they are shown.
func (f Facts) List() []Fact {
	return []Fact{
		f.Kernel, f.UserNamespaces, f.IDMappedMounts, f.Overlay, f.OverlayInUserns,
		f.Landlock, f.Seccomp, f.Cgroup, f.CgroupDelegation,
		f.SubIDs, f.Newuidmap, f.Capabilities, f.Rlimits,
		f.KVM, f.UML, f.QEMU,
	}
}

// The names of the facts that Probe may have to skip.
const (
	nameUserns        = "user namespaces"
	nameIDMapped      = "id-mapped mounts"
	nameOverlay       = "overlay"
	nameOverlayUserns = "overlay in a user namespace"
)
