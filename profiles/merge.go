package profiles

import (
	"slices"
	"strings"

	"hutch/seccomp"
)

// merge lays a profile over those it extends, which are merged already. What
// is nearer wins: the profile over its parents, a parent over its own; of
// several parents, the one that is named last. In seccomp the rules keep their
// distance, and at the same distance a denial beats an allowance. p is changed
// and returned; the parents are not, and share no memory with it.
func merge(p *Profile, parents []*Profile) *Profile {
	for _, q := range slices.Backward(parents) {
		inherit(&p.Description, q.Description)
		p.Warnings = append(p.Warnings, q.Warnings...)
		mergeProcess(&p.Process, &q.Process)
		inherit(&p.Namespaces.IDMap, q.Namespaces.IDMap)
		mergeFilesystem(&p.Filesystem, &q.Filesystem)
		mergeLimits(&p.Limits, &q.Limits)
		mergeCapabilities(&p.Capabilities, &q.Capabilities)
		inherit(&p.Network.Mode, q.Network.Mode)
		inheritPointer(&p.Landlock.Filesystem, q.Landlock.Filesystem)
		inheritPointer(&p.Landlock.Scopes, q.Landlock.Scopes)
		inheritList(&p.Landlock.Read, q.Landlock.Read)
		inheritList(&p.Landlock.List, q.Landlock.List)
		inheritList(&p.Landlock.Write, q.Landlock.Write)
		inheritList(&p.Landlock.Execute, q.Landlock.Execute)
		inheritList(&p.Landlock.Connect, q.Landlock.Connect)
		inheritList(&p.Landlock.Bind, q.Landlock.Bind)
	}
	p.Seccomp = mergePolicies(p.Seccomp, parents)
	return p
}

// inherit sets what has not been said.
func inherit[T comparable](near *T, far T) {
	var unsaid T
	if *near == unsaid {
		*near = far
	}
}

// inheritPointer is inherit for a value that can be said to be zero.
func inheritPointer[T any](near **T, far *T) {
	if *near == nil && far != nil {
		v := *far
		*near = &v
	}
}

func inheritList[T any](near *[]T, far []T) {
	if *near == nil {
		*near = slices.Clone(far)
	}
}

func mergeProcess(near, far *Process) {
	inherit(&near.User, far.User)
	inherit(&near.Workdir, far.Workdir)
	inherit(&near.StopSignal, far.StopSignal)
	inherit(&near.Hostname, far.Hostname)
	inheritPointer(&near.Init, far.Init)
	for key, value := range far.Env {
		if _, said := near.Env[key]; said {
			continue
		}
		if near.Env == nil {
			near.Env = make(map[string]string, len(far.Env))
		}
		near.Env[key] = value
	}
}

func mergeFilesystem(near, far *Filesystem) {
	inheritPointer(&near.ReadOnly, far.ReadOnly)
	inherit(&near.Disk, far.Disk)
	inherit(&near.Inodes, far.Inodes)
	near.Bind = mergeMounts(near.Bind, far.Bind, 1)
	near.Tmpfs = mergeMounts(near.Tmpfs, far.Tmpfs, 0)
	near.Hidden = union(far.Hidden, near.Hidden)
	near.Protected = union(far.Protected, near.Protected)
}

// mergeMounts puts the farther mounts first, without those whose destination,
// the word at index when split at colons, a nearer one takes.
func mergeMounts(near, far []string, index int) []string {
	destination := func(m string) string {
		words := strings.Split(m, ":")
		return words[min(index, len(words)-1)]
	}
	var out []string
	for _, m := range far {
		taken := func(n string) bool { return destination(n) == destination(m) }
		if !slices.ContainsFunc(near, taken) {
			out = append(out, m)
		}
	}
	return append(out, near...)
}

