package profiles

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"hutch/seccomp"
)

// The built-in profiles as people wrote them, for those who want to see where a
// line comes from.
//
//go:embed *.toml
var builtinText embed.FS

// An Origins says where the parts of a merged profile come from.
type Origins struct {
	profile *Profile
	layers  []layer // the nearest first
}

// A layer is one file, before what it extends was merged into it.
type layer struct {
	file   string
	own    *Profile
	places map[string]place
}

// A place is where a value stands.
type place struct {
	line int
	text string // of a string
}

// Trace loads a profile as Load does, and remembers who said what.
func Trace(nameOrPath string, dirs ...string) (*Profile, *Origins, error) {
	p, err := Load(nameOrPath, dirs...)
	if err != nil {
		return nil, nil, err
	}
	l := &loader{dirs: dirs}
	layers, err := l.layers("", nameOrPath)
	if err != nil {
		return nil, nil, err
	}
	return p, &Origins{p, layers}, nil
}

// layers lists a profile's files in the order in which merge asks them.
func (l *loader) layers(from, word string) ([]layer, error) {
	file, data, err := l.text(from, word)
	if err != nil {
		return nil, err
	}
	if l.files++; l.files > maxFiles {
		return nil, fmt.Errorf("more than %d profiles extend each other", maxFiles)
	}
	own, err := decodeOne(file, data)
	if err != nil {
		return nil, err
	}
	l.chain = append(l.chain, file)
	defer func() { l.chain = l.chain[:len(l.chain)-1] }()
	list := []layer{{file, own, places(data)}}
	for _, parent := range slices.Backward(own.Extends) {
		more, err := l.layers(file, parent)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}

// text reads what the file from means by a word; see named and extended.
func (l *loader) text(from, word string) (file string, data []byte, err error) {
	if isPath(word) {
		file = word
		if from != "" && !filepath.IsAbs(word) {
			file = filepath.Join(filepath.Dir(from), word)
		}
		data, err = ReadFile(file)
		return file, data, err
	}
	for _, dir := range l.dirs {
		path := filepath.Join(dir, word+".toml")
		if _, err := os.Stat(path); err == nil && !slices.Contains(l.chain, path) {
			data, err = ReadFile(path)
			return path, data, err
		}
	}
	data, err = builtinText.ReadFile(word + ".toml")
	return word + ".toml", data, err
}

func places(data []byte) map[string]place {
	found := map[string]place{}
	// Counting lines anew for every value would take a minute for a large text.
	var ends []int
	for i, c := range data {
		if c == '\n' {
			ends = append(ends, i)
		}
	}
	walk(data, func(path string, value *unstable.Node, at uint32) {
		if _, seen := found[path]; seen {
			return
		}
		before, _ := slices.BinarySearch(ends, int(at))
		p := place{line: before + 1}
		if value != nil {
			p.text = string(value.Data)
		}
		found[path] = p
	})
	return found
}

// Of returns "file:line" of the value at a path of the merged profile, as errors
// name it ("limits.memory", "filesystem.bind[0]", "seccomp.rules[3]"); several,
// joined, where a table was merged; "" where it has none of its own.
func (o *Origins) Of(path string) string {
	var n int
	if _, err := fmt.Sscanf(path, "seccomp.rules[%d]", &n); err == nil {
		if strings.HasSuffix(path, "]") && strings.Count(path, "[") == 1 {
			return o.rule(o.profile.Seccomp.Rules[n])
		}
		return ""
	}
	if list, ok := strings.CutSuffix(path, "]"); ok {
		list = list[:strings.LastIndexByte(list, '[')]
		if origins := o.elements(list); len(slices.Compact(slices.Clone(origins))) > 1 {
			fmt.Sscanf(path[len(list):], "[%d]", &n)
			return origins[n]
		}
		return ""
	}
	if elements := slices.Compact(o.elements(path)); len(elements) > 1 {
		return ""
	}
	var found []string
	for _, l := range o.layers {
		if p, ok := l.places[path]; ok {
			found = append(found, fmt.Sprintf("%s:%d", l.file, p.line))
			if path != "process.env" {
				break
			}
		}
	}
	return strings.Join(found, ", ")
}

// elements returns the origin of every string in the list at a path.
func (o *Origins) elements(path string) []string {
	list, ok := stringsAt(reflect.ValueOf(o.profile).Elem(), path)
	if !ok {
		return nil
	}
	origins := make([]string, len(list))
	for i, text := range list {
		origins[i] = o.element(path, text)
	}
	return origins
}

func (o *Origins) element(path, text string) string {
	for _, l := range o.layers {
		for at := 0; ; at++ {
			p, ok := l.places[fmt.Sprintf("%s[%d]", path, at)]
			if !ok {
				break
			}
			if p.text == text {
				// The file is enough: a list that was not merged is one place.
				return l.file
			}
		}
	}
	return ""
}

// stringsAt returns the list of strings at a path of keys.
func stringsAt(v reflect.Value, path string) ([]string, bool) {
	for _, key := range strings.Split(path, ".") {
		for v.Kind() == reflect.Pointer && !v.IsNil() {
			v = v.Elem()
		}
		field, ok := fieldNamed(v.Type(), key)
		if !ok {
			return nil, false
		}
		v = v.FieldByIndex(field.Index)
	}
	list, ok := v.Interface().([]string)
	return list, ok
}

// rule looks for the list or rule that a merged rule was made of.
func (o *Origins) rule(r seccomp.Rule) string {
	for _, l := range o.layers {
		if l.own.Seccomp == nil {
			continue
		}
		p := l.own.Seccomp
		at := ""
		switch {
		case len(r.Args) == 0 && r.Action == "allow" && slices.Equal(r.Calls, p.Allow):
			at = "seccomp.allow"
		case len(r.Args) == 0 && r.Action == "errno" && slices.Equal(r.Calls, p.Deny):
			at = "seccomp.deny"
		}
		for i, own := range p.Rules {
			if own.Action == r.Action && own.Reason == r.Reason && slices.Equal(own.Calls, r.Calls) && slices.Equal(own.Args, r.Args) {
				at = fmt.Sprintf("seccomp.rules[%d]", i)
			}
		}
		if place, ok := l.places[at]; ok {
			return fmt.Sprintf("%s:%d", l.file, place.line)
		}
	}
	return ""
}
