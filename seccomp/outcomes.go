package seccomp

import "slices"

// Outcomes lists every action that f may have for call nr of a, whatever its
// arguments are, in the order of their numbers. Where the filter computes with
// arguments both ways of a test are taken to be possible, so the list may hold
// an action that no arguments bring about, and never lacks one that some do. A
// filter that fails Check kills.
func Outcomes(f Filter, a Arch, nr int) []Action {
	if f.Check() != nil {
		return []Action{ActionKillProcess}
	}
	w := walk{filter: f, data: Data{Arch: a, Nr: int32(nr)}, seen: map[place]bool{}}
	w.from(place{known: true})
	slices.Sort(w.out)
	return slices.Compact(w.out)
}

// Reachable counts the calls of a that every one of filters lets through to
// the kernel for some arguments. Without a filter these are all.
func Reachable(a Arch, filters ...Filter) int {
	n := 0
	for _, c := range table(a) {
		if !slices.ContainsFunc(filters, func(f Filter) bool { return !mayPass(f, a, int(c.nr)) }) {
			n++
		}
	}
	return n
}

// mayPass says whether call nr reaches the kernel, or somebody who may let it.
func mayPass(f Filter, a Arch, nr int) bool {
	return slices.ContainsFunc(Outcomes(f, a, nr), func(o Action) bool {
		switch o.Kind() {
		case ActionKillProcess, ActionKillThread, ActionTrap, ActionErrno:
			return false
		}
		return true
	})
}

// A place is where a walk may be: what the accumulator holds is known unless
// an argument went into it.
type place struct {
	pc    int
	known bool
	a     uint32
}

type walk struct {
	filter Filter
	data   Data
	seen   map[place]bool
	out    []Action
}

// from goes every way from p. Jumps only go forward, so it ends.
func (w *walk) from(p place) {
	for ; !w.seen[p]; p.pc++ {
		w.seen[p] = true
		in := w.filter.at(p.pc)
		switch in.code {
		case retK:
			w.out = append(w.out, Action(in.k))
			return
		case retA:
			if p.known {
				w.out = append(w.out, Action(p.a))
			} else {
				w.out = append(w.out, ActionAllow)
			}
			return
		case ja:
			p.pc += int(in.k)
		case jeqK, jgtK, jgeK, jsetK:
			if !p.known {
				w.from(place{pc: p.pc + 1 + int(in.jt)})
				p.pc += int(in.jf)
			} else if m := (machine{a: p.a}); m.test(in) {
				p.pc += int(in.jt)
			} else {
				p.pc += int(in.jf)
			}
		case jeqX, jgtX, jgeX, jsetX:
			w.from(place{pc: p.pc + 1 + int(in.jt), known: p.known, a: p.a})
			p.pc += int(in.jf)
		default:
			p.known, p.a = w.step(p, in)
		}
	}
}

// step is what in makes of the accumulator. The index register and the scratch
// memory are not followed.
func (w *walk) step(p place, in instruction) (known bool, a uint32) {
	switch in.code {
	case ldAbs:
		if in.k == offsetNr || in.k == offsetArch {
			return true, w.data.word(in.k)
		}
		return false, 0
	case ldImm:
		return true, in.k
	case ldLen:
		return true, dataSize
	case ldxImm, ldxMem, ldxLen, st, stx, tax:
		return p.known, p.a
	case addK, subK, mulK, divK, orK, andK, lshK, rshK, neg, xorK:
		if p.known {
			m := machine{a: p.a}
			m.compute(in)
			return true, m.a
		}
	}
	return false, 0
}
