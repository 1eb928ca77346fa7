//go:build !cgo

package seccomp

import "errors"

func compilerVersion() string {
	if external == nil {
		return "none"
	}
	return external.Version()
}

// A libseccompCompiler has hutch-seccomp make the filters.
type libseccompCompiler struct{ running *Compilation }

// startCompiler has the program start while the policy is looked at.
func startCompiler() (c libseccompCompiler, err error) {
	if external == nil {
		return c, errors.New("this program was built without libseccomp and knows the built-in profiles only: build it with make build")
	}
	running, err := external.Start()
	return libseccompCompiler{&running}, err
}

func (c libseccompCompiler) compile(list []stage) ([][]instruction, error) {
	running := *c.running
	*c.running = nil
	made, err := running.Run(request(list))
	if err != nil {
		return nil, err
	}
	return takeFilters(list, made)
}

func (c libseccompCompiler) close() {
	if running := *c.running; running != nil {
		running.Cancel()
	}
}
