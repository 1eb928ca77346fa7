package profiles

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// placed makes an Error at the value that path names ("seccomp.rules[1].args[0].op"),
// or at the nearest thing around it that the text has.
func placed(name string, data []byte, path string, err error) *Error {
	offsets := map[string]uint32{}
	walk(data, func(path string, value *unstable.Node, at uint32) {
		if _, seen := offsets[path]; !seen {
			offsets[path] = at
		}
	})
	for p := path; p != ""; p = parent(p) {
		if offset, ok := offsets[p]; ok {
			line, column := position(data, int(offset))
			return at(name, data, line, column, fmt.Errorf("%s: %w", path, err))
		}
	}
	return &Error{File: name, Err: fmt.Errorf("%s: %w", path, err)}
}

// parent cuts the last key or index off.
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

func position(data []byte, offset int) (line, column int) {
	before := string(data[:min(offset, len(data))])
	return strings.Count(before, "\n") + 1, offset - strings.LastIndexByte(before, '\n')
}

// badNumber finds a number where a number cannot stand: a duration, which TOML
// would take for nanoseconds, or a size with a point. The path is "" if there
// is none.
func badNumber(data []byte) (path string, err error) {
	walk(data, func(at string, value *unstable.Node, _ uint32) {
		if value == nil || err != nil || value.Kind != unstable.Integer && value.Kind != unstable.Float {
			return
		}
		_, t, ok := fieldOf(strings.Split(at, "."))
		switch {
		case ok && elem(t) == reflect.TypeFor[Duration]():
			path, err = at, errors.New("a duration is a string with its unit, such as \"1.5s\" or \"2m\"")
		case ok && elem(t) == reflect.TypeFor[Size]() && value.Kind == unstable.Float:
			path, err = at, errors.New("expected a size: a whole number of bytes, or a string such as \"1.5G\"")
		}
	})
	return path, err
}

// walk visits every table, key and element of a text, in its order; value is
// nil for a table's header. The text has been decoded before, so it is valid.
func walk(data []byte, visit func(path string, value *unstable.Node, at uint32)) {
	var p unstable.Parser
	p.Reset(data)
	table, counts := "", map[string]int{}
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table:
			key, at := keyPath(e)
			table = indexed(key, counts)
			visit(table, nil, at)
		case unstable.ArrayTable:
			key, at := keyPath(e)
			key = indexed(parentKey(key), counts) + key[len(parentKey(key)):]
			table = fmt.Sprintf("%s[%d]", key, counts[key])
			counts[key]++
			visit(table, nil, at)
		case unstable.KeyValue:
			walkPair(e, table, visit)
		}
	}
}

func walkPair(e *unstable.Node, table string, visit func(string, *unstable.Node, uint32)) {
	key, at := keyPath(e)
	if table != "" {
		key = table + "." + key
	}
	if v := e.Value(); v.Kind == unstable.Array {
		visit(key, v, at) // the parser gives a list itself no place
	}
	walkValue(e.Value(), key, visit)
}

func walkValue(v *unstable.Node, path string, visit func(string, *unstable.Node, uint32)) {
	visit(path, v, v.Raw.Offset)
	for i, c := 0, v.Children(); c.Next(); i++ {
		switch v.Kind {
		case unstable.Array:
			walkValue(c.Node(), fmt.Sprintf("%s[%d]", path, i), visit)
		case unstable.InlineTable:
			walkPair(c.Node(), path, visit)
		}
	}
}

// keyPath joins the parts of a key, and says where it begins.
func keyPath(e *unstable.Node) (path string, at uint32) {
	for k, first := e.Key(), true; k.Next(); first = false {
		if first {
			at = k.Node().Raw.Offset
		} else {
			path += "."
		}
		path += string(k.Node().Data)
	}
	return path, at
}

func parentKey(key string) string { return key[:max(strings.LastIndexByte(key, '.'), 0)] }

// indexed puts the index of the last element behind each list of tables that
// has been opened on the way: "seccomp.rules.args" is "seccomp.rules[1].args".
func indexed(key string, counts map[string]int) string {
	path := ""
	for _, word := range strings.Split(key, ".") {
		if path != "" {
			path += "."
		}
		path += word
		if n := counts[path]; n > 0 {
			path = fmt.Sprintf("%s[%d]", path, n-1)
		}
	}
	return path
}
