package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"hutch/runner"
)

// orders lists which kinds come before which, wherever a plan has both: the
// last of the first before the first of the second.
// To add an order: a row, with its reason.
var orders = []struct{ a, b Kind }{
	{MapIDs, AwaitHutch},            // nothing below works without ids
	{JoinLimits, SetIDs},            // as who may
	{JoinLimits, CloseFiles},        // through descriptors
	{OwnFiles, OpenTerminal},        // the terminal is in the box's own table only
	{OpenTerminal, HandTerminal},    //
	{OwnTerminal, StartApp},         // the application is a job of its session
	{OwnGroup, SetIDs},              //
	{OpenTerminal, Stdio},           //
	{OwnFiles, Stage},               // what the box opens is not in hutch's table
	{TakeImage, Pivot},              //
	{KeepDirs, MountOverlay},        // its upper and work directories
	{PrivateMounts, Stage},          // no mount may reach the host
	{Stage, HandOver},               // while it is the working directory
	{HandOver, MountOverlay},        // the image has no say in it
	{TakeProc, DetachHost},          // granted only while the host's is in sight
	{TakeTree, Pivot},               // sources are paths of the host
	{TakeTmpfs, Pivot},              //
	{Pivot, DetachHost},             //
	{DetachHost, OpenRoot},          // the root is opened when nothing else is there
	{OpenRoot, Place},               // all is looked up below it
	{Place, Mask},                   // a mask covers what was placed
	{Place, Protect},                //
	{Protect, Mask},                 // a mask below a protected path stays a mask
	{WriteProc, Protect},            // /proc/sys is still open
	{Mask, HandRoot},                // what is hidden stays so
	{HandRoot, AwaitCopies},         //
	{AwaitCopies, ReadOnlyRoot},     // what is copied in may be read-only
	{AwaitCopies, StartApp},         // all of it is there at the first instruction
	{Place, ReadOnlyRoot},           // mount points are made before
	{ReadOnlyRoot, StartApp},        //
	{Undumpable, StartApp},          // the application shares hutch's memory until it executes
	{DropBounding, SetIDs},          // lowering the bounding set needs CAP_SETPCAP
	{SetGroups, SetIDs},             // a user could no longer change them
	{SetIDs, SetCaps},               // the change of user clears and needs them
	{SetIDs, Workdir},               // entered with the application's own rights
	{Workdir, CloseFiles},           // needs the root's descriptor
	{Stdio, CloseFiles},             //
	{LandlockCreate, LandlockAllow}, //
	{LandlockAllow, LandlockSelf},   //
	{LandlockSelf, NarrowCreate},    // layers add up; what is narrowed was wide
	{NarrowCreate, NarrowPath},      //
	{NarrowCreate, NarrowPort},      //
	{NarrowPath, NarrowSelf},        //
	{NarrowPort, NarrowSelf},        //
	{NarrowSelf, CloseFiles},        // the ruleset is a descriptor
	{NarrowSelf, InstallSeccomp},    // the filter need not allow landlock
	{LandlockSelf, CloseFiles},      // the ruleset is a descriptor
	{SetCaps, CloseFiles},           //
	{CloseFiles, Execute},           // execve could be led through one
	{ResetSignals, Execute},         //
	{LandlockSelf, InstallSeccomp},  // the filter need not allow landlock
	{CloseFiles, InstallSeccomp},    //
	{SetIDs, InstallSeccomp},        //
	{ReaperFiles, BecomeReaper},     //
}

func first(p *Plan, k Kind) int {
	return slices.IndexFunc(p.Steps, func(s Step) bool { return s.Kind == k })
}

func last(p *Plan, k Kind) int {
	for i := len(p.Steps) - 1; i >= 0; i-- {
		if p.Steps[i].Kind == k {
			return i
		}
	}
	return -1
}

func invariants(t *testing.T, s *runner.Spec, f Facts, p *Plan) {
	t.Helper()
	for _, v := range violations(s, f, p) {
		t.Error(v)
	}
}

