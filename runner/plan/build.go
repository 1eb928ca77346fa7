package plan

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// Build writes the order. It is pure: the same Spec and Facts give the same
// Plan. What was asked for and cannot be had is an *Error.
func Build(s *runner.Spec, f Facts) (*Plan, error) {
	b := &builder{spec: s, facts: f, plan: &Plan{
		// The user namespace comes first in the kernel too, so that it owns all
		// the others. The mount and PID namespaces must exist from the first
		// instruction; the rest is unshared while hutch maps the ids.
		Clone: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
	}}
	b.outside()
	b.crossing()
	b.inside()
	if err := b.surrender(); err != nil {
		return nil, err
	}
	return b.plan, nil
}

type builder struct {
	spec  *runner.Spec
	facts Facts
	plan  *Plan
	para  Paragraph
	by    Actor
}

func (b *builder) add(s Step) {
	s.Paragraph, s.By = b.para, b.by
	b.plan.Steps = append(b.plan.Steps, s)
}

// outside prepares everything that needs a path of the host.
func (b *builder) outside() {
	b.para, b.by = Outside, Box
	// Before anything can block: if hutch dies now, so does the box. The check
	// closes the gap between clone and the request.
	b.add(Step{Kind: DieWithParent})
	b.add(Step{Kind: CheckParent})
	// Away from the caller's process group, so that a Ctrl-C reaches the
	// application once, through hutch, and from the caller's terminal.
	b.add(Step{Kind: NewSession})
	// While the ids are still the caller's, whose key quota is charged.
	b.add(Step{Kind: NewKeyring})
	// The network namespace costs most; it is made while hutch works, where a
	// processor is free.
	b.add(Step{Kind: Unshare, Bits: b.namespaces()})
	// No mount of the box may ever show on the host.
	b.add(Step{Kind: PrivateMounts})

	b.by = Hutch
	b.add(Step{Kind: MapIDs, Data: "uid", IDs: b.facts.UIDs})
	b.add(Step{Kind: MapIDs, Data: "gid", IDs: b.facts.GIDs})
	if b.facts.Privileged {
		b.trees()
	}

	b.by = Box
	b.add(Step{Kind: AwaitHutch})
	// From here on the table of descriptors is the box's own.
	b.add(Step{Kind: OwnFiles})
	b.add(Step{Kind: Umask})
	if b.facts.Privileged {
		// Ids that the namespace does not map can create no file. This clears
		// the parent-death signal, prctl(2), so that is asked for again.
		b.add(Step{Kind: Become, UID: 0, GID: 0})
		b.add(Step{Kind: DieWithParent})
		b.add(Step{Kind: CheckParent})
	}
	if !b.facts.Privileged {
		b.trees()
	}
	// A fresh proc is only granted while the host's is in sight.
	b.add(Step{Kind: TakeProc, Name: "proc"})
	b.add(Step{Kind: TakeDevpts, Name: "devpts", GID: b.ttyGroup()})
	b.terminal()
	for i, m := range b.spec.Mounts {
		if m.Type == runner.MountTmpfs {
			b.add(Step{Kind: TakeTmpfs, Name: mountName(i), Target: m.Target, Size: m.Size, Mode: 0o1777, ReadOnly: m.ReadOnly})
		}
	}
}

func (b *builder) namespaces() uint64 {
	bits := uint64(unix.CLONE_NEWIPC | unix.CLONE_NEWUTS)
	if b.spec.Network == runner.NetworkNone {
		bits |= unix.CLONE_NEWNET
	}
	return bits
}

