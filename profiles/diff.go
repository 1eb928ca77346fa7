package profiles

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"hutch/seccomp"
)

// A Difference is one thing in which profile B differs from A.
type Difference struct {
	// Kind is "more" (B allows it and A does not), "less", or "other".
	Kind string `json:"kind"`
	// Key is the path of a key, or "seccomp" for system calls.
	Key string `json:"key"`
	// Calls are the system calls, with the same Text for all.
	Calls []string `json:"calls,omitempty"`
	// Text says what it is in A and in B.
	Text string `json:"text"`
}

// The kinds of Difference.
const (
	More  = "more"
	Less  = "less"
	Other = "other"
)

// Diff says what b allows more and less than a: by what the filters answer, not
// by how they are written, and for the other keys by their values.
func Diff(a, b *Profile) ([]Difference, error) {
	calls, err := diffCalls(a.Seccomp, b.Seccomp)
	if err != nil {
		return nil, err
	}
	list := append(calls, diffKeys("", reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem())...)
	slices.SortStableFunc(list, func(x, y Difference) int {
		order := []string{More, Less, Other}
		return slices.Index(order, x.Kind) - slices.Index(order, y.Kind)
	})
	return list, nil
}

// diffCalls groups the calls by what changes.
func diffCalls(a, b *seccomp.Policy) ([]Difference, error) {
	open := &seccomp.Policy{Default: "allow"} // no policy refuses nothing
	if a == nil {
		a = open
	}
	if b == nil {
		b = open
	}
	before, err := a.Answers()
	if err != nil {
		return nil, err
	}
	after, err := b.Answers()
	if err != nil {
		return nil, err
	}
	var list []Difference
	for i, x := range before {
		y := after[i]
		if x.Text == y.Text {
			continue
		}
		d := Difference{Kind: Other, Key: "seccomp", Text: x.Text + " → " + y.Text}
		if y.Access > x.Access {
			d.Kind = More
		} else if y.Access < x.Access {
			d.Kind = Less
		}
		same := func(o Difference) bool { return o.Kind == d.Kind && o.Text == d.Text }
		if at := slices.IndexFunc(list, same); at >= 0 {
			list[at].Calls = append(list[at].Calls, x.Call)
			continue
		}
		d.Calls = []string{x.Call}
		list = append(list, d)
	}
	for i := range list {
		slices.Sort(list[i].Calls)
	}
	return list, nil
}

// diffKeys compares all keys but those that are about the text itself.
func diffKeys(path string, a, b reflect.Value) []Difference {
	var list []Difference
	for i := range a.NumField() {
		key := dotted(path, a.Type().Field(i).Tag.Get("toml"))
		switch key {
		case "-", "version", "description", "extends", "seccomp":
			continue
		}
		x, y := a.Field(i), b.Field(i)
		switch {
		case x.Kind() == reflect.Struct:
			list = append(list, diffKeys(key, x, y)...)
		case x.Kind() == reflect.Slice && strings.HasPrefix(key, "landlock."):
			list = append(list, diffNarrowed(key, x, y)...)
		case isList(x):
			list = append(list, diffLists(key, x.Interface().([]string), y.Interface().([]string))...)
		case !reflect.DeepEqual(x.Interface(), y.Interface()):
			list = append(list, Difference{Kind: direction(key, x, y), Key: key, Text: shown(x) + " → " + shown(y)})
		}
	}
	return list
}

func isList(v reflect.Value) bool { return v.Type() == reflect.TypeFor[[]string]() }

// diffLists names what only one of two lists has.
func diffLists(key string, a, b []string) []Difference {
	if key == "capabilities.keep" && (a == nil) != (b == nil) {
		kind := More
		if a == nil {
			kind = Less
		}
		return []Difference{{Kind: kind, Key: key, Text: keeps(a) + " → " + keeps(b)}}
	}
	var list []Difference
	gained, lost := Other, Other
	switch key {
	case "filesystem.bind", "filesystem.tmpfs", "capabilities.keep", "capabilities.add",
		"landlock.read", "landlock.list", "landlock.write", "landlock.execute", "landlock.connect", "landlock.bind":
		gained, lost = More, Less
	case "filesystem.hidden", "filesystem.protected", "capabilities.drop":
		gained, lost = Less, More
	}
	for _, s := range b {
		if !slices.Contains(a, s) {
			list = append(list, Difference{Kind: gained, Key: key, Text: "has " + s})
		}
	}
	for _, s := range a {
		if !slices.Contains(b, s) {
			list = append(list, Difference{Kind: lost, Key: key, Text: "has no " + s})
		}
	}
	return list
}

// diffNarrowed compares two lists of all that is left; one that is not said
// leaves everything.
func diffNarrowed(key string, a, b reflect.Value) []Difference {
	words := func(v reflect.Value) []string {
		list := make([]string, v.Len())
		for i := range list {
			list[i] = fmt.Sprint(v.Index(i).Interface())
		}
		return list
	}
	x, y := words(a), words(b)
	switch {
	case a.IsNil() && b.IsNil():
		return nil
	case a.IsNil():
		return []Difference{{Kind: Less, Key: key, Text: "not narrowed → " + leaves(y)}}
	case b.IsNil():
		return []Difference{{Kind: More, Key: key, Text: leaves(x) + " → not narrowed"}}
	}
	return diffLists(key, x, y)
}

func leaves(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return "only " + strings.Join(list, ", ")
}

func keeps(list []string) string {
	switch {
	case list == nil:
		return "the default"
	case len(list) == 0:
		return "none"
	}
	return strings.Join(list, ", ")
}

// direction says whether b allows more than a by a value of its own.
func direction(key string, a, b reflect.Value) string {
	table, name, _ := strings.Cut(key, ".")
	switch {
	case table == "limits" || key == "filesystem.disk" || key == "filesystem.inodes":
		if name == "cpuset" || name == "cpu_weight" || name == "grace" {
			return Other
		}
		if x, y := limit(a), limit(b); x < y {
			return More
		}
		return Less
	case key == "network.mode":
		if b.String() == "host" {
			return More
		}
		if a.String() == "host" {
			return Less
		}
	case table == "landlock" || key == "filesystem.read_only":
		x, y := strictness(a), strictness(b)
		if x > y {
			return More
		}
		return Less
	}
	return Other
}

// limit is a value as a number; none is the greatest.
func limit(v reflect.Value) float64 {
	const none = 1e300
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return none
		}
		return float64(v.Elem().Int())
	}
	switch {
	case v.IsZero():
		return none
	case v.Kind() == reflect.Float64:
		return v.Float()
	}
	return float64(v.Int())
}

// strictness orders the words of a switch: false, not said, true.
func strictness(v reflect.Value) int {
	switch {
	case v.IsNil():
		return 1
	case v.Elem().Bool():
		return 2
	}
	return 0
}

func shown(v reflect.Value) string {
	if v.IsZero() {
		return "not said"
	}
	return literal(v)
}
