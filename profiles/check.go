package profiles

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"hutch/seccomp"
)

// A fieldError is about the value at a path of keys.
type fieldError struct {
	path string
	err  error
}

func (e *fieldError) Error() string { return e.path + ": " + e.err.Error() }

// check looks for impossible values in one profile, not in what it extends.
func (p *Profile) check() *fieldError {
	for _, check := range []func() *fieldError{
		p.checkVersion, p.checkExtends, p.checkProcess, p.checkNamespaces, p.checkFilesystem,
		p.checkLimits, p.checkProcessors, p.checkNetwork, p.checkSeccomp, p.checkLandlock, p.checkWords,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (p *Profile) checkVersion() *fieldError {
	switch p.Version {
	case Version:
		return nil
	case 0:
		return &fieldError{"version", fmt.Errorf("is missing: begin the profile with \"version = %d\"", Version)}
	}
	return &fieldError{"version", fmt.Errorf("%d: this program reads version %d", p.Version, Version)}
}

func (p *Profile) checkExtends() *fieldError {
	const most = 16 // enough for people, and it bounds the work
	if len(p.Extends) > most {
		return &fieldError{"extends", fmt.Errorf("%d names: at most %d", len(p.Extends), most)}
	}
	for i, name := range p.Extends {
		if name == "" {
			return &fieldError{fmt.Sprintf("extends[%d]", i), errors.New("is empty: name a profile")}
		}
	}
	return nil
}

func (p *Profile) checkProcess() *fieldError {
	if dir := p.Process.Workdir; dir != "" && !path.IsAbs(dir) {
		return &fieldError{"process.workdir", fmt.Errorf("%q: must begin with /", dir)}
	}
	for key, value := range p.Process.Env {
		if key == "" || strings.ContainsAny(key, "=\x00") || strings.ContainsRune(value, 0) {
			return &fieldError{"process.env." + key, errors.New("a name has no \"=\", and neither name nor value a zero byte")}
		}
	}
	return nil
}

func (p *Profile) checkNamespaces() *fieldError {
	switch p.Namespaces.IDMap {
	case "", "auto", "single", "range":
		return nil
	}
	return &fieldError{"namespaces.id_map", fmt.Errorf("%q: expected \"auto\", \"single\" or \"range\"", p.Namespaces.IDMap)}
}

func (p *Profile) checkFilesystem() *fieldError {
	f := &p.Filesystem
	if f.Disk < 0 {
		return &fieldError{"filesystem.disk", fmt.Errorf("%d: is negative", f.Disk)}
	}
	if f.Inodes < 0 {
		return &fieldError{"filesystem.inodes", fmt.Errorf("%d: is negative", f.Inodes)}
	}
	for key, list := range map[string][]string{"hidden": f.Hidden, "protected": f.Protected} {
		for i, name := range list {
			if !path.IsAbs(name) {
				return &fieldError{fmt.Sprintf("filesystem.%s[%d]", key, i), fmt.Errorf("%q: must begin with /", name)}
			}
		}
	}
	return nil
}

func (p *Profile) checkLimits() *fieldError {
	l := &p.Limits
	values := []struct {
		key string
		n   int64
	}{
		{"memory", int64(l.Memory)},
		{"cpu_weight", l.CPUWeight},
		{"pids", l.Processes},
		{"open_files", l.OpenFiles},
		{"file_size", int64(l.FileSize)},
		{"output_limit", int64(l.Output)},
		{"timeout", int64(l.Timeout)},
		{"grace", int64(l.Grace)},
		{"cpu_time", int64(l.CPUTime)},
	}
	for _, v := range values {
		if v.n < 0 {
			return &fieldError{"limits." + v.key, fmt.Errorf("%d: is negative", v.n)}
		}
	}
	for key, s := range map[string]*Size{"swap": l.Swap, "core_size": l.CoreSize} {
		if s != nil && *s < 0 {
			return &fieldError{"limits." + key, fmt.Errorf("%d: is negative", *s)}
		}
	}
	const most = 1 << 20 // far more processors than there are; also refuses inf
	if !(l.CPUs >= 0 && l.CPUs <= most) {
		return &fieldError{"limits.cpus", fmt.Errorf("%v: expected a number of processors, such as 1.5", l.CPUs)}
	}
	return nil
}

func (p *Profile) checkNetwork() *fieldError {
	switch p.Network.Mode {
	case "", "none", "host":
		return nil
	}
	return &fieldError{"network.mode", fmt.Errorf("%q: expected \"none\" or \"host\"", p.Network.Mode)}
}

func (p *Profile) checkSeccomp() *fieldError {
	if p.Seccomp == nil {
		return nil
	}
	var bad *seccomp.FieldError
	if err := p.Seccomp.Check(); errors.As(err, &bad) {
		return &fieldError{"seccomp." + bad.Path, bad.Err}
	} else if err != nil {
		return &fieldError{"seccomp", err}
	}
	return nil
}

func (p *Profile) checkLandlock() *fieldError {
	const most = 1024 // each is a few system calls of every start
	l := &p.Landlock
	for _, list := range []struct {
		key   string
		paths []string
		ports []uint16
	}{
		{"read", l.Read, nil},
		{"list", l.List, nil},
		{"write", l.Write, nil},
		{"execute", l.Execute, nil},
		{"connect", nil, l.Connect},
		{"bind", nil, l.Bind},
	} {
		key := "landlock." + list.key
		if n := max(len(list.paths), len(list.ports)); n > most {
			return &fieldError{key, fmt.Errorf("%d entries: at most %d", n, most)}
		}
		for i, name := range list.paths {
			if !path.IsAbs(name) {
				return &fieldError{fmt.Sprintf("%s[%d]", key, i), fmt.Errorf("%q: must begin with /", name)}
			}
		}
	}
	return nil
}
