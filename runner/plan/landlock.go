package plan

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// Rights that each ABI of Landlock brought, landlock(7). To add one: a row
// here; Build keeps only the rows that the kernel has.
var landlockFS = [...]struct {
	abi  int
	bits uint64
}{
	{1, unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1},
	{2, unix.LANDLOCK_ACCESS_FS_REFER},
	{3, unix.LANDLOCK_ACCESS_FS_TRUNCATE},
	{5, unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
}

const (
	// A ruleset that handles any file right refuses every rename between
	// directories unless it handles that right too, which came with ABI 2.
	leastFSABI    = 2
	leastScopeABI = 6

	landlockRead = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockExec = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_REFER
	landlockOpen = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	landlockScopes = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
)

// fsRights is every file right of the kernel's ABI.
func fsRights(abi int) uint64 {
	var bits uint64
	for _, r := range landlockFS {
		if abi >= r.abi {
			bits |= r.bits
		}
	}
	return bits
}

// layer decides whether a layer is on: what is required and lacking is an
// error, what is preferred and lacking is named as missing.
func (b *builder) layer(name string, w runner.Want, least int) (bool, error) {
	switch {
	case w == runner.Omit:
		return false, nil
	case b.facts.LandlockABI >= least:
		return true, nil
	case w == runner.Require:
		return false, &runner.Error{
			Stage: runner.StageStart,
			Step:  fmt.Sprintf("landlock %s needs ABI %d, this kernel has %d", name, least, b.facts.LandlockABI),
			Hint:  "use a newer kernel with landlock in its lsm= list, or leave the layer out: landlock." + name + " = false",
		}
	}
	b.plan.Missing = append(b.plan.Missing, "landlock "+name)
	return false, nil
}

// landlock keeps execve inside the root where hutch's own binary is exposed:
// without it, a script whose interpreter is /proc/self/exe executes that binary
// and can then open it for writing (CVE-2019-5736). A host root is narrowed
// further, to what its mounts say. Elsewhere the mounts say it all, and a right
// that Landlock handles costs time at each open of a file.
func (b *builder) landlock() error {
	fs, err := b.layer("filesystem", b.spec.Landlock.Filesystem, leastFSABI)
	if err != nil {
		return err
	}
	scopes, err := b.layer("scopes", b.spec.Landlock.Scopes, leastScopeABI)
	image := b.spec.Root.Kind != runner.RootHost
	if image && !b.facts.BinaryExposed && b.spec.Landlock.Filesystem != runner.Require {
		fs = false
	}
	if err != nil || (!fs && !scopes) {
		return err
	}
	b.plan.LandlockABI = b.facts.LandlockABI
	set := Step{Kind: LandlockCreate}
	if scopes {
		set.Scopes = landlockScopes
	}
	var rules []Step
	if fs {
		set.Bits, rules = b.landlockRules()
	}
	b.add(set)
	for _, r := range rules {
		b.add(r)
	}
	b.add(Step{Kind: LandlockSelf})
	return nil
}

func (b *builder) landlockRules() (uint64, []Step) {
	if b.spec.Root.Kind != runner.RootHost {
		return landlockExec, []Step{{Kind: LandlockAllow, Target: "/", Bits: landlockExec}}
	}
	all := fsRights(b.facts.LandlockABI)
	rules := []Step{{Kind: LandlockAllow, Target: "/", Bits: landlockRead}}
	for _, p := range []string{"/proc", "/dev"} {
		rules = append(rules, Step{Kind: LandlockAllow, Target: p, Bits: landlockOpen & all})
	}
	writable := []string{}
	for _, d := range b.scratchDirs() {
		writable = append(writable, d.Target)
	}
	for _, m := range b.spec.Mounts {
		// Rights on directories do not apply to a single file.
		if !m.ReadOnly && (m.Type == runner.MountTmpfs || b.facts.IsDir[m.Source]) {
			writable = append(writable, m.Target)
		} else if !m.ReadOnly {
			rules = append(rules, Step{Kind: LandlockAllow, Target: m.Target, Bits: landlockOpen & all &^ unix.LANDLOCK_ACCESS_FS_READ_DIR})
		}
	}
	slices.Sort(writable)
	for _, w := range slices.Compact(writable) {
		rules = append(rules, Step{Kind: LandlockAllow, Target: w, Bits: all})
	}
	return all, rules
}
