package main

import (
	"net/netip"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"hutch/profiles"
	"hutch/runner"
	"hutch/runner/host"
	"hutch/runner/plan"
	"hutch/seccomp"
)

// A narrowed is one list of landlock that is learned.
type narrowed struct {
	key   string
	paths *[]string
	ports *[]uint16
	// most entries of one directory are kept apart; more are folded into it.
	most int
	// above stands over the list in what is written.
	above string
}

// narrowedBy lists them. To add one: a row; key is also the Kind of a Use.
// Programs are folded late, for a directory of them is many.
func narrowedBy(l *profiles.Landlock) []narrowed {
	return []narrowed{
		{"read", &l.Read, nil, 3, "Files that were read, folded into directories where they were many."},
		{"list", &l.List, nil, 3, "Directories whose names were read."},
		{"write", &l.Write, nil, 3, "What was written, and the directories in which something was made."},
		{"execute", &l.Execute, nil, 16, "Programs, the interpreters of scripts, and the loaders of programs."},
		{"connect", nil, &l.Connect, 0, "TCP ports, of any host: Landlock does not see hosts, nor other protocols."},
		{"bind", nil, &l.Bind, 0, "TCP ports; 0 is one that the kernel chooses."},
	}
}

// narrowTo fills the lists with what was used, and returns what is to be known
// of the lists that are left out.
func narrowTo(l *profiles.Landlock, used []runner.Use) (notes []string) {
	abi := host.LandlockABI()
	for _, n := range narrowedBy(l) {
		if least := plan.NarrowABI(n.key); abi < least {
			notes = append(notes, "This kernel's Landlock cannot enforce landlock."+n.key+"; the key is left out.")
			continue
		}
		names := []string{}
		for _, u := range used {
			if u.Kind == n.key {
				names = append(names, u.Name)
			}
		}
		if n.paths != nil {
			*n.paths = foldPaths(names, n.most)
		} else {
			*n.ports = ports(names)
		}
	}
	if slices.Contains(l.Bind, 0) && slices.ContainsFunc(l.Connect, chosenByKernel) {
		l.Connect = nil
		notes = append(notes, "It connects to a port that the kernel chose for it, another at each run, so landlock.connect is left out.")
	}
	l.List = slices.DeleteFunc(l.List, func(p string) bool { return slices.ContainsFunc(l.Read, func(r string) bool { return under(p, r) }) })
	return notes
}

// foldPaths folds more and more until it is a list that a start can bear.
func foldPaths(names []string, most int) []string {
	const enough = 512
	for i := range names {
		for !utf8.ValidString(names[i]) { // TOML has no other: its directory stands for it
			names[i] = path.Dir(names[i])
		}
	}
	list := seccomp.Fold(names, most)
	for ; len(list) > enough && most > 0; most-- {
		list = seccomp.Fold(list, most-1)
	}
	if list == nil {
		list = []string{} // nothing, which is not the same as not said
	}
	return list
}

// ports are those of the addresses that Landlock sees.
func ports(names []string) []uint16 {
	list := []uint16{}
	for _, name := range names {
		if to, err := netip.ParseAddrPort(name); err == nil {
			list = append(list, to.Port())
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// chosenByKernel says whether a port is of those that are given out, see
// ip_local_port_range in ip(7); a box has a network with the kernel's own range.
func chosenByKernel(port uint16) bool { return port >= 32768 && port <= 60999 }

// under says whether a path is a directory or below it.
func under(name, dir string) bool {
	return name == dir || dir == "/" || strings.HasPrefix(name, dir+"/")
}

// mergeNarrowed adds what an earlier run used; what that did not narrow is not
// narrowed now either.
func mergeNarrowed(l, old *profiles.Landlock) {
	before := narrowedBy(old)
	for i, n := range narrowedBy(l) {
		switch o := before[i]; {
		case n.paths != nil && (*n.paths == nil || *o.paths == nil):
			*n.paths = nil
		case n.paths != nil:
			*n.paths = foldPaths(slices.Concat(*n.paths, *o.paths), n.most)
		case *n.ports == nil || *o.ports == nil:
			*n.ports = nil
		default:
			*n.ports = append(*n.ports, *o.ports...) // not Concat, which makes of nothing what is not said
			slices.Sort(*n.ports)
			*n.ports = slices.Compact(*n.ports)
		}
	}
}
