package plan

import "golang.org/x/sys/unix"

// Helper is the plan of a process of hutch's own that has the ids of a box and
// nothing else of one: it is root over the files that the box has left, and
// nobody over all others. words are its arguments.
func Helper(f Facts, words, env []string) *Plan {
	b := &builder{facts: f, plan: &Plan{Clone: unix.CLONE_NEWUSER}}
	b.para, b.by = Outside, Box
	b.add(Step{Kind: DieWithParent})
	b.add(Step{Kind: CheckParent})
	b.by = Hutch
	b.add(Step{Kind: MapIDs, Data: "uid", IDs: f.UIDs})
	b.add(Step{Kind: MapIDs, Data: "gid", IDs: f.GIDs})
	b.by = Box
	b.add(Step{Kind: AwaitHutch})
	b.add(Step{Kind: OwnFiles})
	if f.Privileged {
		b.add(Step{Kind: Become, UID: 0, GID: 0})
		// Cleared by the change of user, prctl(2).
		b.add(Step{Kind: DieWithParent})
		b.add(Step{Kind: CheckParent})
	}
	b.para = Surrender
	b.add(Step{Kind: Umask, Mode: 0o077})
	b.add(Step{Kind: Stdio})
	b.add(Step{Kind: CloseFiles})
	b.add(Step{Kind: ResetSignals})
	b.add(Step{Kind: Execute, Source: "/proc/self/exe", Words: append([]string{"hutch"}, words...), Env: env})
	return b.plan
}
