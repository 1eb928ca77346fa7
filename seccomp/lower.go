package seccomp

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A lowered policy has numbers for words, and for each call the list of
// answers in the order in which they are to be tried.
type lowered struct {
	fallback Action // for calls that nothing decides
	newer    Action // for calls behind the end of the table
	calls    []loweredCall
}

// A loweredCall is one call with its answers, sorted by name in a lowered policy.
type loweredCall struct {
	name    string
	answers []answer
}

// An answer is an action under a list of alternative conditions; no alternative
// means always. Only the last answer of a call may hold always.
type answer struct {
	action       Action
	alternatives [][]condition
}

// A condition is one comparison, with the numbers of an Arg.
type condition struct {
	index       uint
	op          string
	value, mask uint64
}

// A clause is one rule about one call, with what decides its place.
type clause struct {
	name       string
	rank       int
	plain      bool // without conditions
	grouped    bool // by a group, not by its name
	strictness int
	sequence   int
	action     Action
	conditions []condition
}

// Check looks for every mistake that Compile would find, without compiling. The
// error is a *FieldError.
func (p *Policy) Check() error {
	_, err := p.lower()
	return err
}

// lower checks the policy and sorts it.
func (p *Policy) lower() (*lowered, error) {
	errno, err := parseErrno(p.Errno, unix.EPERM)
	if err != nil {
		return nil, &FieldError{"errno", err}
	}
	l := &lowered{}
	if l.fallback, err = p.fallback(errno); err != nil {
		return nil, &FieldError{"default", err}
	}
	if l.newer, err = p.newer(l.fallback); err != nil {
		return nil, &FieldError{"newer", err}
	}
	for i, name := range p.Architectures {
		if err := checkArchitecture(name); err != nil {
			return nil, &FieldError{fmt.Sprintf("architectures[%d]", i), err}
		}
	}
	clauses, err := p.clauses(errno)
	if err != nil {
		return nil, err
	}
	l.calls = order(clauses)
	return l, nil
}

func (p *Policy) fallback(e syscall.Errno) (Action, error) {
	switch p.Default {
	case "":
		return actionErrno(e), nil
	case "notify":
		return 0, errors.New("\"notify\" is not for every call: name the calls in rules")
	}
	return parseAction(p.Default, e)
}

func (p *Policy) newer(fallback Action) (Action, error) {
	switch p.Newer {
	case "", "enosys":
		if fallback.Kind() == ActionErrno || fallback == ActionKillProcess {
			return actionErrno(unix.ENOSYS), nil
		}
		return fallback, nil
	case "default":
		return fallback, nil
	}
	return 0, unknown("word", p.Newer, []string{"enosys", "default"})
}

