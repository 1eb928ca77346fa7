package profiles

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// An Error is a mistake in a profile, at a place.
type Error struct {
	// File is the name that the profile was loaded under.
	File string
	// Line and Column count from 1; 0 when the mistake has no place.
	Line, Column int
	// Source is the text of the line.
	Source string
	// Err says what is wrong and, where it can, what would be right.
	Err error
}

// Error returns "file:line:column: message", and below it the line and a caret.
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	head := fmt.Sprintf("%s:%d:%d: %v", e.File, e.Line, e.Column, e.Err)
	if e.Source == "" {
		return head
	}
	return fmt.Sprintf("%s\n  %s\n  %s^", head, e.Source, indent(e.Source, e.Column))
}

func (e *Error) Unwrap() error { return e.Err }

// indent returns blanks as wide as the line is before the column, with its tabs.
func indent(line string, column int) string {
	before := line[:min(max(column-1, 0), len(line))]
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, before)
}

// at makes an Error of a place in data.
func at(file string, data []byte, line, column int, err error) *Error {
	return &Error{File: file, Line: line, Column: column, Source: sourceLine(data, line), Err: err}
}

// sourceLine returns a line for people to see: not endless, and without bytes
// that a terminal would obey.
func sourceLine(data []byte, line int) string {
	const longest = 160
	for range line - 1 {
		_, after, found := bytes.Cut(data, []byte{'\n'})
		if !found {
			return ""
		}
		data = after
	}
	text, _, _ := bytes.Cut(data, []byte{'\n'})
	if len(text) > longest {
		text = text[:longest]
		for len(text) > 0 && !utf8.Valid(text[max(0, len(text)-utf8.UTFMax):]) && longest-len(text) < utf8.UTFMax {
			text = text[:len(text)-1]
		}
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) {
			return '?'
		}
		return r
	}, string(text))
}