// union returns a, and what b has besides.
func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func mergeLimits(near, far *Limits) {
	inherit(&near.Memory, far.Memory)
	inheritPointer(&near.Swap, far.Swap)
	inherit(&near.CPUs, far.CPUs)
	inherit(&near.CPUWeight, far.CPUWeight)
	inherit(&near.CPUSet, far.CPUSet)
	inherit(&near.Processes, far.Processes)
	inherit(&near.OpenFiles, far.OpenFiles)
	inherit(&near.FileSize, far.FileSize)
	inheritPointer(&near.CoreSize, far.CoreSize)
	inherit(&near.Timeout, far.Timeout)
	inherit(&near.Grace, far.Grace)
	inherit(&near.CPUTime, far.CPUTime)
	inherit(&near.Output, far.Output)
	inheritList(&near.IORead, far.IORead)
	inheritList(&near.IOWrite, far.IOWrite)
	inheritList(&near.IOReadOps, far.IOReadOps)
	inheritList(&near.IOWriteOps, far.IOWriteOps)
}

// mergeCapabilities takes the farther words over unless the nearer profile
// gives the whole list; a capability that is nearer dropped is not added by a
// farther one, and the other way round.
func mergeCapabilities(near, far *Capabilities) {
	if near.Keep != nil {
		return
	}
	near.Keep = slices.Clone(far.Keep)
	add, drop := without(far.Add, near.Drop), without(far.Drop, near.Add)
	near.Add, near.Drop = union(add, near.Add), union(drop, near.Drop)
}

// without returns the capabilities of list that other does not name; CAP_X and
// x are the same.
func without(list, other []string) []string {
	bare := func(s string) string { return strings.TrimPrefix(strings.ToUpper(s), "CAP_") }
	var out []string
	for _, c := range list {
		same := func(s string) bool { return bare(s) == bare(c) }
		if !slices.ContainsFunc(other, same) {
			out = append(out, c)
		}
	}
	return out
}

// mergePolicies returns one policy that answers as the nearer one does and,
// where that says nothing, as the parents do. Lists become rules, so that they
// have a rank.
func mergePolicies(near *seccomp.Policy, parents []*Profile) *seccomp.Policy {
	var far []*seccomp.Policy
	for _, q := range parents {
		if q.Seccomp != nil {
			far = append(far, q.Seccomp)
		}
	}
	switch {
	case len(far) == 0:
		return near
	case near == nil && len(far) == 1:
		return far[0].Clone()
	case near == nil:
		near = &seccomp.Policy{}
	}
	out := near.Clone()
	out.Allow, out.Deny = nil, nil
	for _, q := range slices.Backward(far) {
		inherit(&out.Default, q.Default)
		inherit(&out.Errno, q.Errno)
		inherit(&out.Newer, q.Newer)
		inheritList(&out.Architectures, q.Architectures)
	}
	out.Rules = ranked(near, 0, out.Errno)
	for _, q := range far {
		for _, r := range ranked(q, 1, q.Errno) {
			if !slices.ContainsFunc(out.Rules, func(o seccomp.Rule) bool { return sameRule(o, r) }) {
				out.Rules = append(out.Rules, r)
			}
		}
	}
	return out
}

// ranked returns all that a policy says as rules, farther away by distance. A
// rule that leans on the errno of its policy names it, for the merged policy
// may have another.
func ranked(p *seccomp.Policy, distance int, errno string) []seccomp.Rule {
	inherit(&errno, "EPERM")
	var rules []seccomp.Rule
	if len(p.Allow) > 0 {
		rules = append(rules, seccomp.Rule{Calls: slices.Clone(p.Allow), Action: "allow"})
	}
	if len(p.Deny) > 0 {
		rules = append(rules, seccomp.Rule{Calls: slices.Clone(p.Deny), Action: "errno"})
	}
	rules = append(rules, p.Clone().Rules...)
	for i := range rules {
		rules[i].Rank += distance
		if rules[i].Action == "errno" {
			inherit(&rules[i].Errno, errno)
		}
	}
	return rules
}

func sameRule(a, b seccomp.Rule) bool {
	return a.Rank == b.Rank && a.Action == b.Action && a.Errno == b.Errno &&
		slices.Equal(a.Calls, b.Calls) && slices.Equal(a.Args, b.Args)
}
