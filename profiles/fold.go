package profiles

import (
	"reflect"
	"strconv"
	"strings"

	"hutch/seccomp"
)

// folded writes a string of any length in lines that fit, as TOML allows: a
// backslash at the end of a line takes away the line's end and the blanks that
// begin the next. The first line ends behind the opening quotes.
func folded(s, indent string) string {
	pieces := foldable(s)
	if len(pieces) == 0 {
		return `""`
	}
	var out strings.Builder
	out.WriteString(`"""\`)
	column := lineWidth
	for i, piece := range pieces {
		// The text of the next line must not begin with a blank: it would be lost.
		blank := i > 0 && strings.HasPrefix(piece, " ")
		if column+len([]rune(piece))+len(`\`) > lineWidth && !blank {
			if i > 0 {
				out.WriteString(`\`)
			}
			out.WriteString("\n" + indent)
			column = len(indent)
		}
		out.WriteString(piece)
		column += len([]rune(piece))
	}
	if column+len(`""" },`) > lineWidth {
		out.WriteString("\\\n" + indent)
	}
	return out.String() + `"""`
}

// foldable cuts a string, escaped for TOML, where a line may end: behind blanks
// and the signs that lists of words have, and anywhere in what is long without.
// Leading blanks are escaped, as is every blank that would begin a line.
func foldable(s string) []string {
	const longest = 40 // of a piece, so that any indentation leaves room for one
	var pieces []string
	piece, length := "", 0
	end := func() {
		if piece != "" {
			pieces = append(pieces, piece)
		}
		piece, length = "", 0
	}
	for _, r := range s {
		word := quoted(string(r))
		word = word[1 : len(word)-1]
		if r == ' ' && piece == "" {
			word = `\u0020`
		}
		if length+len([]rune(word)) > longest {
			end()
			if r == ' ' {
				word = `\u0020`
			}
		}
		piece += word
		length += len([]rune(word))
		if strings.ContainsRune(" |:,/", r) {
			end()
		}
	}
	end()
	return pieces
}

// foldedElement writes an element of a list so that it fits into lines of its own,
// where that can be: a number does not, however it is written.
func foldedElement(v reflect.Value) string {
	if arg, ok := v.Interface().(seccomp.Arg); ok {
		return foldedArg(arg)
	}
	if v.Kind() == reflect.String {
		return folded(v.String(), "    ")
	}
	return literal(v)
}

// foldedArg is inlineArg in several lines: within the braces of TOML only a
// string may go on in the next line.
func foldedArg(a seccomp.Arg) string {
	s := "{ index = " + strconv.Itoa(a.Index) + ", op = " + quoted(a.Op)
	column := func() int { return len(s) - strings.LastIndexByte("\n"+s, '\n') + 2 }
	part := func(key string, v seccomp.Value, behind string) {
		s += ", " + key + " = "
		text := literal(reflect.ValueOf(v))
		if column()+len(text)+len(behind) > lineWidth {
			text = folded(string(v), "    ")
		}
		s += text
	}
	if a.Mask != "" {
		part("mask", a.Mask, `, value = """\`)
	}
	part("value", a.Value, " },")
	return s + " }"
}
