package main

import (
	"fmt"
	"os"
	"strings"

	"hutch/runner"
)

// explained prints what a run was refused, on standard error: the application
// owns the other.
func explained(denied []runner.Denial, level string) {
	const width = 80
	bold, dim, red := errorColours()
	if len(denied) == 0 {
		by := "by the filter or by a limit"
		if level == runner.ExplainAll {
			by = "by the filter, a limit or the kernel"
		}
		fmt.Fprintln(os.Stderr, "hutch: nothing was refused "+by)
		return
	}
	total := int64(0)
	for _, d := range denied {
		total += d.Count
	}
	fmt.Fprintf(os.Stderr, "hutch: refused %s:\n", times(total))
	for _, d := range denied {
		call := d.Name
		switch {
		case d.What == "syscall":
			call += "(" + strings.Join(d.Args, ", ") + ")"
		case len(d.Args) > 0:
			call += ", by " + d.Args[0]
		}
		fmt.Fprintf(os.Stderr, "\n%s\n", bold(wrap("  ", "      ", printable(call), width)))
		row := func(key, text string, paint func(string) string) {
			if text != "" {
				fmt.Fprintf(os.Stderr, "    %-9s%s\n", key, paint(strings.TrimLeft(wrap("             ", "             ", printable(text), width), " ")))
			}
		}
		plain := func(s string) string { return s }
		answer := d.Errno
		if d.What == "path" && answer == "" {
			answer = "an empty file or directory in its place"
		}
		row("answer", fmt.Sprintf("%s, %s, first after %.3f s", answer, times(d.Count), d.FirstSeconds), plain)
		by := d.Program
		if d.Caller != "" {
			by += " in " + d.Caller
		}
		row("by", by, dim)
		row("allow", d.Hint, plain)
		row("danger", d.Warning, red)
	}
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return several(int(n), "time")
}

// errorColours are for standard error: none without a terminal, or where the
// user asks for none, no-color.org.
func errorColours() (bolder, dimmer, redder func(string) string) {
	in := func(colour string) func(string) string {
		return func(s string) string {
			if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !isTerminal(os.Stderr) {
				return s
			}
			return colour + s + "\x1b[0m"
		}
	}
	return in(bold), in(dim), in(red)
}

// wrap breaks text into lines of a width: at blanks, or in a word that is
// longer than a line.
func wrap(first, rest, text string, width int) string {
	var lines []string
	line := first
	empty := true
	for _, word := range strings.Split(text, " ") {
		letters := []rune(word)
		if !empty && len([]rune(line))+1+len(letters) > width {
			lines, line, empty = append(lines, line), rest, true
		}
		if !empty {
			line += " "
		}
		for len([]rune(line))+len(letters) > width {
			n := width - len([]rune(line))
			lines, line, letters = append(lines, line+string(letters[:n])), rest, letters[n:]
		}
		line, empty = line+string(letters), false
	}
	return strings.Join(append(lines, line), "\n")
}
