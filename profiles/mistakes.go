package profiles

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// mostMistakes bounds what Mistakes looks for, and mostRead what it reads for it,
// in bytes: each mistake is a reading of the whole text. Some are always told.
const (
	mostMistakes, fewMistakes = 50, 5
	mostRead                  = 8 << 20
)

// Mistakes returns every mistake that the text of a profile has, in its order,
// as far as they can be told apart: what a mistake hides is found when that is
// corrected. An error is an *Error where it is about the text. Of what the
// profile extends the first mistake of each is told.
//
// It reads the text again and again, each time without the smallest part around
// the mistake that was found. That part becomes blanks, so that places stay.
func Mistakes(path string, dirs ...string) []error {
	data, err := ReadFile(path)
	if err != nil {
		return []error{err}
	}
	l := loader{dirs: dirs, chain: []string{filepath.Clean(path)}}
	s := search{name: path, data: data, text: bytes.Clone(data)}
	most := max(fewMistakes, min(mostMistakes, mostRead/max(len(data), 1)))
	for len(s.found) < most && s.step() {
	}
	if s.rest != nil {
		for i, parent := range s.rest.Extends {
			if _, err := l.extended(path, parent); err != nil {
				s.note(placed(path, s.text, fmt.Sprintf("extends[%d]", i), err))
			}
		}
	}
	slices.SortStableFunc(s.found, func(a, b *Error) int {
		return (a.Line-b.Line)*maxInput + a.Column - b.Column
	})
	var all []error
	for _, e := range s.found {
		all = append(all, e)
	}
	if len(s.found) >= most && s.rest == nil {
		all = append(all, &Error{File: path, Err: fmt.Errorf("there may be more: no more than %d mistakes are looked for at once here", most)})
	}
	return all
}

// A search is one file on its way through Mistakes.
type search struct {
	name       string
	data, text []byte // as it is, and without what was found
	found      []*Error
	rest       *Profile // what is right of it, when nothing else is found
	versioned  bool     // a mistake about the version has been told
}

// step finds the next mistake and takes it out, and says whether to go on.
func (s *search) step() bool {
	p, err := decodeText(s.name, s.text, !s.versioned)
	var e *Error
	switch {
	case err == nil:
		s.rest = p
		return false
	case !errors.As(err, &e):
		s.found = append(s.found, &Error{File: s.name, Err: err})
		return false
	}
	s.note(e)
	if !s.versioned && strings.HasPrefix(e.Err.Error(), "version: ") {
		s.versioned = true
		return e.Line == 0 || s.blank(offset(s.text, e.Line, e.Column))
	}
	return e.Line > 0 && s.blank(offset(s.text, e.Line, e.Column))
}

// note keeps a mistake, with the line as people have written it, and with the
// indexes that things have there.
func (s *search) note(e *Error) {
	if e.Line > 0 {
		e.Source = sourceLine(s.data, e.Line)
		at := offset(s.text, e.Line, e.Column)
		now, before := pathAt(s.text, at), pathAt(s.data, at)
		if rest, ok := strings.CutPrefix(e.Err.Error(), now); ok && now != before && now != "" && before != "" {
			e.Err = errors.New(before + rest)
		}
	}
	s.found = append(s.found, e)
}

// pathAt is what lies at a place of a text, as far as that is TOML, or "".
func pathAt(text []byte, offset int) (found string) {
	walk(text, func(path string, _ *unstable.Node, at uint32) {
		if int(at) == offset {
			found = path
		}
	})
	return found
}

// offset is where a line and a column are, which count from 1.
func offset(text []byte, line, column int) int {
	at := 0
	for range line - 1 {
		at += bytes.IndexByte(text[at:], '\n') + 1
	}
	return min(at+column-1, len(text))
}

