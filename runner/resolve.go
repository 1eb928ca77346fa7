package runner

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"hutch/profiles"
	"hutch/rootfs"
)

// What holds when nothing nearer says otherwise.
const (
	defaultPath     = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	defaultHostname = "hutch"
	defaultDisk     = 1 << 30
	defaultInodes   = 1 << 18
	defaultGrace    = 10e9 // nanoseconds
)

// An Override is what the command line says; it is the nearest of all.
type Override struct {
	// Settings uses a profile's words; what is not set is not said.
	Settings profiles.Profile
	// Command replaces the image's command.
	Command []string
	// Entrypoint replaces the image's entrypoint, and its command too.
	Entrypoint string
	// Env holds KEY=VALUE, in order; a later one wins.
	Env []string
	// IDMap is one of the IDMap constants or "".
	IDMap string
	// Terminal asks for a terminal of that size.
	Terminal *Size
}

// Resolve puts a Spec together. Flags win over the profile, the profile over
// the image's own configuration, that over the defaults. It is pure: it looks
// at nothing but its arguments. The seccomp filter is added by the caller.
func Resolve(p *profiles.Profile, root *rootfs.Root, o Override) (*Spec, error) {
	image := root.Config
	if image == nil {
		image = &rootfs.Config{}
	}
	f := o.Settings
	s := &Spec{
		Version:  SpecVersion,
		Profile:  p.Name,
		Command:  command(image, o),
		Env:      environment(image.Env, p.Process.Env, o.Env),
		Workdir:  first(f.Process.Workdir, p.Process.Workdir, image.WorkDir, "/"),
		User:     first(f.Process.User, p.Process.User, image.User),
		Hostname: first(f.Process.Hostname, p.Process.Hostname, defaultHostname),
		// The image's is what its application expects.
		StopSignal: first(f.Process.StopSignal, p.Process.StopSignal, image.StopSignal),
		Init:       yes(true, f.Process.Init, p.Process.Init),
		Terminal:   o.Terminal,
		Network:    first(f.Network.Mode, p.Network.Mode, NetworkNone),
		IDMap:      first(o.IDMap, p.Namespaces.IDMap, IDMapAuto),
		Hidden:     append(slices.Clone(p.Filesystem.Hidden), f.Filesystem.Hidden...),
		Landlock: Landlock{
			Filesystem: want(f.Landlock.Filesystem, p.Landlock.Filesystem),
			Scopes:     want(f.Landlock.Scopes, p.Landlock.Scopes),
			Read:       said(f.Landlock.Read, p.Landlock.Read),
			List:       said(f.Landlock.List, p.Landlock.List),
			Write:      said(f.Landlock.Write, p.Landlock.Write),
			Execute:    said(f.Landlock.Execute, p.Landlock.Execute),
			Connect:    said(f.Landlock.Connect, p.Landlock.Connect),
			Bind:       said(f.Landlock.Bind, p.Landlock.Bind),
		},
	}
	s.Protected = append(slices.Clone(p.Filesystem.Protected), f.Filesystem.Protected...)
	s.Root = Root{
		Kind:     RootLayers,
		Lowers:   root.Lowers,
		ReadOnly: yes(false, f.Filesystem.ReadOnly, p.Filesystem.ReadOnly),
		Disk:     first(int64(f.Filesystem.Disk), int64(p.Filesystem.Disk), defaultDisk),
		Inodes:   first(f.Filesystem.Inodes, p.Filesystem.Inodes, defaultInodes),
	}
	if root.Kind == "host" {
		s.Root.Kind, s.Root.Lowers = RootHost, nil
	}
	var err error
	if s.Mounts, err = mounts(p.Filesystem, f.Filesystem); err != nil {
		return nil, err
	}
	if s.Limits, err = limits(p.Limits, f.Limits); err != nil {
		return nil, err
	}
	if s.Capabilities, err = capabilities(s.Root.Kind, p.Capabilities, f.Capabilities); err != nil {
		return nil, err
	}
	return s, nil
}

// first is the first value that says something.
func first[T comparable](values ...T) T {
	var zero T
	for _, v := range values {
		if v != zero {
			return v
		}
	}
	return zero
}

func yes(otherwise bool, values ...*bool) bool {
	for _, v := range values {
		if v != nil {
			return *v
		}
	}
	return otherwise
}

// said is the first list that is there; an empty one is.
func said[T any](lists ...[]T) []T {
	for _, l := range lists {
		if l != nil {
			return slices.Clone(l)
		}
	}
	return nil
}

func want(values ...*bool) Want {
	for _, v := range values {
		if v != nil && *v {
			return Require
		}
		if v != nil {
			return Omit
		}
	}
	return Prefer
}

// command is what runs: the words given replace the image's command but keep
// its entrypoint, as other tools have it.
func command(image *rootfs.Config, o Override) []string {
	switch {
	case o.Entrypoint != "":
		return append([]string{o.Entrypoint}, o.Command...)
	case len(o.Command) == 0:
		return slices.Concat(image.Entrypoint, image.Cmd)
	}
	return slices.Concat(image.Entrypoint, o.Command)
}

