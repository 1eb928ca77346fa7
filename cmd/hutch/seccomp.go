package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"hutch/profiles"
	"hutch/runner"
	"hutch/seccomp"
)

// seccompFile takes the system calls from a file in the format of Docker and
// OCI; the profile then says the rest. Its conditions are asked about the
// capabilities that the application keeps.
func seccompFile(file string, capabilities []string) (runner.Seccomp, error) {
	p, warnings, err := decodeOCI(file, capabilities)
	if err != nil {
		return runner.Seccomp{}, err
	}
	for _, w := range warnings {
		warn("%s: %s", file, w)
	}
	filter, err := seccomp.Load(p.Seccomp, cacheDir())
	if err != nil {
		return runner.Seccomp{}, &runner.Error{Stage: runner.StageResolve, Err: fmt.Errorf("%s: %w", file, err)}
	}
	return runner.Seccomp{Name: p.Name, Digest: filter.Digest(), Filter: filter}, nil
}

// decodeOCI reads such a file for this machine.
func decodeOCI(file string, capabilities []string) (*profiles.Profile, []string, error) {
	data, err := profiles.ReadFile(file)
	if err != nil {
		return nil, nil, ociError(file, err)
	}
	p, warnings, err := profiles.DecodeOCI(file, data, profiles.Target{
		Arch: seccomp.Native(), Capabilities: capabilities, Kernel: kernelRelease(),
	})
	if err != nil {
		return nil, nil, ociError(file, err)
	}
	return p, warnings, nil
}

func ociError(file string, err error) error {
	return &runner.Error{Stage: runner.StageResolve, Err: err, Hint: "give a seccomp file in the JSON format of Docker and OCI; hutch profile convert " + file + " looks at it"}
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// warn is for what the user should know although it goes on.
func warn(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "hutch: warning: %s\n", printable(fmt.Sprintf(format, args...)))
}
