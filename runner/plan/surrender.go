package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// surrender gives up, in the only order that works: each line needs what the
// lines below it take away.
func (b *builder) surrender() error {
	b.para, b.by = Surrender, Box
	caps, err := b.capabilities()
	if err != nil {
		return err
	}
	if b.spec.Init {
		// The first process becomes the reaper while the application's is made
		// ready; nobody may look at the memory that they share with hutch.
		b.add(Step{Kind: Undumpable})
		b.add(Step{Kind: StartApp})
		b.by = Application
		if b.spec.Terminal == nil {
			// A session of its own: no terminal of the caller's to push input into
			// (CVE-2017-5226).
			b.add(Step{Kind: NewSession})
		} else {
			// In the session of the box's own terminal, as the job in the foreground.
			b.add(Step{Kind: OwnGroup})
		}
	}
	b.by = Application
	// Until here hutch has made the groups, beside the box. With all rights still:
	// they are to be the root of what the application sees, cgroup_namespaces(7).
	b.add(Step{Kind: JoinLimits})
	b.add(Step{Kind: Unshare, Bits: unix.CLONE_NEWCGROUP})
	b.rlimits()
	// The bounding set goes first: lowering it needs CAP_SETPCAP.
	b.add(Step{Kind: DropBounding, Bits: b.allCaps() &^ caps})
	if b.facts.SetGroups {
		b.add(Step{Kind: SetGroups, Groups: b.facts.Groups})
	}
	// The group before the user, who could no longer change it.
	b.add(Step{Kind: SetIDs, UID: b.facts.UID, GID: b.facts.GID})
	if !b.spec.Init {
		// The change of user has cleared the request, and no reaper repeats it.
		b.add(Step{Kind: DieWithParent})
		b.add(Step{Kind: CheckParent})
	}
	// What everything expects; until here it was 0.
	b.add(Step{Kind: Umask, Mode: 0o022})
	b.add(Step{Kind: Workdir, Target: b.spec.Workdir})
	stdio := Step{Kind: Stdio}
	if b.spec.Terminal != nil {
		stdio.Name = "terminal"
	}
	b.add(stdio)
	b.add(Step{Kind: NoNewPrivs})
	if err := b.landlock(); err != nil {
		return err
	}
	if err := b.narrow(); err != nil {
		return err
	}
	b.add(Step{Kind: SetCaps, Bits: b.permitted(caps)})
	// Closed, not marked: execve itself could be led through /proc/self/fd to a
	// directory of the host (CVE-2024-21626).
	closing := Step{Kind: CloseFiles}
	if b.spec.Explain != "" {
		closing.Name = "listener" // the socket to send it through stays open until execve
	}
	b.add(closing)
	// The steps above need more descriptors than the application may want.
	if n := b.spec.Limits.OpenFiles; n > 0 {
		b.add(Step{Kind: Rlimit, Data: "open files", Bits: rlimitNofile, Size: n})
	}
	b.add(Step{Kind: ResetSignals})
	if b.spec.Init {
		// Nothing foreign runs while process 1 still has hutch's memory and shows
		// hutch's command line.
		b.add(Step{Kind: AwaitReaper})
	}
	// Last, so that the filter need not allow anything above.
	if len(b.spec.Seccomp.Filter) > 0 {
		b.add(Step{Kind: InstallSeccomp, Name: closing.Name, Data: b.spec.Seccomp.Name, Bytes: b.spec.Seccomp.Filter})
	}
	b.add(Step{Kind: Execute, Words: b.spec.Command, Env: b.env()})
	if b.spec.Init {
		b.by = Reaper
		b.add(Step{Kind: NoNewPrivs})
		// It passes signals on, also to an application of another user.
		b.add(Step{Kind: SetCaps, Bits: 1 << unix.CAP_KILL})
		files := Step{Kind: ReaperFiles}
		if b.spec.Root.Keep != "" {
			// If hutch is killed, nobody else may write there while the box dies.
			files.Name = "lock"
		}
		b.add(files)
		reaper := Step{Kind: BecomeReaper}
		if b.spec.Terminal != nil {
			// It tells when the application stops.
			reaper.Words = []string{"terminal"}
		}
		b.add(reaper)
	}
	return nil
}

func (b *builder) allCaps() uint64 { return 1<<(b.facts.LastCap+1) - 1 }

func (b *builder) capabilities() (uint64, error) {
	var bits uint64
	for _, name := range b.spec.Capabilities {
		n, ok := runner.CapabilityNumber(name)
		if !ok || n > b.facts.LastCap {
			return 0, &runner.Error{
				Stage: runner.StageStart, Step: fmt.Sprintf("capability %s is not one that this kernel has", name),
				Hint: "leave it out of the profile's capabilities",
			}
		}
		bits |= 1 << n
	}
	return bits, nil
}

// permitted is what root keeps. Another user keeps nothing: no_new_privs lets
// nothing back in, and the bounding set is only a cap.
func (b *builder) permitted(caps uint64) uint64 {
	if b.facts.UID != 0 {
		return 0
	}
	return caps
}

// The resources that limits use, getrlimit(2).
const (
	rlimitCPU    = 0
	rlimitFsize  = 1
	rlimitCore   = 4
	rlimitNofile = 7
)

func (b *builder) rlimits() {
	l := b.spec.Limits
	add := func(name string, resource uint64, value int64) {
		b.add(Step{Kind: Rlimit, Data: name, Bits: resource, Size: value})
	}
	if l.CoreSizeBytes != nil {
		add("core size", rlimitCore, *l.CoreSizeBytes)
	}
	if l.CPUTime > 0 {
		// Of each process by itself, in whole seconds: what is left of the limit
		// where no control group counts them all, and beside one a limit that
		// holds while hutch sleeps. First a signal that says why; who is deaf to it
		// is killed a second later.
		n := int64((l.CPUTime + time.Second - 1) / time.Second)
		b.add(Step{Kind: Rlimit, Data: "CPU seconds", Bits: rlimitCPU, Size: n, Hard: n + 1})
	}
	if l.FileSizeBytes > 0 {
		add("file size", rlimitFsize, l.FileSizeBytes)
	}
}

// env adds the home directory, which is only known inside the root.
func (b *builder) env() []string {
	for _, e := range b.spec.Env {
		if strings.HasPrefix(e, "HOME=") {
			return b.spec.Env
		}
	}
	return append(slices.Clone(b.spec.Env), "HOME="+b.facts.Home)
}
