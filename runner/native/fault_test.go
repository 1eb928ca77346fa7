package native

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"hutch/runner"
	"hutch/runner/cgroup"
	"hutch/runner/host"
	"hutch/runner/plan"
)

// startChanged is Start with its plan or its program changed on the way. The
// box is cleaned up where it could not be started.
func startChanged(s *runner.Spec, plans func(*plan.Plan), ops func(*encoder)) (*box, error) {
	return startChangedOn(s, nil, plans, ops)
}

// startChangedOn is startChanged with an output.
func startChangedOn(s *runner.Spec, out *os.File, plans func(*plan.Plan), ops func(*encoder)) (*box, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	if out == nil {
		out = null
	}
	ids, err := mapIDs(s)
	if err != nil {
		return nil, err
	}
	facts, err := gather(s, ids)
	if err != nil {
		return nil, err
	}
	p, err := plan.Build(s, facts)
	if err != nil {
		return nil, err
	}
	if plans != nil {
		plans(p)
	}
	b := &box{spec: s, plan: p, ids: ids, facts: &facts, pidfd: -1, status: -1, upper: -1, image: -1, copies: -1, tree: -1, kept: -1, groups: New().groups(s)}
	b.fill = func(*os.File, Owner) error { return nil }
	defer func() {
		if err != nil {
			b.cleanup()
		}
	}()
	f := files{stdio: [3]int{int(null.Fd()), int(out.Fd()), int(out.Fd())}}
	if err = b.open(&f); err != nil {
		return b, err
	}
	if err = b.limit(); err != nil {
		return b, err
	}
	f.groups = b.entered()
	if b.enc, err = encode(p, f, nil, false); err != nil {
		return b, err
	}
	defer b.enc.mem.free()
	if ops != nil {
		ops(b.enc)
	}
	err = b.launch(New())
	return b, err
}

// drop leaves out the steps of some kinds.
func drop(steps []plan.Step, kinds ...plan.Kind) []plan.Step {
	return slices.DeleteFunc(slices.Clone(steps), func(s plan.Step) bool { return slices.Contains(kinds, s.Kind) })
}

// faultSpecs have between them steps of every kind.
func faultSpecs(t *testing.T) map[string]*runner.Spec {
	source := tempDir(t)
	write(t, source+"/file", "x")
	root := newSpec(t, "exit", "0")
	one := int64(0)
	root.Limits.CoreSizeBytes, root.Limits.OpenFiles = &one, 1024
	root.Hidden, root.Protected = []string{"/proc/keys", "/proc/scsi", "/etc"}, []string{"/proc/sys"}
	root.Mounts = []runner.Mount{
		{Type: runner.MountBind, Source: source, Target: "/data", ReadOnly: true},
		{Type: runner.MountBind, Source: source + "/file", Target: "/data2/file"},
		{Type: runner.MountTmpfs, Target: "/scratch/a", Size: 1 << 20},
	}
	host := newSpec(t)
	host.Root.Kind, host.Root.Lowers, host.Command = runner.RootHost, nil, []string{"/bin/true"}
	host.Capabilities = nil
	bare := newSpec(t, "exit", "0")
	bare.Init, bare.Root.ReadOnly, bare.IDMap = false, true, runner.IDMapSingle
	keep := newSpec(t, "exit", "0")
	keep.Root.Keep, keep.Root.Diff = tempDir(t), true
	tty := newSpec(t, "exit", "0")
	tty.Terminal = &runner.Size{Rows: 24, Columns: 80}
	copies := newSpec(t, "exit", "0")
	copies.CopyIn, copies.CopyOut = []runner.Copy{{Source: "/x", Target: "/y"}}, []runner.Copy{{Source: "/y", Target: "/z"}}
	narrow := newSpec(t, "exit", "0")
	narrow.Landlock.Read, narrow.Landlock.Execute = []string{"/etc", "/etc/passwd", "/proc"}, []string{"/bin/probe"}
	narrow.Landlock.Write, narrow.Landlock.Bind = []string{}, []uint16{80}
	list := map[string]*runner.Spec{"narrow": narrow, "layers": root, "host": host, "no init": bare, "keep": keep, "terminal": tty, "copies": copies}
	if isRoot() {
		image := newSpec(t, "exit", "0")
		image.Root.Keep = keepImage(t)
		list["image"] = image
		layer := newSpec(t, "exit", "0")
		layer.Root.Lowers = []string{layerImage(t, probeRoot)}
		list["layer image"] = layer
	}
	return list
}

