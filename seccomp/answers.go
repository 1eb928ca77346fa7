package seccomp

import (
	"fmt"
	"strings"
)

// An Access says how often a policy lets a call through.
type Access int

// A call is let through never, for some arguments, or always.
const (
	Never Access = iota
	Sometimes
	Always
)

// An Answer is what a policy says to one call.
type Answer struct {
	Call   string
	Access Access
	// Text says it in words: "allow", "errno EPERM", "allow if argument 0 is
	// 0x1, else errno EPERM".
	Text string
}

// Answers returns what the policy says to every call of this machine, in the
// order of their numbers. The policy has passed Check.
func (p *Policy) Answers() ([]Answer, error) {
	l, err := p.lower()
	if err != nil {
		return nil, err
	}
	calls := make(map[string]loweredCall, len(l.calls))
	for _, c := range l.calls {
		calls[c.name] = c
	}
	var list []Answer
	for _, name := range Names(Native()) {
		answers := calls[name].answers
		if n := len(answers); n == 0 || !answers[n-1].always() {
			answers = append(clone(answers), answer{action: l.fallback})
		}
		list = append(list, Answer{name, access(answers), inWords(answers)})
	}
	return list, nil
}

func access(answers []answer) Access {
	through := 0
	for _, a := range answers {
		if a.action == ActionAllow || a.action == ActionLog {
			through++
		}
	}
	switch through {
	case 0:
		return Never
	case len(answers):
		return Always
	}
	return Sometimes
}

func inWords(answers []answer) string {
	var parts []string
	for _, a := range answers {
		var alternatives []string
		for _, conditions := range a.alternatives {
			alternatives = append(alternatives, conditionWords(conditions))
		}
		text := a.action.String()
		if len(alternatives) > 0 {
			text += " if " + strings.Join(alternatives, " or ")
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", else ")
}

func conditionWords(conditions []condition) string {
	var words []string
	for _, c := range conditions {
		what := fmt.Sprintf("argument %d", c.index)
		switch c.op {
		case "masked_eq":
			if c.mask != 0xffffffff {
				what += fmt.Sprintf(" & %#x", c.mask)
			}
			what += " is"
		case "eq":
			what += " is"
		case "ne":
			what += " is not"
		case "lt":
			what += " is below"
		case "le":
			what += " is at most"
		case "gt":
			what += " is above"
		case "ge":
			what += " is at least"
		}
		words = append(words, fmt.Sprintf("%s %#x", what, c.value))
	}
	return strings.Join(words, " and ")
}