// terminal opens a terminal in the box's own devpts, and gives hutch the other
// end. The slave is opened through the master, so by no path (TIOCGPTPEER). It
// becomes the terminal of the session that the first process leads: the reaper
// then is what a shell would be, and the application a job of its that can be
// stopped, for it is no orphan.
func (b *builder) terminal() {
	if b.spec.Terminal == nil {
		return
	}
	b.add(Step{
		Kind: OpenTerminal, Name: "devpts", UID: b.facts.UID, GID: b.ttyGroup(),
		Words: []string{strconv.Itoa(int(b.spec.Terminal.Rows)), strconv.Itoa(int(b.spec.Terminal.Columns))},
	})
	b.add(Step{Kind: HandTerminal})
	b.add(Step{Kind: OwnTerminal})
}

// ttyGroup is group 5, which Debian and most others call tty, where it is
// mapped: terminals then belong to it and cannot be written by others.
func (b *builder) ttyGroup() uint32 {
	for _, m := range b.facts.GIDs {
		if m.Inside <= 5 && 5 < m.Inside+m.Count {
			return 5
		}
	}
	return b.facts.GIDs[0].Inside
}

// devices are the nodes of /dev; each is the host's own, bound.
var devices = [...]string{"null", "zero", "full", "random", "urandom", "tty"}

// trees takes every source as a detached tree. Taken now and placed after the
// crossing, a source can neither be redirected by the image nor seen twice.
func (b *builder) trees() {
	for i, l := range b.spec.Root.Lowers {
		if dir, known := b.facts.IsDir[l]; known && !dir {
			b.add(Step{Kind: TakeImage, Name: layerName(i), Source: l, ReadOnly: true, IDMapped: b.idMapped()})
			continue
		}
		b.add(Step{Kind: TakeTree, Name: layerName(i), Source: l, Dir: true, ReadOnly: true, IDMapped: b.idMapped(), Recursive: !b.facts.Privileged})
	}
	b.takeKeep()
	for _, h := range b.hostEntries() {
		if h.Link == "" {
			// Not id-mapped: what only root may read stays unreadable inside.
			b.add(Step{Kind: TakeTree, Name: "host:" + h.Path, Source: h.Path, Dir: true, ReadOnly: true, Recursive: true})
		}
	}
	for i, m := range b.spec.Mounts {
		if m.Type == runner.MountBind {
			b.add(Step{Kind: TakeTree, Name: mountName(i), Source: m.Source, Dir: b.facts.IsDir[m.Source], ReadOnly: m.ReadOnly, Recursive: true, IDMapped: b.idMapped()})
		}
	}
	for _, d := range devices {
		b.add(Step{Kind: TakeTree, Name: "dev:" + d, Source: "/dev/" + d})
	}
	for _, d := range b.spec.Devices {
		b.add(Step{Kind: TakeTree, Name: "dev:" + d.Name, Source: d.Source})
	}
}

// takeKeep takes the place of the writes that are kept. Its owners are mapped
// like those of the layers, so that another range another day finds the same.
func (b *builder) takeKeep() {
	keep := b.spec.Root.Keep
	switch {
	case keep == "":
	case b.facts.IsDir[keep]:
		b.add(Step{Kind: TakeTree, Name: "keep", Source: keep, Dir: true, IDMapped: b.facts.Privileged})
	default:
		b.add(Step{Kind: TakeImage, Name: "keep", Source: keep, IDMapped: true})
	}
}

func (b *builder) hostEntries() []HostEntry {
	if b.spec.Root.Kind == runner.RootHost {
		return b.facts.Host
	}
	return nil
}

// idMapped says that the trees show their ids as the box's.
func (b *builder) idMapped() bool { return b.facts.Privileged && !b.facts.SameIDs }

func layerName(i int) string { return fmt.Sprintf("layer:%d", i) }
func mountName(i int) string { return fmt.Sprintf("mount:%d", i) }

// scratchDirs are the private directories of every box; they share the
// overlay's file system and its cap.
func (b *builder) scratchDirs() []Step {
	dirs := []Step{
		{Name: "tmp", Target: "/tmp", Mode: 0o1777},
		{Name: "shm", Target: "/dev/shm", Mode: 0o1777},
	}
	if b.spec.Root.Kind == runner.RootHost {
		dirs = append(
			dirs,
			Step{Name: "run", Target: "/run", Mode: 0o755},
			Step{Name: "vartmp", Target: "/var/tmp", Mode: 0o1777},
		)
	}
	return dirs
}