func environment(image []string, profile map[string]string, flags []string) []string {
	env := []string{defaultPath}
	env = append(env, image...)
	for _, k := range slices.Sorted(maps.Keys(profile)) {
		env = append(env, k+"="+profile[k])
	}
	return lastWins(append(env, flags...))
}

// lastWins keeps the last value of each variable, in the order in which they
// were first named.
func lastWins(env []string) []string {
	out, at := make([]string, 0, len(env)+1), make(map[string]int, len(env))
	for _, e := range env {
		k, _, _ := strings.Cut(e, "=")
		i, known := at[k]
		if known {
			out[i] = e
			continue
		}
		at[k], out = len(out), append(out, e)
	}
	return out
}

func mounts(sets ...profiles.Filesystem) ([]Mount, error) {
	var out []Mount
	for _, set := range sets {
		for _, b := range set.Bind {
			m, err := ParseBind(b)
			if err != nil {
				return nil, err
			}
			out = append(out, m)
		}
		for _, t := range set.Tmpfs {
			m, err := ParseTmpfs(t)
			if err != nil {
				return nil, err
			}
			out = append(out, m)
		}
	}
	return out, nil
}

// ParseBind reads SRC:DST[:ro|rw]. Without a mode the bind is read-only.
func ParseBind(arg string) (Mount, error) {
	b, err := profiles.ParseBind(arg)
	if err != nil {
		return Mount{}, &Error{Stage: StageResolve, Step: err.Error(), Hint: "write SRC:DST, SRC:DST:ro or SRC:DST:rw, with DST absolute"}
	}
	return Mount{Type: MountBind, Source: b.Source, Target: b.Target, ReadOnly: !b.Writable}, nil
}

// ParseTmpfs reads DST[:SIZE].
func ParseTmpfs(arg string) (Mount, error) {
	target, size, err := profiles.ParseTmpfs(arg)
	if err != nil {
		return Mount{Type: MountTmpfs, Target: target}, &Error{
			Stage: StageResolve, Step: fmt.Sprintf("tmpfs %q", arg), Err: err,
			Hint: "write DST or DST:SIZE, as in /scratch:64M",
		}
	}
	return Mount{Type: MountTmpfs, Target: target, Size: int64(size)}, nil
}

func limits(p, f profiles.Limits) (Limits, error) {
	l := Limits{
		MemoryBytes:   first(int64(f.Memory), int64(p.Memory)),
		CPUs:          first(f.CPUs, p.CPUs),
		CPUWeight:     first(f.CPUWeight, p.CPUWeight),
		CPUSet:        first(f.CPUSet, p.CPUSet),
		Processes:     first(f.Processes, p.Processes),
		OpenFiles:     first(f.OpenFiles, p.OpenFiles),
		FileSizeBytes: first(int64(f.FileSize), int64(p.FileSize)),
		OutputBytes:   first(int64(f.Output), int64(p.Output)),
		SwapBytes:     size(f.Swap, p.Swap),
		CoreSizeBytes: size(f.CoreSize, p.CoreSize),
	}
	l.Timeout = first(f.Timeout, p.Timeout).Std()
	l.CPUTime = first(f.CPUTime, p.CPUTime).Std()
	l.Grace = first(f.Grace, p.Grace, defaultGrace).Std()
	var err error
	l.IO, err = ioLimits(p, f)
	return l, err
}

func size(values ...*profiles.Size) *int64 {
	for _, v := range values {
		if v != nil {
			n := int64(*v)
			return &n
		}
	}
	return nil
}

// ioLimits gathers "[DEV:]N" lists into one entry a device.
func ioLimits(p, f profiles.Limits) ([]IOLimit, error) {
	var out []IOLimit
	entry := func(device string) *IOLimit {
		i := slices.IndexFunc(out, func(l IOLimit) bool { return l.Device == device })
		if i < 0 {
			out = append(out, IOLimit{Device: device})
			i = len(out) - 1
		}
		return &out[i]
	}
	for _, t := range []struct {
		name  string
		list  []string
		bytes bool
		field func(*IOLimit) *int64
	}{
		{"io_read", append(slices.Clone(p.IORead), f.IORead...), true, func(l *IOLimit) *int64 { return &l.ReadBytes }},
		{"io_write", append(slices.Clone(p.IOWrite), f.IOWrite...), true, func(l *IOLimit) *int64 { return &l.WriteBytes }},
		{"io_read_ops", append(slices.Clone(p.IOReadOps), f.IOReadOps...), false, func(l *IOLimit) *int64 { return &l.ReadOps }},
		{"io_write_ops", append(slices.Clone(p.IOWriteOps), f.IOWriteOps...), false, func(l *IOLimit) *int64 { return &l.WriteOps }},
	} {
		for _, arg := range t.list {
			device, n, err := profiles.ParseRate(arg, t.bytes)
			if err != nil {
				return nil, &Error{
					Stage: StageResolve, Step: fmt.Sprintf("%s %q", t.name, arg), Err: err,
					Hint: "write N or DEVICE:N, each second, as in 10M or /dev/vda:10M",
				}
			}
			*t.field(entry(device)) = n
		}
	}
	return out, nil
}
