package seccomp

import (
	"fmt"
	"slices"
	"strings"
)

// Contradictions returns a sentence for every call that a policy, not merged
// with others, names with different answers on one and the same condition, and
// which answer holds. A name beside a group that has it is an exception to the
// group, and none.
func (p *Policy) Contradictions() []string {
	if p == nil {
		return nil
	}
	said := map[string]statement{} // by call and condition: a text can have many
	told := map[string]bool{}      // once each
	var out []string
	for _, s := range p.statements() {
		key := s.call
		if len(s.args) > 0 {
			key += fmt.Sprintf(" %+v", s.args)
		}
		before, is := said[key]
		switch {
		case !is:
			said[key] = s
		case before.answer != s.answer:
			winner := before
			if s.strength() > winner.strength() {
				winner = s
			}
			if !told[s.call] {
				told[s.call] = true
				out = append(out, fmt.Sprintf("%s has both %q and %q for an answer: %q holds", s.call, before.answer, s.answer, winner.answer))
			}
			said[key] = winner
		}
	}
	return out
}

// A statement is what a policy says of one call by its name.
type statement struct {
	call   string
	args   []Arg
	answer string // "allow", "errno EPERM"
}

// strength orders statements as Policy says: a denial beats an allowance.
func (s statement) strength() int {
	action, _, _ := strings.Cut(s.answer, " ")
	return slices.Index([]string{"allow", "log", "notify", "errno", "kill"}, action)
}

// statements lists what the policy says by name, in the order written.
func (p *Policy) statements() []statement {
	errno := p.Errno
	if errno == "" {
		errno = "EPERM"
	}
	rules := append([]Rule{{Calls: p.Allow, Action: "allow"}, {Calls: p.Deny, Action: "errno"}}, p.Rules...)
	var list []statement
	for _, r := range rules {
		answer := r.Action
		if answer == "errno" {
			answer += " " + errno
			if r.Errno != "" {
				answer = "errno " + r.Errno
			}
		}
		for _, call := range r.Calls {
			if !strings.HasPrefix(call, "@") {
				list = append(list, statement{call, r.Args, answer})
			}
		}
	}
	return list
}
