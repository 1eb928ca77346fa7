package main

import (
	"flag"
	"fmt"
	"strings"
)

// A setting is a flag of the library's too. The library's own kinds look
// their names up with a regular expression, many times over, which made a
// twentieth of a whole start; they would also split values at commas, which
// paths may hold.

// Apply adds the flag to the set that parses the command line.
func (s *setting) Apply(set *flag.FlagSet) error {
	set.Var(s, s.name, s.usage)
	return nil
}

// Names is the flag's name.
func (s *setting) Names() []string { return []string{s.name} }

// IsVisible has the flag in the help text.
func (s *setting) IsVisible() bool { return true }

// A short is the one-letter form of a setting. It is a flag of its own, since
// the library refuses to see two names of one flag on a command line.
type short struct{ *setting }

// Apply adds the one-letter form.
func (s short) Apply(set *flag.FlagSet) error {
	set.Var(s.setting, s.alias, s.usage)
	return nil
}

// Names is the letter.
func (s short) Names() []string { return []string{s.alias} }

// IsVisible leaves it to the long form's line.
func (s short) IsVisible() bool { return false }

// IsSet says whether the command line gave it.
func (s *setting) IsSet() bool { return len(s.given) > 0 }

// Set takes a value; of a flag that is no list the last one counts.
func (s *setting) Set(v string) error {
	switch {
	case s.on && v == "false":
		s.given = nil
		return nil
	case s.on && s.or != "" && v != "true" && v != s.or:
		return fmt.Errorf("it takes %s, or no value", s.or)
	case s.on && s.or == "" && v != "true":
		return fmt.Errorf("it takes no value")
	case !s.list:
		s.given = nil
	}
	s.given = append(s.given, v)
	return nil
}

// IsBoolFlag tells package flag that no value follows.
func (s *setting) IsBoolFlag() bool { return s.on }

// String is the line of the help text; package flag also asks a zero value.
func (s *setting) String() string {
	if s.name == "" {
		return ""
	}
	names := "--" + s.name
	if s.alias != "" {
		names += ", -" + s.alias
	}
	value, usage := "", s.usage
	if before, rest, ok := strings.Cut(usage, "`"); ok {
		word, after, _ := strings.Cut(rest, "`")
		value, usage = " "+word, before+word+after
	}
	if s.on {
		value = ""
	}
	return names + value + "\t" + usage
}
