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
	"strconv"
	"strings"
	"unicode"

	"github.com/urfave/cli/v2"

	"hutch/runner"
)

// show is standard output, for what a verb was asked to show. It remembers what
// went wrong: a full disk is no reason to end well.
var show = &output{}

type output struct{ err error }

func (o *output) Write(b []byte) (int, error) { return o.WriteString(string(b)) }

func (o *output) WriteString(s string) (n int, err error) {
	if closedStreams[1] {
		err = errors.New("it is closed") // the runtime has put /dev/null there
	} else {
		n, err = os.Stdout.WriteString(s)
	}
	if o.err == nil {
		o.err = bare(err)
	}
	return n, err
}

// failed is err, or that what was to be shown was not, where err is no other mistake.
func (o *output) failed(err error) error {
	var status exit
	if o.err == nil || err != nil && !errors.As(err, &status) && !errors.Is(err, o.err) {
		return err
	}
	return &runner.Error{Stage: runner.StageRun, Step: "write to standard output", Err: o.err, Hint: "have it go where there is room: it was not shown in full"}
}

// An exit carries the application's status through the cli library.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// exitStatus prints err, if it is one, and says what to exit with.
func exitStatus(err error) int {
	err = noDirectory(show.failed(err))
	if err == nil {
		return 0
	}
	// The end of every run; errors.As would ask package reflect about it first.
	if e, ok := err.(exit); ok {
		return int(e)
	}
	var e exit
	if errors.As(err, &e) {
		return int(e)
	}
	printError(err)
	return runner.ExitStatus(err)
}

// noDirectory says in words what getwd(2) failed at.
func noDirectory(err error) error {
	var call *os.SyscallError
	if !errors.As(err, &call) || call.Syscall != "getwd" {
		return err
	}
	return &runner.Error{
		Stage: runner.StageResolve, Step: strings.Replace(err.Error(), call.Error(), "the working directory is gone", 1),
		Hint: "cd to a directory that is there, or give full paths",
	}
}

func printError(err error) {
	fmt.Fprintf(os.Stderr, "hutch: %s\n", printable(err.Error()))
	hint := runner.Hint(err)
	if hint == "" && runner.ExitStatus(err) != runner.ExitHutch {
		hint = "give a program inside the root, by its name or path"
	}
	if hint != "" {
		fmt.Fprintf(os.Stderr, "hint: %s\n", printable(hint))
	}
}

// longestLine is the bytes of an error that are shown, more than a path has.
const longestLine = 5000

// printable keeps what an image or an argument holds from speaking to the
// terminal, and a long argument from filling it.
func printable(s string) string {
	if len(s) > longestLine {
		s = s[:longestLine/2] + "…" + s[len(s)-longestLine/2:]
	}
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// several is a number of things, whose name takes an s when they are several.
func several(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
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
	hint := c.Command.HelpName + " --help lists the options"
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return misuse(hint, "option %s needs a value", dashed(name))
	}
	if before, takes, ok := strings.Cut(text, ": it takes "); ok {
		if i := strings.LastIndex(before, " for -"); i >= 0 {
			return misuse(hint, "option %s takes %s", dashed(before[i+len(" for -"):]), takes)
		}
	}
	return misuse(hint, "%s", text)
}

// dashed is an option as one types it.
func dashed(name string) string {
	if name = strings.TrimLeft(name, "-"); len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

func unknownFlag(c *cli.Context, name string) error {
	hint := c.Command.HelpName + " --help lists the options"
	var names []string
	for _, f := range c.Command.Flags {
		names = append(names, f.Names()...)
	}
	if near := nearest(name, names); near != "" {
		hint = "did you mean " + dashed(near) + "? " + hint
	}
	return misuse(hint, "no such option: %s", dashed(name))
}

// noArguments refuses what a verb would otherwise ignore.
func noArguments(c *cli.Context) error {
	if !c.Args().Present() {
		return nil
	}
	return misuse("leave it out", "%s takes no argument %q", c.Command.HelpName, c.Args().First())
}

func unknownVerb(name string) error {
	hint := "hutch --help lists the verbs"
	if near := nearest(name, []string{"run", "image", "doctor", "gc", "keep", "profile"}); near != "" {
		hint = "did you mean hutch " + near + "? " + hint
	}
	return misuse(hint, "no such verb: %q", name)
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
