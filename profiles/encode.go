package profiles

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"hutch/seccomp"
)

// An Encoder writes a profile as text for people, which Decode reads back.
type Encoder struct {
	// Above returns what stands as a comment over the key at a path, the same
	// paths as in errors ("seccomp.allow", "seccomp.rules[1]"); it may have
	// several lines. Behind is for the end of the line. "" means none, and so
	// does a nil function.
	Above, Behind func(path string) string
}

// Encode writes all that the profile says and nothing else. A merged profile
// is shown with its farther rules last; read back, they would all be as near.
func (p *Profile) Encode(w io.Writer) error { return Encoder{}.Encode(w, p) }

// lineWidth is where lists are broken, so that a terminal shows them whole.
const lineWidth = 80

// Encode writes the profile; see Profile.Encode.
func (e Encoder) Encode(w io.Writer, p *Profile) error {
	t := &tomlWriter{Encoder: e}
	t.table("", reflect.ValueOf(p).Elem())
	_, err := w.Write(bytes.TrimLeft(t.out.Bytes(), "\n"))
	return err
}

type tomlWriter struct {
	Encoder
	out bytes.Buffer
}

// table writes the plain keys of a table, then the tables in it.
func (t *tomlWriter) table(path string, v reflect.Value) {
	var later []int
	head := path != ""
	for i := range v.NumField() {
		key, field := v.Type().Field(i).Tag.Get("toml"), v.Field(i)
		switch {
		case key == "-" || unsaid(field):
		case isTable(field) || isLongMap(key, field):
			later = append(later, i)
		default:
			if head {
				fmt.Fprintf(&t.out, "\n")
				t.above(path)
				fmt.Fprintf(&t.out, "[%s]\n", path)
				head = false
			}
			t.pair(dotted(path, key), key, field)
		}
	}
	for _, i := range later {
		key, field := v.Type().Field(i).Tag.Get("toml"), v.Field(i)
		if field.Kind() == reflect.Pointer {
			field = field.Elem()
		}
		if m, ok := field.Interface().(map[string]string); ok {
			t.mapTable(dotted(path, key), m)
			continue
		}
		if field.Kind() != reflect.Slice {
			t.table(dotted(path, key), field)
			continue
		}
		for n := range field.Len() {
			t.element(fmt.Sprintf("%s[%d]", dotted(path, key), n), dotted(path, key), field.Index(n))
		}
	}
}

// isLongMap says whether a map has no room in one line.
func isLongMap(key string, v reflect.Value) bool {
	m, ok := v.Interface().(map[string]string)
	return ok && len(key+" = "+inlineMap(m)) > lineWidth
}

// mapTable writes a map under a header of its own.
func (t *tomlWriter) mapTable(path string, m map[string]string) {
	fmt.Fprintf(&t.out, "\n")
	t.above(path)
	fmt.Fprintf(&t.out, "[%s]\n", path)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		text := quotedKey(key) + " = " + quoted(m[key])
		if len(text) > lineWidth {
			text = quotedKey(key) + " = " + folded(m[key], "  ")
		}
		t.line(text, t.behind(path+"."+key))
	}
}

// element writes one table of a list.
func (t *tomlWriter) element(at, path string, v reflect.Value) {
	fmt.Fprintf(&t.out, "\n")
	t.above(at)
	t.line("[["+path+"]]", t.behind(at))
	for i := range v.NumField() {
		key, field := v.Type().Field(i).Tag.Get("toml"), v.Field(i)
		if key != "-" && !unsaid(field) {
			t.pair(at+"."+key, key, field)
		}
	}
}

func (t *tomlWriter) pair(path, key string, v reflect.Value) {
	t.above(path)
	if v.Kind() == reflect.Slice {
		fmt.Fprintf(&t.out, "%s = ", key)
		t.list(path, len(key)+len(" = "), v)
		return
	}
	text := key + " = " + literal(v)
	if v.Kind() == reflect.String && len(text) > lineWidth {
		text = key + " = " + folded(v.String(), "  ")
	}
	t.line(text, t.behind(path))
}

// line writes a line with what stands behind it, or above it where that would
// be too wide.
func (t *tomlWriter) line(text, behind string) {
	first, _, _ := strings.Cut(text, "\n")
	if (len(first)+len(behind) > lineWidth || first != text) && behind != "" {
		fmt.Fprintf(&t.out, "%s\n%s\n", strings.TrimLeft(behind, " "), text)
		return
	}
	t.out.WriteString(text + behind + "\n")
}