// Every system call of the way into a box fails in turn. Each time the error
// names the step, and nothing is left behind.
func TestEveryCallFails(t *testing.T) {
	const noSuchCall = 100000
	for name, s := range faultSpecs(t) {
		t.Run(name, func(t *testing.T) {
			b, err := startChanged(s, nil, nil)
			if err != nil {
				t.Fatalf("unchanged: %v", err)
			}
			if r, err := ended(b); err != nil || r.ExitCode == nil || *r.ExitCode != 0 {
				t.Fatalf("unchanged: %v %v", r, err)
			}
			planOf(t, s) // looks into layers, and what it mounts for that waits for the next box
			before := takeTrace(t)
			failed, faults := 0, 0
			for program := 0; ; program++ {
				reached := false
				for i := 0; ; i++ {
					var step plan.Step
					there, skipped, name := false, false, ""
					b, err := startChanged(s, nil, func(e *encoder) {
						list := programs(e)
						if reached = program < len(list); !reached {
							return
						}
						ops := list[program].ops
						if there = i < len(ops); !there {
							return
						}
						o := &ops[i]
						step = planOf(t, s).Steps[o.step]
						skipped = mayBeSkipped(ops, i)
						name = fmt.Sprintf("%s: program %d, call %d (%d)", step, program, i, o.nr)
						if o.start != nil {
							o.start.clone.exitSignal = 1 << 40
							return
						}
						o.nr, o.allow, o.skip = noSuchCall, [3]uint16{}, 0
					})
					if !there {
						if err != nil {
							t.Fatal(err)
						}
						ended(b)
						break
					}
					failed++
					if err == nil {
						ended(b)
						if skipped {
							continue
						}
						t.Fatalf("%s: started all the same", name)
					}
					e := asError(t, err)
					words := step.String()
					if step.Kind == plan.Execute {
						words = "execute " + s.Command[0]
					}
					if !strings.Contains(e.Error(), words) && !(step.Kind == plan.Execute && e.Stage == runner.StageExec) {
						t.Errorf("%s: the error is %q", name, e)
					}
					if e.Hint == "" {
						t.Errorf("%s: no hint", name)
					}
					if before.check(t, name); t.Failed() {
						before = takeTrace(t)
						if faults++; faults > 10 {
							t.FailNow()
						}
					}
				}
				if !reached {
					break
				}
			}
			if failed < 80 {
				t.Errorf("only %d calls", failed)
			}
			t.Logf("%d calls", failed)
		})
	}
}

// So it is with the calls by which the application enters its control groups,
// which only a run with limits makes.
func TestEveryCallIntoGroupsFails(t *testing.T) {
	if have := host.CgroupDelegation(); !have.Have {
		t.Skip("no control group is delegated to this user: " + have.Reason)
	}
	s := newSpec(t, "exit", "0")
	s.Limits.MemoryBytes, s.Limits.Processes = 64<<20, 20
	groups := cgroup.Entered(cgroupLimits(s.Limits), cgroup.Options{CPUTime: true})
	into := func(e *encoder) (calls []*op) {
		for i := range e.app.ops {
			if planOf(t, s).Steps[e.app.ops[i].step].Kind == plan.JoinLimits {
				calls = append(calls, &e.app.ops[i])
			}
		}
		return calls
	}
	before := takeTrace(t)
	for i := 0; ; i++ {
		there, name := false, ""
		b, err := startChanged(s, nil, func(e *encoder) {
			calls := into(e)
			if groups > 0 && len(calls) != 1+groups || groups == 0 && len(calls) != 0 {
				t.Fatalf("%d calls for %d groups", len(calls), groups)
			}
			if there = i < len(calls); there {
				calls[i].nr, name = 100000, fmt.Sprintf("call %d", i)
			}
		})
		if !there {
			if err != nil {
				t.Fatal(err)
			}
			if r, err := ended(b); err != nil || r.ExitCode == nil || *r.ExitCode != 0 {
				t.Errorf("unchanged: %v %v", r, err)
			}
			break
		}
		if err == nil {
			ended(b)
			t.Fatalf("%s: started all the same", name)
		}
		if e := asError(t, err); !strings.Contains(e.Error(), "enter the control groups") || e.Hint == "" {
			t.Errorf("%s: %v, %q", name, e, e.Hint)
		}
		before.check(t, name)
		if b.group != nil {
			for _, dir := range b.group.Paths() {
				if _, err := os.Stat(dir); err == nil {
					t.Errorf("%s: %s is left", name, dir)
				}
			}
		}
	}
}

