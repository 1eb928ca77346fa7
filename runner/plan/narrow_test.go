package plan

import (
	"strings"
	"testing"

	"hutch/rootfs"
	"hutch/runner"
)

// A list that the kernel cannot enforce is an error, and one that it can is not.
func TestNarrowFailsClosed(t *testing.T) {
	for _, test := range []struct {
		key   string
		least int
		says  func(*runner.Landlock)
	}{
		{"read", 2, func(l *runner.Landlock) { l.Read = []string{"/"} }},
		{"list", 2, func(l *runner.Landlock) { l.List = []string{} }},
		{"write", 3, func(l *runner.Landlock) { l.Write = []string{} }},
		{"execute", 2, func(l *runner.Landlock) { l.Execute = []string{"/bin"} }},
		{"connect", 4, func(l *runner.Landlock) { l.Connect = []uint16{} }},
		{"bind", 4, func(l *runner.Landlock) { l.Bind = []uint16{80} }},
	} {
		if got := NarrowABI(test.key); got != test.least {
			t.Errorf("%s: needs ABI %d", test.key, got)
		}
		for abi := range 8 {
			s := resolve(t, "default", rootfs.KindDir)
			s.Landlock = runner.Landlock{Filesystem: runner.Omit, Scopes: runner.Omit}
			test.says(&s.Landlock)
			f := facts(s, "root")
			f.LandlockABI = abi
			p, err := Build(s, f)
			switch {
			case abi < test.least:
				if err == nil || !strings.Contains(err.Error(), "landlock."+test.key+" needs Landlock ABI") || !strings.Contains(runner.Hint(err), "use Linux ") {
					t.Errorf("%s with ABI %d: %v", test.key, abi, err)
				}
			case err != nil:
				t.Errorf("%s with ABI %d: %v", test.key, abi, err)
			case first(p, NarrowCreate) < 0 || first(p, NarrowSelf) < 0 || p.LandlockABI != abi:
				t.Errorf("%s with ABI %d: %+v", test.key, abi, p)
			}
		}
	}
}

// What no profile asks for costs no step.
func TestNarrowIsNotThereUnasked(t *testing.T) {
	for _, kind := range []rootfs.Kind{rootfs.KindDir, rootfs.KindHost} {
		s := resolve(t, "default", kind)
		p := build(t, s, facts(s, "root"))
		for _, k := range []Kind{NarrowCreate, NarrowPath, NarrowPort, NarrowSelf} {
			if first(p, k) >= 0 {
				t.Errorf("%s: there is a step %s", kind, k)
			}
		}
	}
}