// violations is what is wrong with the order of p.
func violations(s *runner.Spec, f Facts, p *Plan) []string {
	var out []string
	bad := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	// What the processes of a box do is a sequence each; an order is about one
	// of them.
	for _, who := range []Actor{Application, Reaper} {
		q := &Plan{Steps: slices.DeleteFunc(slices.Clone(p.Steps), func(s Step) bool {
			return s.By != Hutch && s.By != Box && s.By != who
		})}
		for _, o := range orders {
			if i, j := last(q, o.a), first(q, o.b); i >= 0 && j >= 0 && i > j {
				bad("%s: %s (%d) after %s (%d)", who, o.a, i, o.b, j)
			}
		}
	}
	out = append(out, applicationViolations(s, f, p)...)
	out = append(out, deathViolations(f, p)...)
	paragraphs := []Paragraph{Outside, Crossing, Inside, Surrender}
	at := 0
	for i, step := range p.Steps {
		n := slices.Index(paragraphs, step.Paragraph)
		if n < at {
			bad("step %d, %s, goes back to paragraph %s", i, step, step.Paragraph)
		}
		at = n
		// A host path is named only while the host is there. Scratch
		// directories are names in the box's own file system.
		if step.Source != "" && step.Kind != TakeScratch && (step.Paragraph != Outside || i > first(p, Pivot)) {
			bad("step %d, %s, names the host's %s", i, step, step.Source)
		}
		if step.Kind == Place && !slices.ContainsFunc(p.Steps[:i], func(t Step) bool { return taken(t) == step.Name }) {
			bad("step %d places %s, which nothing took", i, step.Name)
		}
		if (step.By == Hutch) != (step.Paragraph == Outside && (step.Kind == MapIDs || step.Kind == TakeImage || step.Kind == TakeTree && f.Privileged)) {
			bad("step %d, %s, is %s's", i, step, step.By)
		}
		if own := step.Target == "/proc" || step.Target == "/dev" || strings.HasPrefix(step.Target, "/dev/"); step.Kind == Place && own && step.Data != "no-symlinks" {
			bad("step %d, %s, follows symbolic links", i, step)
		}
	}
	return out
}

// deathViolations is about the first process's end with hutch: a change of
// user clears the request, prctl(2), and a check closes the gap before it.
func deathViolations(f Facts, p *Plan) []string {
	var out []string
	asked, uid := false, uint32(0)
	if !f.Privileged {
		uid = f.UIDs[0].Inside // the caller, who is only called otherwise inside
	}
	for i, step := range p.Steps {
		switch {
		case step.By != Box && step.By != Application:
			// Others end with the first process.
		case step.Kind == DieWithParent:
			asked = true
			if i+1 == len(p.Steps) || p.Steps[i+1].Kind != CheckParent {
				out = append(out, fmt.Sprintf("step %d, %s, is not checked", i, step))
			}
		case step.Kind == StartApp:
			return append(out, notAsked(asked)...)
		case step.Kind == Become, step.Kind == SetIDs && step.UID != uid:
			asked = false
		}
	}
	return append(out, notAsked(asked)...)
}

func notAsked(asked bool) []string {
	if asked {
		return nil
	}
	return []string{"the first process outlives hutch: its last change of user comes after its request to die with it"}
}

func taken(s Step) string {
	switch s.Kind {
	case TakeTree, TakeProc, TakeTmpfs, TakeDevpts, TakeScratch:
		return s.Name
	}
	return ""
}

// applicationViolations is about what the application is left with.
func applicationViolations(s *runner.Spec, f Facts, p *Plan) []string {
	var out []string
	bad := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	var app []Step
	for _, step := range p.Steps {
		if step.By == Application {
			app = append(app, step)
		}
	}
	kinds := make([]Kind, len(app))
	for i, step := range app {
		kinds[i] = step.Kind
	}
	at := func(k Kind) int { return slices.Index(kinds, k) }
	n := len(app)
	if n < 2 || app[n-1].Kind != Execute || at(Execute) != n-1 {
		bad("the application does not end by executing")
		return out
	}
	if len(s.Seccomp.Filter) > 0 && app[n-2].Kind != InstallSeccomp {
		bad("%s stands between the filter and execve", app[n-2])
	}
	if nnp := at(NoNewPrivs); nnp < 0 || at(InstallSeccomp) >= 0 && nnp > at(InstallSeccomp) || at(LandlockCreate) >= 0 && nnp > at(LandlockCreate) {
		bad("no_new_privs stands at %d, the filter at %d, landlock at %d", nnp, at(InstallSeccomp), at(LandlockCreate))
	}
	for _, k := range []Kind{DropBounding, SetIDs, SetCaps, Workdir, Stdio, NoNewPrivs, CloseFiles, ResetSignals} {
		if at(k) < 0 {
			bad("the application has no step %s", k)
		}
	}
	bounding, kept := uint64(0), uint64(0)
	for _, step := range app {
		switch step.Kind {
		case DropBounding:
			bounding = step.Bits
		case SetCaps:
			kept = step.Bits
		case SetIDs:
			if step.UID != f.UID || step.GID != f.GID {
				bad("the application becomes %d:%d", step.UID, step.GID)
			}
		}
	}
	if all := uint64(1)<<(f.LastCap+1) - 1; kept&bounding != 0 || f.UID != 0 && kept != 0 || bounding&^all != 0 {
		bad("keeps capabilities %#x with %#x dropped", kept, bounding)
	}
	if f.SetGroups != (at(SetGroups) >= 0) {
		bad("set-groups is there: %v, allowed: %v", at(SetGroups) >= 0, f.SetGroups)
	}
	if init := last(p, BecomeReaper) == len(p.Steps)-1; init != s.Init || s.Init && (first(p, Undumpable) < 0 || first(p, Undumpable) > first(p, StartApp)) {
		bad("the reaper is there: %v, wanted: %v", init, s.Init)
	}
	return out
}