// list writes a list on one line where that fits and no element has a comment,
// else as many elements a line as fit.
func (t *tomlWriter) list(path string, used int, v reflect.Value) {
	words, notes, noted := make([]string, v.Len()), make([]string, v.Len()), false
	for i := range words {
		at := fmt.Sprintf("%s[%d]", path, i)
		words[i] = literal(v.Index(i))
		notes[i] = t.behind(at)
		noted = noted || notes[i] != "" || t.comment(t.Above, at) != ""
		if len(words[i])+len("  ,") > lineWidth {
			words[i] = foldedElement(v.Index(i))
		}
	}
	line := "[" + strings.Join(words, ", ") + "]"
	if behind := t.behind(path); !noted && used+len(line)+len(behind) <= lineWidth && !strings.Contains(line, "\n") {
		t.out.WriteString(line + behind + "\n")
		return
	}
	t.out.WriteString("[" + t.behind(path))
	column := lineWidth
	for i, word := range words {
		if at := fmt.Sprintf("%s[%d]", path, i); t.comment(t.Above, at) != "" {
			t.out.WriteString("\n")
			t.above(at)
			column = 0
		}
		switch {
		case column == 0:
			t.out.WriteString("  ")
		case noted || column+len(word)+2 > lineWidth || folds(words, i):
			t.out.WriteString("\n  ")
			column = 0
		default:
			t.out.WriteString(" ")
		}
		if column == 0 {
			column = 2
		}
		if note := notes[i]; note != "" && (2+len(word)+1+len(note) > lineWidth || strings.Contains(word, "\n")) {
			t.out.WriteString(strings.TrimLeft(note, " ") + "\n  ")
			notes[i] = ""
		}
		t.out.WriteString(word + "," + notes[i])
		column += len(word) + 2
	}
	t.out.WriteString("\n]\n")
}

// folds says whether an element or the one before it has several lines.
func folds(words []string, i int) bool {
	return strings.Contains(words[i], "\n") || i > 0 && strings.Contains(words[i-1], "\n")
}

func (t *tomlWriter) above(path string) {
	if text := t.comment(t.Above, path); text != "" {
		for _, line := range strings.Split(text, "\n") {
			fmt.Fprintf(&t.out, "# %s\n", line)
		}
	}
}

func (t *tomlWriter) behind(path string) string {
	if text := t.comment(t.Behind, path); text != "" {
		return "  # " + strings.ReplaceAll(text, "\n", " ")
	}
	return ""
}

// comment asks f, and takes out what TOML forbids in comments: a program's own
// words can be in one.
func (t *tomlWriter) comment(f func(string) string, path string) string {
	if f == nil {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(f(path), "?"))
}

// unsaid says whether a value is one that a profile does not say. A list that
// is empty but there is said.
func unsaid(v reflect.Value) bool {
	if v.Kind() == reflect.Struct {
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("toml") != "-" && !unsaid(v.Field(i)) {
				return false
			}
		}
		return true
	}
	return v.IsZero()
}

// isTable says whether a value is written under a header of its own. The
// arguments of a rule are not: they stand in its line.
func isTable(v reflect.Value) bool {
	t := elem(v.Type())
	return t.Kind() == reflect.Struct && t != reflect.TypeFor[seccomp.Arg]()
}

// literal writes a value in TOML.
func literal(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch x := v.Interface().(type) {
	case Size:
		if s := x.String(); s != strconv.FormatInt(int64(x), 10) {
			return quoted(s)
		}
	case Duration:
		return quoted(x.String())
	case seccomp.Value:
		if _, err := strconv.ParseInt(string(x), 0, 64); err == nil && !strings.HasPrefix(string(x), "0b") {
			return tomlNumber(string(x))
		}
		return quoted(string(x))
	case seccomp.Arg:
		return inlineArg(x)
	case map[string]string:
		return inlineMap(x)
	}
	switch v.Kind() {
	case reflect.String:
		return quoted(v.String())
	case reflect.Float64:
		s := strconv.FormatFloat(v.Float(), 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	return fmt.Sprint(v.Interface())
}

// tomlNumber keeps a number as it was written where TOML can have it so.
func tomlNumber(s string) string {
	if s == "0" || strings.HasPrefix(s, "0x") || s[0] >= '1' && s[0] <= '9' {
		return s
	}
	return quoted(s)
}

func inlineArg(a seccomp.Arg) string {
	s := fmt.Sprintf("{ index = %d, op = %s, ", a.Index, quoted(a.Op))
	if a.Mask != "" {
		s += "mask = " + literal(reflect.ValueOf(a.Mask)) + ", "
	}
	return s + "value = " + literal(reflect.ValueOf(a.Value)) + " }"
}

func inlineMap(m map[string]string) string {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		words = append(words, quotedKey(key)+" = "+quoted(m[key]))
	}
	return "{ " + strings.Join(words, ", ") + " }"
}

func quotedKey(key string) string {
	const bare = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	if key != "" && strings.Trim(key, bare) == "" {
		return key
	}
	return quoted(key)
}

// quoted is a basic string of TOML, in which control characters are escaped.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r >= 0x7f && r < 0xa0:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func dotted(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Plain returns the profile as maps, lists, strings and numbers under the
// language's keys, for JSON.
func (p *Profile) Plain() (map[string]any, error) {
	var b bytes.Buffer
	if err := p.Encode(&b); err != nil {
		return nil, err
	}
	return plainTOML(b.Bytes())
}