// ended is Wait, and nothing of what was handed out is kept.
func ended(b *box) (runner.Result, error) {
	r, err := b.Wait()
	if upper := b.Upper(); upper != nil {
		upper.Close()
	}
	if tree := b.Tree(); tree != nil {
		tree.Close()
	}
	return r, err
}

// programs is every program of a start.
func programs(e *encoder) []*program {
	list := []*program{&e.hutch, &e.box}
	for i := 0; i < len(list); i++ {
		for _, o := range list[i].ops {
			if o.start != nil {
				list = append(list, o.start)
			}
		}
	}
	return list
}

// mayBeSkipped says that a call before ops[i] leaves it out where something is
// not there.
func mayBeSkipped(ops []op, i int) bool {
	for j := max(0, i-3); j < i; j++ {
		if ops[j].skip > 0 && j+int(ops[j].skip) >= i {
			return true
		}
	}
	return false
}

func planOf(t *testing.T, s *runner.Spec) *plan.Plan {
	t.Helper()
	p, err := New().Plan(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A kernel that knows no step is no kernel that hutch may run on: every kind
// of step has an encoding and words of its own.
func TestEveryKindIsEncoded(t *testing.T) {
	seen := map[plan.Kind]bool{}
	for _, s := range faultSpecs(t) {
		p := planOf(t, s)
		e, err := encode(p, files{}, nil, true)
		if err != nil {
			t.Fatal(err)
		}
		e.mem.free()
		for _, step := range p.Steps {
			seen[step.Kind] = true
			if text := step.String(); text == string(step.Kind) || text == "" {
				t.Errorf("%s has no words", step.Kind)
			}
		}
	}
	for _, k := range kinds {
		if !seen[k] && (isRoot() || k != plan.Become && k != plan.SetGroups && k != plan.TakeImage) {
			t.Errorf("no test plan has %s", k)
		}
	}
}

// kinds is every kind of step, in the order of package plan.
var kinds = []plan.Kind{
	plan.DieWithParent, plan.CheckParent, plan.NewSession, plan.NewKeyring, plan.Unshare, plan.MapIDs,
	plan.TakeTree, plan.AwaitHutch, plan.OwnFiles, plan.Umask, plan.Become, plan.PrivateMounts,
	plan.TakeProc, plan.TakeTmpfs, plan.TakeDevpts,
	plan.OpenTerminal, plan.HandTerminal, plan.OwnTerminal, plan.OwnGroup, plan.TakeScratch, plan.Stage, plan.HandOver, plan.StageDir,
	plan.StageLayer, plan.TakeImage, plan.KeepDirs, plan.MountOverlay, plan.MountRoot, plan.Pivot, plan.DetachHost, plan.OpenRoot,
	plan.MakeDir, plan.MakeFile, plan.MakeLink, plan.Place, plan.PlaceDevice, plan.Mask, plan.Protect,
	plan.WriteProc, plan.Hostname, plan.LoopbackUp, plan.HandRoot, plan.AwaitCopies, plan.ReadOnlyRoot, plan.Undumpable, plan.StartApp,
	plan.Rlimit, plan.DropBounding, plan.SetGroups, plan.SetIDs, plan.SetCaps, plan.Workdir, plan.Stdio,
	plan.NoNewPrivs, plan.LandlockCreate, plan.LandlockAllow, plan.LandlockSelf,
	plan.NarrowCreate, plan.NarrowPath, plan.NarrowPort, plan.NarrowSelf, plan.CloseFiles, plan.JoinLimits,
	plan.ResetSignals, plan.InstallSeccomp, plan.Execute, plan.ReaperFiles, plan.BecomeReaper,
}
