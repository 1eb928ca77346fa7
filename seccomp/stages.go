package seccomp

import (
	"fmt"
	"slices"
)

// libseccomp takes for each call one kind of answer besides the default: of two
// rules for one call, one with a condition and one without, the latter
// swallows the former. A policy says more than that: "ioctl is allowed, but not
// TIOCSTI"; "socket is allowed for AF_UNIX, and answers EAFNOSUPPORT
// otherwise". And libseccomp 2.5.4 miscompiles a call that has several rules
// which look at more than one argument: a comparison is shared between two
// paths of which one has loaded another argument, and allows what no rule
// allows. (TestCompileAgreesWithTheWords found that within a thousand policies.)
//
// So a policy is compiled in stages, each a filter of libseccomp's, in which a
// call has either one rule or rules that compare one argument with several
// constants. What a stage does not decide goes on to the next, and behind the
// last to the policy's default. Nearly all calls have one answer, so they are
// decided in the first stage.
//
// A stage is given the markers below for "goes on"; join turns each return of
// a marker into a jump.

const (
	markNextStage = ActionTrace | 0x7001
	markNextArch  = ActionTrace | 0x7002
)

// A rule in a stage: an action for a call on any of the alternatives.
type stageRule struct {
	name string
	answer
}

// stages deals the answers out, the nth of every call to stage n. A last answer
// that equals the fallback needs no rule.
func (l *lowered) stages(calls []loweredCall) [][]stageRule {
	list := [][]stageRule{nil}
	for _, c := range calls {
		answers := c.answers
		for len(answers) > 0 && answers[len(answers)-1].action == l.fallback {
			answers = answers[:len(answers)-1]
		}
		n := 0
		for _, whole := range answers {
			for _, a := range whole.batches() {
				if n == len(list) {
					list = append(list, nil)
				}
				list[n] = append(list[n], stageRule{c.name, a})
				n++
			}
		}
	}
	return list
}

// batches splits an answer into parts that libseccomp compiles rightly. Their
// order does not matter, for they have one action.
func (a answer) batches() []answer {
	if a.always() {
		return []answer{a}
	}
	var list []answer
	for _, alternative := range a.alternatives {
		i := slices.IndexFunc(list, func(b answer) bool { return alike(b.alternatives[0], alternative) })
		if i < 0 {
			list = append(list, answer{a.action, [][]condition{alternative}})
			continue
		}
		list[i].alternatives = append(list[i].alternatives, alternative)
	}
	return list
}

// alike says whether two alternatives compare the same bits of one argument,
// each with a constant.
func alike(a, b []condition) bool {
	return len(a) == 1 && len(b) == 1 &&
		a[0].index == b[0].index && a[0].mask == b[0].mask &&
		a[0].op == b[0].op && (a[0].op == "eq" || a[0].op == "masked_eq")
}

// A stage is one filter to be made by libseccomp.
type stage struct {
	target
	rules []stageRule
	// fallback answers what no rule does, bad a call of another architecture.
	fallback, bad Action
	// from is the first number of a stage's later part, 0 for the first one; see
	// parts.
	from uint32
}

// compile compiles for every target.
func (l *lowered) compile(c libseccompCompiler, a Arch, targets []target) (Filter, error) {
	var list []stage
	var ends []int // of each target
	for i, t := range targets {
		bad := markNextArch
		if i == len(targets)-1 {
			bad = ActionKillProcess
		}
		list = append(list, l.stagesFor(t, bad)...)
		ends = append(ends, len(list))
	}
	texts, err := c.compile(list)
	if err != nil {
		return nil, err
	}
	var parts [][][]instruction
	begin := 0
	for _, end := range ends {
		parts = append(parts, gather(list[begin:end], texts[begin:end]))
		begin = end
	}
	f := assemble(append(l.prelude(a), join(parts)...))
	if err := f.Check(); err != nil {
		return nil, fmt.Errorf("the policy does not fit into a filter: %w", err)
	}
	return f, nil
}

// stagesFor makes the stages of one target.
func (l *lowered) stagesFor(t target, bad Action) (list []stage) {
	calls := l.calls
	if !t.tabled {
		calls = withVariants(slices.Clip(calls))
	}
	dealt := l.stages(calls)
	for i, rules := range dealt {
		fallback := markNextStage
		if i == len(dealt)-1 {
			fallback = l.fallback
		}
		s := stage{t, rules, fallback, bad, 0}
		list = append(list, s.parts()...)
	}
	return list
}

// finish takes what libseccomp has made of a stage. A tabled target is compiled
// as the native one, see compile_libseccomp.go.
func (s *stage) finish(f Filter) ([]instruction, error) {
	if err := f.Check(); err != nil {
		return nil, fmt.Errorf("libseccomp: %w", err)
	}
	text := f.instructions()
	if s.tabled && s.arch != Native() {
		retarget(text, s.arch)
	}
	return text, nil
}

// retarget changes the architecture that a filter asks for.
func retarget(text []instruction, a Arch) {
	for i := 1; i < len(text); i++ {
		if text[i-1].code == ldAbs && text[i-1].k == offsetArch && text[i].code == jeqK {
			text[i].k = uint32(a)
		}
	}
}

// prelude answers calls behind the end of the table, which libseccomp cannot
// express. Numbers from 0x40000000 are x32's and not newer.
func (l *lowered) prelude(a Arch) []instruction {
	if l.newer == l.fallback {
		return nil
	}
	const x32 = 0x40000000
	return []instruction{
		{ldAbs, 0, 0, offsetNr},
		{jgtK, 0, 4, uint32(Last(a))},
		{jgeK, 3, 0, x32},
		{ldAbs, 0, 0, offsetArch},
		{jeqK, 0, 1, uint32(a)},
		{retK, 0, 0, uint32(l.newer)},
	}
}

// join concatenates the stages of all targets, markers made into jumps.
func join(parts [][][]instruction) []instruction {
	var out []instruction
	for _, stages := range parts {
		end := 0 // of this target
		for _, s := range stages {
			end += len(s)
		}
		end += len(out)
		for _, s := range stages {
			next := len(out) + len(s)
			for _, in := range s {
				if in.code == retK {
					switch Action(in.k) {
					case markNextStage:
						in = instruction{ja, 0, 0, uint32(next - len(out) - 1)}
					case markNextArch:
						in = instruction{ja, 0, 0, uint32(end - len(out) - 1)}
					}
				}
				out = append(out, in)
			}
		}
	}
	return out
}
