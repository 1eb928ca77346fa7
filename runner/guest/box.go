package guest

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"hutch/runner"
)

// A Box is what the process of a guest, a kernel or an emulator, runs in: a box
// of hutch's own. Whoever breaks out of the guest is in it: without
// capabilities and network, behind a filter, and with no files but these.
type Box struct {
	// Engine starts it: the one of namespaces.
	Engine runner.Engine
	// Command is the program, which is in Files, and its arguments. Nothing in
	// it may come from an image.
	Command []string
	// Files are shown read-only or not, as they say.
	Files   []runner.Mount
	Devices []runner.Device
	// Memory is what the guest is given, and Overhead what its process may
	// use besides, in bytes. Together they are the limit of the box.
	Memory, Overhead int64
	// Processes bounds the threads and processes.
	Processes int64
	// Scratch is how much may be written to /tmp.
	Scratch int64
	Seccomp runner.Seccomp
	// Cache is a directory of the caller's.
	Cache string
}

// Spec is the box as any other box is written down.
func (b *Box) Spec() (*runner.Spec, error) {
	empty := filepath.Join(b.Cache, "empty")
	if err := os.MkdirAll(empty, 0o755); err != nil {
		return nil, &runner.Error{Stage: runner.StagePrepare, Step: "make the root of the guest's box", Err: err, Hint: "set XDG_CACHE_HOME to a directory that can be written"}
	}
	none := int64(0)
	s := &runner.Spec{
		Version: runner.SpecVersion, Command: b.Command,
		Env:     []string{"HOME=/tmp", "TMPDIR=/tmp", "PATH=/usr/bin"},
		Workdir: "/tmp", Hostname: "guest", Init: true,
		Root:   runner.Root{Kind: runner.RootLayers, Lowers: []string{empty}, Disk: b.Scratch + 1<<20, Inodes: 4096},
		Mounts: b.Files, Devices: b.Devices,
		Network: runner.NetworkNone, IDMap: runner.IDMapAuto,
		// No swap: a guest that is given memory has it.
		Limits:   runner.Limits{MemoryBytes: b.Memory + b.Overhead, Processes: b.Processes, CoreSizeBytes: &none},
		Landlock: runner.Landlock{Filesystem: runner.Prefer, Scopes: runner.Prefer},
		Seccomp:  b.Seccomp, Profile: b.Seccomp.Name,
	}
	return s, s.Validate()
}

// Start starts the process with the pipes of a Machine as its standard
// streams: the channel is its input and output, the console its error.
//
// An ordinary user without delegated control groups cannot limit it. Its
// memory is then bounded by the guest's own size alone, and unlimited is true.
func (b *Box) Start(ctx context.Context) (m Machine, unlimited bool, err error) {
	spec, err := b.Spec()
	if err != nil {
		return m, false, err
	}
	var opened []*os.File
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
			opened = append(opened, r, w)
		}
		return r, w
	}
	var stdio runner.Stdio
	stdio.In, m.To = pipe()
	m.From, stdio.Out = pipe()
	m.Console, stdio.Err = pipe()
	if err != nil {
		err = &runner.Error{Stage: runner.StageStart, Step: "make the guest's channel", Err: err}
	} else {
		m.Process, unlimited, err = b.start(ctx, spec, stdio)
	}
	for _, f := range opened {
		if f != nil && (err != nil || f == stdio.In || f == stdio.Out || f == stdio.Err) {
			f.Close()
		}
	}
	return m, unlimited, err
}

func (b *Box) start(ctx context.Context, s *runner.Spec, stdio runner.Stdio) (runner.Process, bool, error) {
	p, err := b.Engine.Start(ctx, s, stdio)
	var why *runner.Error
	if err == nil || os.Geteuid() == 0 || !errors.As(err, &why) || why.Step != "limit the box" {
		return p, false, err
	}
	s.Limits.MemoryBytes, s.Limits.Processes = 0, 0
	p, err = b.Engine.Start(ctx, s, stdio)
	return p, true, err
}

// ReadOnly shows a host's file in a box at the same place.
func ReadOnly(paths ...string) []runner.Mount {
	list := make([]runner.Mount, len(paths))
	for i, p := range paths {
		list[i] = runner.Mount{Type: runner.MountBind, Source: p, Target: p, ReadOnly: true}
	}
	return list
}