// clauses takes the rules apart, a clause for each call.
func (p *Policy) clauses(e syscall.Errno) ([]clause, error) {
	var list []clause
	add := func(path string, words []string, c clause) error {
		c.strictness = strictness(c.action)
		for i, word := range words {
			names, err := expand(word)
			if err != nil && p.skips(word, c.action) {
				continue
			}
			if err != nil {
				return &FieldError{fmt.Sprintf("%s[%d]", path, i), err}
			}
			for _, name := range names {
				c.name, c.grouped, c.sequence = name, name != word, len(list)
				list = append(list, c)
			}
		}
		return nil
	}
	if err := add("allow", p.Allow, clause{plain: true, action: ActionAllow}); err != nil {
		return nil, err
	}
	if err := add("deny", p.Deny, clause{plain: true, action: actionErrno(e)}); err != nil {
		return nil, err
	}
	for i := range p.Rules {
		path := fmt.Sprintf("rules[%d]", i)
		c, err := p.Rules[i].clause(path, e)
		if err != nil {
			return nil, err
		}
		if err := add(path+".calls", p.Rules[i].Calls, c); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// clause returns what a rule says of each of its calls.
func (r *Rule) clause(path string, e syscall.Errno) (clause, error) {
	c := clause{rank: r.Rank, plain: len(r.Args) == 0}
	if len(r.Calls) == 0 {
		return c, &FieldError{path + ".calls", errors.New("a rule must name a call or a group")}
	}
	if r.Errno != "" && r.Action != "errno" {
		return c, &FieldError{path + ".errno", fmt.Errorf("goes with action \"errno\", not with %q", r.Action)}
	}
	e, err := parseErrno(r.Errno, e)
	if err != nil {
		return c, &FieldError{path + ".errno", err}
	}
	if c.action, err = parseAction(r.Action, e); err != nil {
		return c, &FieldError{path + ".action", err}
	}
	var seen [6]bool
	for i, a := range r.Args {
		at := fmt.Sprintf("%s.args[%d]", path, i)
		cond, err := a.condition(at)
		if err != nil {
			return c, err
		}
		if seen[a.Index] {
			return c, &FieldError{at + ".index", fmt.Errorf("argument %d is compared twice: write a rule for each", a.Index)}
		}
		seen[a.Index] = true
		c.conditions = append(c.conditions, cond)
	}
	return c, nil
}

func (a *Arg) condition(path string) (condition, error) {
	c := condition{index: uint(a.Index), op: a.Op}
	if a.Index < 0 || a.Index > 5 {
		return c, &FieldError{path + ".index", fmt.Errorf("%d: arguments count from 0 to 5", a.Index)}
	}
	ops := []string{"eq", "ne", "lt", "le", "gt", "ge", "masked_eq"}
	if !slices.Contains(ops, a.Op) {
		return c, &FieldError{path + ".op", unknown("comparison", a.Op, ops)}
	}
	var err error
	if c.value, err = a.Value.number(); err != nil {
		return c, &FieldError{path + ".value", err}
	}
	if a.Op != "masked_eq" {
		if a.Mask != "" {
			return c, &FieldError{path + ".mask", fmt.Errorf("goes with \"masked_eq\", not with %q", a.Op)}
		}
		return c, nil
	}
	if c.mask, err = a.Mask.number(); err != nil {
		return c, &FieldError{path + ".mask", err}
	}
	if c.value&^c.mask != 0 {
		return c, &FieldError{path + ".value", fmt.Errorf("%#x has bits outside of the mask %#x: nothing would match", c.value, c.mask)}
	}
	return c, nil
}

// expand returns the calls that a word of a policy stands for.
func expand(word string) ([]string, error) {
	if strings.HasPrefix(word, "@") {
		if calls := Group(word); calls != nil {
			return calls, nil
		}
		return nil, unknown("group", word, Groups())
	}
	if !known(word) {
		return nil, unknown("system call", word, append(Names(ArchX86_64), Names(ArchAArch64)...))
	}
	return []string{word}, nil
}

// known says whether some architecture has a call of that name.
func known(name string) bool {
	if _, ok := Number(ArchX86_64, name); ok {
		return true
	}
	if _, ok := Number(ArchAArch64, name); ok {
		return true
	}
	_, ok := variant(name)
	return ok
}

// strictness orders actions of the same rank: the smaller is tried first.
func strictness(a Action) int {
	switch a.Kind() {
	case ActionKillProcess:
		return 0
	case ActionErrno:
		return 1
	case ActionNotify:
		return 2
	case ActionLog:
		return 3
	}
	return 4
}

// order sorts clauses as the comment on Policy promises and folds them into
// answers. What stands behind an unconditional answer is dropped.
func order(clauses []clause) []loweredCall {
	slices.SortStableFunc(clauses, func(a, b clause) int {
		return cmp.Or(
			cmp.Compare(a.name, b.name),
			cmp.Compare(a.rank, b.rank),
			compareBool(a.plain, b.plain),
			cmp.Compare(a.strictness, b.strictness),
			cmp.Compare(a.sequence, b.sequence),
		)
	})
	var calls []loweredCall
	for i, c := range clauses {
		if c.plain && c.grouped && c.action == ActionAllow && narrowed(clauses[i:], c) {
			continue
		}
		if len(calls) == 0 || calls[len(calls)-1].name != c.name {
			calls = append(calls, loweredCall{name: c.name})
		}
		calls[len(calls)-1].add(c)
	}
	return calls
}

// narrowed says whether a farther profile has something to say against a call,
// by its name. rest begins with the clauses of the call that follow c.
func narrowed(rest []clause, c clause) bool {
	for _, d := range rest {
		if d.name != c.name {
			return false
		}
		if d.rank > c.rank && !d.grouped && (d.action != ActionAllow || !d.plain) {
			return true
		}
	}
	return false
}

// add appends a clause to the answers of its call.
func (l *loweredCall) add(c clause) {
	n := len(l.answers)
	switch {
	case n > 0 && l.answers[n-1].always():
		return
	case n > 0 && l.answers[n-1].action == c.action:
		if c.plain {
			l.answers[n-1].alternatives = nil
		} else {
			l.answers[n-1].alternatives = append(l.answers[n-1].alternatives, c.conditions)
		}
	case c.plain:
		l.answers = append(l.answers, answer{action: c.action})
	default:
		l.answers = append(l.answers, answer{c.action, [][]condition{c.conditions}})
	}
}

func (a *answer) always() bool { return a.alternatives == nil }

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Known says whether some architecture has a call of that name.
func Known(name string) bool { return known(name) }

// Conflicts returns the calls, sorted, that have rules with another action on
// their arguments beside one without: where libseccomp itself drops the former.
func (p *Policy) Conflicts() []string {
	l, err := p.lower()
	if err != nil {
		return nil
	}
	var names []string
	for _, c := range l.calls {
		if n := len(c.answers); n > 1 && c.answers[n-1].always() {
			names = append(names, c.name)
		}
	}
	return names
}

// skips says whether a word is left out for being unknown: the name of a call
// that the policy refuses in any case, and that is not a slip of the keyboard.
// Allowed, or refused where the default allows, it is an error: that would be a
// hole, or a program that does not run.
func (p *Policy) skips(word string, a Action) bool {
	refused := a.Kind() == ActionErrno || a == ActionKillProcess
	refuses := p.Default == "" || p.Default == "errno" || p.Default == "kill"
	return refused && refuses && !strings.HasPrefix(word, "@") &&
		Nearest(word, append(Names(ArchX86_64), Names(ArchAArch64)...)) == ""
}

// Unknown returns the names that Compile leaves out because no table has them,
// and their call is refused without them. The policy has passed Check.
func (p *Policy) Unknown() []string {
	if p == nil {
		return nil
	}
	var names []string
	add := func(words []string, refused bool) {
		for _, word := range words {
			if refused && !strings.HasPrefix(word, "@") && !known(word) {
				names = append(names, word)
			}
		}
	}
	add(p.Deny, true)
	for _, r := range p.Rules {
		add(r.Calls, r.Action == "errno" || r.Action == "kill")
	}
	return names
}
