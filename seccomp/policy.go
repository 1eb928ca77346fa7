// Package seccomp turns a policy about system calls into the BPF program that
// the kernel runs before every call, seccomp(2).
//
// A Policy is words; Compile makes a Filter of it with libseccomp; Load does
// the same through a cache on disk, so that a policy which was compiled before
// never meets the compiler again. Run interprets a filter and Disassemble
// prints one. The package never installs a filter.
package seccomp

// A Policy says which system calls an application may make.
//
// For one call the rules are asked in this order, and the first whose
// arguments match decides; when none does, Default decides:
//
//  1. the rules of the nearer profile, then those of the farther (Rank);
//  2. in one profile, rules with Args, then rules without: a condition is an
//     exception to the plain rule;
//  3. among these kill, errno (in the order written), notify, log, allow: a
//     denial beats an allowance.
//
// A group in Allow, or in a rule without Args, opens no call that a farther
// profile closes or narrows by its name: whoever wants that must name it too.
type Policy struct {
	// Default is the action for calls that no rule decides: "errno" (also when
	// empty), "kill", "allow" or "log".
	Default string `toml:"default" default:"errno" json:"default,omitempty"`
	// Errno is what Default and Deny answer, by name; empty means EPERM.
	Errno string `toml:"errno" default:"EPERM" json:"errno,omitempty"`
	// Newer is the action for calls that are newer than this program, by number:
	// "enosys" (also when empty), so that a C library takes its older way, or
	// "default". It has an effect only where Default is "errno" or "kill".
	Newer string `toml:"newer" default:"enosys" json:"newer,omitempty"`
	// Architectures names what may be called beside the machine's own:
	// "x86", "x32" (on x86_64) and "arm" (on aarch64). Calls of any other
	// architecture kill the process.
	Architectures []string `toml:"architectures" json:"architectures,omitempty"`
	// Allow lists calls to let through: names and groups ("@file").
	Allow []string `toml:"allow" json:"allow,omitempty"`
	// Deny lists calls to refuse with Errno: names and groups.
	Deny []string `toml:"deny" json:"deny,omitempty"`
	// Rules are the rules that need more words.
	Rules []Rule `toml:"rules" json:"rules,omitempty"`
}

// A Rule gives some calls an action, on a condition if there are Args.
type Rule struct {
	// Calls holds names ("openat") and groups ("@file").
	Calls []string `toml:"calls" json:"calls"`
	// Action is "allow", "errno", "kill", "log" (allowed and logged) or "notify".
	Action string `toml:"action" json:"action"`
	// Errno is what "errno" answers, by name.
	Errno string `toml:"errno" default:"the policy's" json:"errno,omitempty"`
	// Args must all hold; at most one for each argument.
	Args []Arg `toml:"args" json:"args,omitempty"`
	// Reason is for people.
	Reason string `toml:"reason" json:"reason,omitempty"`
	// Rank is the distance to the profile that holds the rule, 0 the nearest.
	Rank int `toml:"-" json:"rank,omitempty"`
}

// An Arg is a comparison with one argument of the call, as 64 bits without a
// sign. An argument that the kernel takes as an int has garbage allowed in its
// upper half: compare it by masked_eq with the mask 0xffffffff.
type Arg struct {
	// Index counts from 0 to 5.
	Index int `toml:"index" json:"index"`
	// Op is "eq", "ne", "lt", "le", "gt", "ge" or "masked_eq".
	Op string `toml:"op" json:"op"`
	// Value is compared with.
	Value Value `toml:"value" json:"value"`
	// Mask is laid over the argument first; for masked_eq, and only there.
	Mask Value `toml:"mask" json:"mask,omitempty"`
}

// A Value is a number ("10", "0x5412") or a word of the kernel's headers
// ("AF_INET"), or several of them joined by "|".
type Value string

// UnmarshalText lets a value be written as a bare number in TOML.
func (v *Value) UnmarshalText(text []byte) error {
	*v = Value(text)
	return nil
}

// A FieldError is about one field of a policy.
type FieldError struct {
	// Path names the field: "rules[2].calls[0]".
	Path string
	Err  error
}

func (e *FieldError) Error() string { return e.Path + ": " + e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

// Clone returns a copy that shares nothing with p.
func (p *Policy) Clone() *Policy {
	if p == nil {
		return nil
	}
	c := *p
	c.Architectures = clone(p.Architectures)
	c.Allow = clone(p.Allow)
	c.Deny = clone(p.Deny)
	c.Rules = clone(p.Rules)
	for i := range c.Rules {
		c.Rules[i].Calls = clone(c.Rules[i].Calls)
		c.Rules[i].Args = clone(c.Rules[i].Args)
	}
	return &c
}

func clone[T any](s []T) []T {
	if s == nil {
		return nil
	}
	return append([]T{}, s...)
}