// crossing makes the root and leaves the host.
func (b *builder) crossing() {
	b.para, b.by = Crossing, Box
	r := b.spec.Root
	// One tmpfs holds all that is written: the overlay, /tmp, /dev/shm. In
	// memory, so nothing is synced when the box ends.
	b.add(Step{Kind: Stage, Target: "/tmp", Size: r.Disk, Inodes: r.Inodes})
	// While it is the working directory: later the image decides what its paths
	// mean.
	b.add(Step{Kind: HandOver})
	b.add(Step{Kind: StageDir, Target: "root", Mode: 0o755})
	for _, d := range b.scratchDirs() {
		b.add(Step{Kind: StageDir, Target: d.Name, Mode: d.Mode})
		b.add(Step{Kind: TakeScratch, Name: "scratch:" + d.Name, Source: d.Name})
	}
	b.add(Step{Kind: StageDir, Target: "dev", Mode: 0o755})
	b.add(Step{Kind: TakeScratch, Name: "scratch:dev", Source: "dev"})
	b.emptyDirs()
	if r.Kind == runner.RootHost {
		b.add(Step{Kind: MountRoot})
	} else {
		upper := b.upper()
		var dirs []string
		for i := range r.Lowers {
			dir := fmt.Sprintf("l%d", i)
			dirs = append(dirs, dir)
			b.add(Step{Kind: StageDir, Target: dir, Mode: 0o755})
			b.add(Step{Kind: StageLayer, Name: layerName(i), Target: dir})
		}
		b.add(Step{Kind: MountOverlay, Target: upper + "upper", Data: upper + "work", Words: dirs})
	}
	b.add(Step{Kind: Pivot})
	b.add(Step{Kind: DetachHost})
}

// upper makes the directories that take the writes, and gives the directory
// that they are in.
func (b *builder) upper() (in string) {
	if b.spec.Root.Keep == "" {
		b.add(Step{Kind: StageDir, Target: "upper", Mode: 0o755})
		b.add(Step{Kind: StageDir, Target: "work", Mode: 0o755})
	} else {
		in = "keep/"
		b.add(Step{Kind: StageDir, Target: "keep", Mode: 0o755})
		b.add(Step{Kind: StageLayer, Name: "keep", Target: "keep"})
		b.add(Step{Kind: KeepDirs, Target: "keep"})
	}
	return in
}

// inside furnishes the root.
func (b *builder) inside() {
	b.para, b.by = Inside, Box
	b.add(Step{Kind: OpenRoot, Name: "root"})
	for _, h := range b.hostEntries() {
		if h.Link != "" {
			b.add(Step{Kind: MakeLink, Target: h.Path, Data: h.Link})
		} else {
			b.placeDir("host:"+h.Path, h.Path)
		}
	}
	// /proc and /dev are the box's own: a symbolic link of that name in the
	// image is refused, not followed (CVE-2025-52565, CVE-2026-41579).
	b.placeDir("proc", "/proc")
	b.placeDir("scratch:dev", "/dev")
	for _, d := range devices {
		b.add(Step{Kind: PlaceDevice, Name: "dev:" + d, Target: d})
	}
	for _, d := range b.spec.Devices {
		b.add(Step{Kind: PlaceDevice, Name: "dev:" + d.Name, Target: d.Name})
	}
	b.devLinks()
	b.placeDir("devpts", "/dev/pts")
	for _, d := range b.scratchDirs() {
		b.placeDir("scratch:"+d.Name, d.Target)
	}
	for i, m := range b.spec.Mounts {
		b.place(mountName(i), m.Target, m.Type == runner.MountTmpfs || b.facts.IsDir[m.Source])
	}
	// User namespaces inside are refused by the filter and, for a profile that
	// lets them through, by this; it is written before /proc/sys is closed.
	b.add(Step{Kind: WriteProc, Target: "sys/user/max_user_namespaces", Data: "0"})
	b.masks()
	b.add(Step{Kind: Hostname, Data: b.spec.Hostname})
	if b.spec.Network == runner.NetworkNone {
		b.add(Step{Kind: LoopbackUp})
	}
	b.copies()
	if b.spec.Root.ReadOnly || b.spec.Root.Kind == runner.RootHost {
		b.add(Step{Kind: ReadOnlyRoot})
	}
}

