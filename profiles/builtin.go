package profiles

import (
	"hutch/seccomp"
)

//go:generate go run hutch/profiles/internal/gen

// BuiltinNames returns the names of the built-in profiles, sorted.
func BuiltinNames() []string { return builtinNames() }

// Builtin returns a new copy of a built-in profile with all that it extends
// merged into it. It is made at build time: no TOML is read.
func Builtin(name string) (*Profile, bool) {
	p := builtin(name)
	return p, p != nil
}

// BuiltinFilter returns the filter of a built-in profile for this machine, as
// it was compiled at build time.
func BuiltinFilter(name string) (seccomp.Filter, bool) {
	text := builtinFilter(name)
	return seccomp.Filter(text), text != ""
}

// Filter returns the filter of the profile's policy: the one compiled at build
// time if the policy is that of a built-in profile, else through the cache in
// cacheDir. It is empty if the profile has no policy.
func (p *Profile) Filter(cacheDir string) (seccomp.Filter, error) {
	if p.Seccomp == nil {
		return nil, nil
	}
	if f, ok := BuiltinFilter(builtinByDigest(p.Seccomp.Digest())); ok {
		return f, nil
	}
	return seccomp.Load(p.Seccomp, cacheDir)
}
