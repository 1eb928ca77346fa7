package main

import (
	"fmt"
	"os"
	"strings"
)

// Colours of the terminal, ECMA-48.
const (
	bold  = "\x1b[1m"
	dim   = "\x1b[2m"
	red   = "\x1b[31m"
	green = "\x1b[32m"
)

// paint colours a text on standard output: not without a terminal, nor where
// the user asks for none, no-color.org.
func paint(colour, text string) string {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !isTerminal(os.Stdout) {
		return text
	}
	return colour + text + "\x1b[0m"
}

// colourTOML dims comments and lifts headers.
func colourTOML(text string) string {
	if paint(dim, "") == "" {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		code, comment, _ := strings.Cut(line, "  # ")
		switch {
		case strings.HasPrefix(line, "#"):
			lines[i] = paint(dim, line)
			continue
		case strings.HasPrefix(line, "["):
			code = paint(bold, code)
		}
		if comment != "" {
			comment = paint(dim, "  # "+comment)
		}
		lines[i] = code + comment
	}
	return strings.Join(lines, "\n")
}

// printWrapped prints words in 80 columns, the first line behind first and the
// others behind rest.
func printWrapped(first, rest, text string) {
	const width = 80
	line := first
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
			line += word
		case len([]rune(line))+1+len([]rune(word)) > width:
			fmt.Fprintln(show, line)
			line = rest + word
		default:
			line += " " + word
		}
	}
	fmt.Fprintln(show, line)
}