// copies hands hutch what files are copied to and from. It is a tree of its own
// that outlives the box; masks cover there what they cover here, and no mount
// made later appears in it. The root is not yet read-only: what is copied in
// may be what the application must not change.
func (b *builder) copies() {
	if len(b.spec.CopyIn)+len(b.spec.CopyOut) == 0 {
		return
	}
	b.add(Step{Kind: HandRoot})
	if len(b.spec.CopyIn) > 0 {
		b.add(Step{Kind: AwaitCopies})
	}
}

func (b *builder) devLinks() {
	for _, l := range [...][2]string{
		{"fd", "/proc/self/fd"},
		{"stdin", "/proc/self/fd/0"},
		{"stdout", "/proc/self/fd/1"},
		{"stderr", "/proc/self/fd/2"},
		{"ptmx", "pts/ptmx"},
	} {
		b.add(Step{Kind: MakeLink, Target: "/dev/" + l[0], Data: l[1]})
	}
}

func (b *builder) placeDir(name, target string) { b.place(name, target, true) }

// place makes what is missing of target, then puts the tree on it.
func (b *builder) place(name, target string, dir bool) {
	target = path.Clean(target)
	parts := strings.Split(target[1:], "/")
	for i := range parts {
		p := "/" + path.Join(parts[:i+1]...)
		if i == len(parts)-1 && !dir {
			b.add(Step{Kind: MakeFile, Target: p, Mode: 0o644})
		} else if !b.made(p) {
			b.add(Step{Kind: MakeDir, Target: p, Mode: 0o755})
		}
	}
	b.add(Step{Kind: Place, Name: name, Target: target, Dir: dir, Data: b.strict(target)})
}

// made says that a step before has made or placed p already.
func (b *builder) made(p string) bool {
	return slices.ContainsFunc(b.plan.Steps, func(s Step) bool {
		return s.Paragraph == Inside && s.Target == p && (s.Kind == MakeDir || s.Kind == Place)
	})
}

// strict is "no-symlinks" for the places that are the box's own.
func (b *builder) strict(target string) string {
	if target == "/proc" || target == "/dev" || strings.HasPrefix(target, "/dev/") {
		return "no-symlinks"
	}
	return ""
}

// emptyDirs takes a copy of one empty directory for each that is hidden. A tree
// that is taken and not placed makes the kernel wait when it is closed.
func (b *builder) emptyDirs() {
	staged := false
	for _, p := range b.spec.Hidden {
		if !b.facts.IsDir[path.Clean(p)] {
			continue
		}
		if !staged {
			b.add(Step{Kind: StageDir, Target: "empty", Mode: 0o555})
			staged = true
		}
		b.add(Step{Kind: TakeScratch, Name: "empty:" + path.Clean(p), Source: "empty", ReadOnly: true})
	}
}

func (b *builder) masks() {
	for _, p := range b.spec.Protected {
		p = path.Clean(p)
		if dir, ok := b.facts.IsDir[p]; ok {
			b.add(Step{Kind: Protect, Target: p, Dir: dir})
		}
	}
	for _, p := range b.spec.Hidden {
		p = path.Clean(p)
		if dir, ok := b.facts.IsDir[p]; ok {
			b.add(Step{Kind: Mask, Target: p, Dir: dir})
		}
	}
}
