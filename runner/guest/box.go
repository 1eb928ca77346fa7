package guest

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

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
	// Socket has the channel be a socket, which is the process's standard output.
	// Its standard input is Input then, or nothing.
	Socket bool
	Input  *os.File
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
// streams: the channel is its input and output, or with Socket its output
// alone, the console its error. Input stays the caller's.
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
	if b.Socket {
		stdio.In, err = b.input()
		opened = append(opened, stdio.In)
		if err == nil {
			m.From, m.To, stdio.Out, err = socket()
			opened = append(opened, m.From, m.To, stdio.Out)
		}
	} else {
		stdio.In, m.To = pipe()
		m.From, stdio.Out = pipe()
	}
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

// input is a copy of Input, or nothing to read.
func (b *Box) input() (*os.File, error) {
	if b.Input == nil {
		return os.Open(os.DevNull)
	}
	fd, err := unix.FcntlInt(b.Input.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), b.Input.Name()), nil
}

// socket is a pair of connected sockets, the host's end of it twice: for who
// reads and for who writes. Only that waits in Go's poller.
func socket() (from, to, guest *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, nil, os.NewSyscallError("socketpair", err)
	}
	guest = os.NewFile(uintptr(pair[1]), "channel")
	again, err := unix.FcntlInt(uintptr(pair[0]), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		unix.Close(pair[0])
		guest.Close()
		return nil, nil, nil, os.NewSyscallError("fcntl", err)
	}
	unix.SetNonblock(pair[0], true) // of both: they are one description
	return os.NewFile(uintptr(pair[0]), "channel"), os.NewFile(uintptr(again), "channel"), guest, nil
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
