package seccomp

import (
	"cmp"
	"slices"
)

// What libseccomp takes for a filter grows with the square of its rules: 333 of
// them take 1.5 ms longer than in seven filters of a few dozen each. So a large
// stage is made in parts by the numbers of the calls, and a tree of ours before
// them leads to the right one.
//
// Each filter of libseccomp's begins by asking for the architecture. Of a target
// that is asked once, before the first stage: behind it no call of another one
// is left.
const mostRules = 48

// parts cuts a stage whose numbers are known.
func (s *stage) parts() []stage {
	if !s.tabled || len(s.rules) <= mostRules {
		return []stage{*s}
	}
	type numbered struct{ nr, rule int }
	var order []numbered
	for i, r := range s.rules {
		if nr, ok := Number(s.arch, r.name); ok { // the target may lack a call
			order = append(order, numbered{nr, i})
		}
	}
	slices.SortFunc(order, func(a, b numbered) int { return cmp.Or(cmp.Compare(a.nr, b.nr), cmp.Compare(a.rule, b.rule)) })
	count := max(1, (len(order)+mostRules-1)/mostRules)
	var list []stage
	for i := range count {
		part := *s
		part.rules = nil
		for _, n := range order[i*len(order)/count : (i+1)*len(order)/count] {
			part.rules = append(part.rules, s.rules[n.rule])
		}
		if i > 0 {
			part.from = uint32(order[i*len(order)/count].nr)
		}
		list = append(list, part)
	}
	return list
}

// gather makes whole stages of the parts again.
func gather(list []stage, texts [][]instruction) [][]instruction {
	var whole [][]instruction
	for begin := 0; begin < len(list); {
		end := begin + 1
		for end < len(list) && list[end].from > 0 {
			end++
		}
		whole = append(whole, list[begin].whole(list[begin:end], texts[begin:end], begin > 0))
		begin = end
	}
	return whole
}

// whole puts one stage together. A later one is only come to by calls of the
// target's own.
func (s *stage) whole(list []stage, texts [][]instruction, later bool) []instruction {
	bodies := make([][]instruction, len(texts))
	for i, text := range texts {
		body, ok := s.body(text)
		if !ok && len(list) == 1 {
			return text // nothing is wrong with asking again
		} else if !ok {
			return append([]instruction{{ldAbs, 0, 0, offsetNr}}, lead(list, texts)...)
		}
		bodies[i] = body
	}
	if later {
		return append([]instruction{{ldAbs, 0, 0, offsetNr}}, lead(list, bodies)...)
	}
	head := slices.Clone(texts[0][:len(texts[0])-len(bodies[0])])
	bad := instruction{retK, 0, 0, uint32(s.bad)}
	asked := append(head[:1:1], instruction{jeqK, 1, 0, head[1].k}, bad, head[2])
	if len(head) > 3 {
		asked = append(asked, instruction{jgeK, 0, 2, head[3].k}, instruction{jeqK, 1, 0, head[4].k}, bad)
	}
	return append(asked, lead(list, bodies)...)
}

// body is what stands behind the question for the architecture, where it is
// exactly the one that libseccomp asks: of aarch64 three instructions, of x86_64
// six, for x32 has the same architecture. It has the number loaded.
func (s *stage) body(text []instruction) ([]instruction, bool) {
	const x32, skipped = 0x40000000, 0xffffffff
	number := instruction{ldAbs, 0, 0, offsetNr}
	bad := func(at int) bool {
		to := at + 1 + int(text[at].jf)
		return to < len(text) && text[to] == instruction{retK, 0, 0, uint32(s.bad)}
	}
	if len(text) < 4 || text[0] != (instruction{ldAbs, 0, 0, offsetArch}) || text[1].code != jeqK || text[1].jt != 0 || text[1].k != uint32(s.arch) ||
		!bad(1) || text[2] != number {
		return nil, false
	}
	if len(text) < 7 || text[3] != (instruction{jgeK, 0, 1, x32}) {
		return text[3:], true
	}
	if text[4].code != jeqK || text[4].jt != 0 || text[4].k != skipped || !bad(4) || text[5] != number {
		return nil, false
	}
	return text[6:], true
}

// lead goes on to the part that a number, which has been loaded, lies in.
func lead(list []stage, texts [][]instruction) []instruction {
	if len(list) == 1 {
		return texts[0]
	}
	half := len(list) / 2
	below, above := lead(list[:half], texts[:half]), lead(list[half:], texts[half:])
	return slices.Concat([]instruction{
		{jgeK, 0, 1, list[half].from},
		{ja, 0, 0, uint32(len(below))},
	}, below, above)
}
