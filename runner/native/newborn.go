package native

import (
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"hutch/runner/plan"
)

// A Newborn is the first process of a box that was made before anybody knew
// which: it shares this process's memory and descriptors, has its namespaces,
// and waits. An engine that is given one uses it for the first box that it
// fits; otherwise it has to be discarded.
type Newborn struct {
	PID   int
	Pidfd int // of the newborn
	Hutch int // a pidfd of this process
	// Clone holds the namespaces that it was cloned with, CLONE_NEW*.
	Clone uint64
	// Steps are the steps it has done, in order: the beginning of a plan.
	Steps []plan.Step
	// Ahead is the kind of a step of the box that it has done too, where the
	// plan has that later.
	Ahead plan.Kind
	// Running is cleared by the kernel when it has executed something or ended
	// (CLONE_CHILD_CLEARTID). Failed is set when one of its steps failed.
	Running, Failed *int32
	// Go has it call entry with program, in C's calling convention.
	Go func(entry, program uintptr)

	taken atomic.Bool
}

// Adopt gives the engine a newborn. Nil is none.
func (e *Engine) Adopt(n *Newborn) { e.newborn = n }

// Discard ends a newborn that became no box. Nil is none.
func (n *Newborn) Discard() {
	if n != nil && !n.taken.Swap(true) {
		n.end()
	}
}

func (n *Newborn) end() {
	unix.PidfdSendSignal(n.Pidfd, unix.SIGKILL, nil, 0)
	for {
		if _, err := unix.Wait4(n.PID, nil, 0, nil); err != unix.EINTR {
			break
		}
	}
	unix.Close(n.Pidfd)
	unix.Close(n.Hutch)
}

// born takes the newborn if it can become the first process of b.
func (e *Engine) born(b *box) {
	n := e.newborn
	if n == nil || n.taken.Swap(true) {
		return
	}
	if n.fits(b) {
		b.newborn = n
		return
	}
	n.end()
}

// fits says whether all that n is and did is what b's plan begins with.
func (n *Newborn) fits(b *box) bool {
	if b.group != nil {
		if _, ok := b.group.FD(); ok {
			return false // must be born in the group
		}
	}
	if atomic.LoadInt32(n.Failed) != 0 || b.plan.Clone != n.Clone || len(b.plan.Steps) < len(n.Steps) {
		return false
	}
	if n.Ahead != "" && !slices.ContainsFunc(b.plan.Steps, func(s plan.Step) bool { return s.By == plan.Box && s.Kind == n.Ahead }) {
		return false
	}
	return slices.EqualFunc(n.Steps, b.plan.Steps[:len(n.Steps)], func(done, wanted plan.Step) bool {
		return wanted.By == plan.Box && done.Kind == wanted.Kind && done.Bits == wanted.Bits
	})
}

// stillborn says that b's newborn failed at its own steps. The engine has none
// then, and the start that does them itself can say what is wrong.
func (b *box) stillborn() bool {
	return b.newborn != nil && atomic.LoadInt32(b.newborn.Failed) != 0
}
