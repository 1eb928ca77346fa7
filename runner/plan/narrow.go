package plan

import (
	"fmt"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// landlockWrite is every way to change a file or a directory.
const landlockWrite = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE |
	unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
	unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
	unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
	unix.LANDLOCK_ACCESS_FS_MAKE_SYM

// A narrowing is one list of the profile.
type narrowing[T any] struct {
	name string // of its key
	list []T
	// handles are the rights that are refused elsewhere, allows those that an
	// entry gives.
	handles, allows uint64
	// abi is the first that can refuse all of it, linux the kernel that brought it.
	abi   int
	linux string
}

// pathNarrowings are the lists of paths. To add one: a row, with its key in
// profiles, Spec and Resolve.
//
// REFER, to move between directories, is refused by every ruleset about files
// unless that allows it; so it goes with writing. To execute a file is to read
// it, for the kernel.
func pathNarrowings(l *runner.Landlock) [4]narrowing[string] {
	const read, list, execute = unix.LANDLOCK_ACCESS_FS_READ_FILE, unix.LANDLOCK_ACCESS_FS_READ_DIR, unix.LANDLOCK_ACCESS_FS_EXECUTE
	return [...]narrowing[string]{
		{"read", l.Read, read | list, read | list, leastFSABI, "5.19"},
		{"list", l.List, list, list, leastFSABI, "5.19"},
		{"write", l.Write, landlockWrite, landlockWrite | unix.LANDLOCK_ACCESS_FS_REFER, 3, "6.2"}, // 3 brought TRUNCATE
		{"execute", l.Execute, execute, execute | read, leastFSABI, "5.19"},
	}
}

// portNarrowings are the lists of TCP ports; as above.
func portNarrowings(l *runner.Landlock) [2]narrowing[uint16] {
	const connect, bind = unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, unix.LANDLOCK_ACCESS_NET_BIND_TCP
	return [...]narrowing[uint16]{
		{"connect", l.Connect, connect, connect, 4, "6.7"},
		{"bind", l.Bind, bind, bind, 4, "6.7"},
	}
}

// said says whether the list is there; what cannot be enforced is an error.
func (n *narrowing[T]) said(abi int) (bool, error) {
	if n.list == nil || abi >= n.abi {
		return n.list != nil, nil
	}
	return false, &runner.Error{
		Stage: runner.StageStart,
		Step:  fmt.Sprintf("landlock.%s needs Landlock ABI %d, this kernel has %d", n.name, n.abi, abi),
		Hint:  fmt.Sprintf("use Linux %s or newer with landlock in its lsm= list, or leave the key out", n.linux),
	}
}

// NarrowABI is the Landlock ABI that a key of the profile's landlock table
// needs, 0 for one that is no list.
func NarrowABI(key string) int {
	for _, n := range pathNarrowings(&runner.Landlock{}) {
		if n.name == key {
			return n.abi
		}
	}
	for _, n := range portNarrowings(&runner.Landlock{}) {
		if n.name == key {
			return n.abi
		}
	}
	return 0
}

// narrow adds a second ruleset, of the profile's lists. Rulesets add up as
// refusals do: no list gives back what the first one takes.
func (b *builder) narrow() error {
	set, rules := Step{Kind: NarrowCreate}, []Step(nil)
	writes := false
	for _, n := range pathNarrowings(&b.spec.Landlock) {
		on, err := n.said(b.facts.LandlockABI)
		if err != nil {
			return err
		}
		if !on {
			continue
		}
		set.Bits |= n.handles | unix.LANDLOCK_ACCESS_FS_REFER
		writes = writes || n.name == "write"
		for _, p := range n.list {
			rules = append(rules, Step{Kind: NarrowPath, Name: n.name, Target: p, Bits: n.allows})
		}
	}
	for i := range rules {
		rules[i].Bits &= set.Bits // a rule may name no right that is not handled
	}
	if set.Bits != 0 && !writes {
		rules = append(rules, Step{Kind: NarrowPath, Name: "move in", Target: "/", Bits: unix.LANDLOCK_ACCESS_FS_REFER})
	}
	for _, n := range portNarrowings(&b.spec.Landlock) {
		on, err := n.said(b.facts.LandlockABI)
		if err != nil {
			return err
		}
		if !on {
			continue
		}
		set.Ports |= n.handles
		for _, p := range n.list {
			rules = append(rules, Step{Kind: NarrowPort, Name: n.name, Port: p, Bits: n.allows})
		}
	}
	if set.Bits|set.Ports == 0 {
		return nil
	}
	b.plan.LandlockABI = b.facts.LandlockABI
	b.add(set)
	for _, r := range rules {
		b.add(r)
	}
	b.add(Step{Kind: NarrowSelf})
	return nil
}
