//go:build !cgo

package seccomp

import "errors"

func compilerVersion() string {
	if external == nil {
		return "none"
	}
	return external.Version()
}

// compileWhole has the external compiler do all the stages.
func (l *lowered) compileWhole(p *Policy, a Arch, _ []target) (Filter, error) {
	if external == nil {
		return nil, errors.New("this program was built without libseccomp and knows the built-in profiles only: build it with make build")
	}
	return external.Compile(Request{*p, a})
}
