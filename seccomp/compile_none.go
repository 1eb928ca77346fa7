//go:build !cgo

package seccomp

import "errors"

func compilerVersion() string { return "none" }

func compileStage(target, []stageRule, Action, Action) ([]instruction, error) {
	return nil, errors.New("this program was built without libseccomp (CGO_ENABLED=0) and knows the built-in profiles only: build it with cgo")
}
