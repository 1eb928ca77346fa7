package main

// The rules of what hutch prints.
//
//   - Standard output belongs to the application, or to what a verb was asked
//     to show. hutch itself speaks on standard error only.
//   - A run that goes well prints nothing of its own.
//   - An error is one line, "hutch: " and what happened to which object. A
//     second line, "hint: ", says what to do about it.
//   - hutch's own failures exit with 125, a command that cannot be executed
//     with 126, one that is not found with 127; all else is the application's.

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"hutch/runner"
)

// An exit carries the application's status through the cli library.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// exitStatus prints err, if it is one, and says what to exit with.
func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	var e exit
	if errors.As(err, &e) {
		return int(e)
	}
	printError(err)
	return runner.ExitStatus(err)
}

func printError(err error) {
	fmt.Fprintf(os.Stderr, "hutch: %s\n", err)
	if hint := runner.Hint(err); hint != "" {
		fmt.Fprintf(os.Stderr, "hint: %s\n", hint)
	}
}

// misuse is an error of the command line.
func misuse(hint, format string, args ...any) error {
	return &runner.Error{Stage: runner.StageResolve, Step: fmt.Sprintf(format, args...), Hint: hint}
}

// usageError turns the flag library's words into ours.
func usageError(c *cli.Context, err error, _ bool) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		return unknownFlag(c, strings.TrimLeft(name, "-"))
	}
	return misuse(c.Command.HelpName+" --help lists the options", "%s", text)
}

func unknownFlag(c *cli.Context, name string) error {
	hint := c.Command.HelpName + " --help lists the options"
	var names []string
	for _, f := range c.Command.Flags {
		names = append(names, f.Names()...)
	}
	if near := nearest(name, names); near != "" {
		hint = "did you mean --" + near + "? " + hint
	}
	return misuse(hint, "no such option: --%s", name)
}

func commandNotFound(_ *cli.Context, name string) { printError(unknownVerb(name)) }

func unknownVerb(name string) error {
	hint := "hutch --help lists the verbs"
	if near := nearest(name, []string{"run", "doctor", "profile"}); near != "" {
		hint = "did you mean hutch " + near + "? " + hint
	}
	return misuse(hint, "no such verb: %s", name)
}

// nearest is the word of list that is at most two edits away from word, or "".
func nearest(word string, list []string) string {
	best, least := "", 3
	for _, w := range list {
		if len(w) < 3 && w != word {
			continue
		}
		if d := distance(word, w); d < least {
			best, least = w, d
		}
	}
	return best
}

// distance is the number of single edits between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			before, row[j] = row[j], min(row[j]+1, row[j-1]+1, before+cost)
		}
	}
	return row[len(b)]
}