// blank takes out what is around a place: an element of a list, else the pair of
// key and value, else the table. It says whether it could.
func (s *search) blank(at int) bool {
	if !validTOML(s.text) {
		from, to := lineAround(s.text, at)
		line := s.text[from:to]
		// A list or a text that is of more lines would leave its rest.
		if unbalanced(line) || !validTOML(s.text[:from]) {
			return false
		}
		return s.clear(from, to) && validOrLater(s.text, to)
	}
	parts := partsOf(s.text)
	for i, p := range parts {
		end := len(s.text)
		if i+1 < len(parts) {
			end = parts[i+1].from
		}
		if at < p.from || at >= end {
			continue
		}
		switch {
		case p.header:
			// With the tables below it: they would become those of the one before.
			for j := i + 1; j < len(parts) && (!parts[j].header || strings.HasPrefix(parts[j].key+".", p.key+".") && parts[j].key != p.key); j++ {
				end = len(s.text)
				if j+1 < len(parts) {
					end = parts[j+1].from
				}
			}
			return s.clear(p.from, end)
		case strings.HasPrefix(p.table+".", "seccomp.rules.") && !p.inElement(at):
			// What is left of a rule would mean something else.
			return s.blank(p.tableFrom)
		}
		for _, e := range p.elements {
			if at >= e[0] && at < e[1] {
				return s.clearElement(e[0], e[1])
			}
		}
		return s.clear(p.from, end)
	}
	return false
}

// clear makes blanks of a part, but for the ends of lines.
func (s *search) clear(from, to int) bool {
	changed := false
	for i := from; i < to; i++ {
		if c := s.text[i]; c != '\n' && c != '\r' && c != ' ' {
			s.text[i], changed = ' ', true
		}
	}
	return changed
}

// clearElement takes an element out of a list, with the comma behind it.
func (s *search) clearElement(from, to int) bool {
	rest := s.text[to:]
	if after := bytes.TrimLeft(rest, " \t\r\n"); len(after) > 0 && after[0] == ',' {
		to += len(rest) - len(after) + 1
	}
	return s.clear(from, to)
}

// lineAround is the line that a place is in.
func lineAround(text []byte, at int) (from, to int) {
	from = bytes.LastIndexByte(text[:at], '\n') + 1
	to = len(text)
	if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
		to = at + i
	}
	return from, to
}

// unbalanced says whether a line opens or closes more than it closes or opens.
func unbalanced(line []byte) bool {
	count := func(s string) int { return bytes.Count(line, []byte(s)) }
	return count("[") != count("]") || count("{") != count("}") || count(`"""`)%2 != 0 || count("'''")%2 != 0
}

// syntaxError is the first place where a text is no TOML, or -1.
func syntaxError(text []byte) int {
	var p unstable.Parser
	p.Reset(text)
	for p.NextExpression() {
	}
	var bad *unstable.ParserError
	switch err := p.Error(); {
	case err == nil:
		return -1
	case errors.As(err, &bad) && len(bad.Highlight) > 0:
		return int(p.Range(bad.Highlight).Offset)
	}
	return 0
}

func validTOML(text []byte) bool { return syntaxError(text) < 0 }

// validOrLater says whether what is wrong with a text, if anything, is behind a
// place: before it would be of our making.
func validOrLater(text []byte, at int) bool {
	bad := syntaxError(text)
	return bad < 0 || bad >= at
}

// A part is a table's header, or a pair of key and value.
type part struct {
	from      int // where its line begins
	header    bool
	key       string // of a header
	table     string // of a pair, the header's key that it is below
	tableFrom int
	elements  [][2]int // of a pair whose value is a list, where each begins and ends
}

func (p *part) inElement(at int) bool {
	return slices.ContainsFunc(p.elements, func(e [2]int) bool { return at >= e[0] && at < e[1] })
}

// partsOf takes a valid text apart.
func partsOf(text []byte) (parts []part) {
	var p unstable.Parser
	p.Reset(text)
	table, tableFrom := "", 0
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.Table && e.Kind != unstable.ArrayTable && e.Kind != unstable.KeyValue {
			continue
		}
		key, at := keyPath(e)
		from, _ := lineAround(text, int(at))
		if e.Kind != unstable.KeyValue {
			table, tableFrom = key, from
			parts = append(parts, part{from: from, header: true, key: key})
			continue
		}
		pair := part{from: from, table: table, tableFrom: tableFrom}
		if v := e.Value(); v.Kind == unstable.Array {
			for c := v.Children(); c.Next(); {
				if raw := c.Node().Raw; c.Node().Kind != unstable.InlineTable && raw.Length > 0 {
					pair.elements = append(pair.elements, [2]int{int(raw.Offset), int(raw.Offset + raw.Length)})
				}
			}
		}
		parts = append(parts, pair)
	}
	return parts
}
