package profiles

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"hutch/seccomp"
)

// maxInput is the largest profile that is read: people write them by hand.
const maxInput = 1 << 20

var errTooLarge = errors.New("more than 1 MiB: a profile is a short text")

// Decode reads one profile and merges into it what it extends, which lookup
// finds by name. name stands in errors. An error about the text is an *Error.
func Decode(name string, data []byte, lookup func(name string) (*Profile, error)) (*Profile, error) {
	p, err := decodeOne(name, data)
	if err != nil {
		return nil, err
	}
	var parents []*Profile
	for i, parent := range p.Extends {
		q, err := lookup(parent)
		if err != nil {
			return nil, placed(name, data, fmt.Sprintf("extends[%d]", i), err)
		}
		parents = append(parents, q)
	}
	return merge(p, parents), nil
}

// decodeOne reads one profile and checks it, without what it extends.
func decodeOne(name string, data []byte) (*Profile, error) { return decodeText(name, data, true) }

// decodeText is decodeOne, of a text that needs no version where versioned is false.
func decodeText(name string, data []byte, versioned bool) (*Profile, error) {
	if len(data) > maxInput {
		return nil, &Error{File: name, Err: errTooLarge}
	}
	p := &Profile{}
	d := toml.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return nil, decodeError(name, data, err)
	}
	p.Name = profileName(name)
	if !versioned {
		p.Version = Version
	}
	if bad := p.check(); bad != nil {
		return nil, placed(name, data, bad.path, bad.err)
	}
	if path, err := badNumber(data); err != nil {
		return nil, placed(name, data, path, err)
	}
	for _, call := range p.Seccomp.Unknown() {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s: unknown system call %q, which is refused: left out", name, call))
	}
	for _, what := range p.Seccomp.Contradictions() {
		p.Warnings = append(p.Warnings, name+": "+what)
	}
	return p, nil
}

// decodeError turns what go-toml says into an Error.
func decodeError(name string, data []byte, err error) error {
	var missing *toml.StrictMissingError
	if errors.As(err, &missing) && len(missing.Errors) > 0 {
		first := missing.Errors[0]
		line, column := first.Position()
		return at(name, data, line, column, unknownKey(first.Key()))
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		line, column := bad.Position()
		return at(name, data, line, column, errors.New(plain(bad)))
	}
	if path, err := badNumber(data); err != nil {
		return placed(name, data, path, err)
	}
	return &Error{File: name, Err: err}
}

// plain rewrites go-toml's message for people who do not know the Go types.
func plain(e *toml.DecodeError) string {
	message := strings.TrimPrefix(e.Error(), "toml: ")
	if _, key, ok := fieldOf(e.Key()); ok && strings.Contains(message, "cannot decode") {
		return fmt.Sprintf("%s: expected %s", strings.Join(e.Key(), "."), typeWord(key))
	}
	return message
}

// unknownKey says which key of the same table is nearest.
func unknownKey(key toml.Key) error {
	dotted := strings.Join(key, ".")
	table, last := reflect.TypeFor[Profile](), key[len(key)-1]
	for i, word := range key {
		field, ok := fieldNamed(table, word)
		if !ok {
			last, dotted = word, strings.Join(key[:i+1], ".")
			break
		}
		table = elem(field.Type)
	}
	if near := seccomp.Nearest(last, keysOf(table)); near != "" {
		return fmt.Errorf("unknown key %q: did you mean %q?", dotted, near)
	}
	return fmt.Errorf("unknown key %q: known here are %s", dotted, strings.Join(keysOf(table), ", "))
}

// fieldOf follows a dotted key into the types.
func fieldOf(key toml.Key) (reflect.StructField, reflect.Type, bool) {
	t := reflect.TypeFor[Profile]()
	var field reflect.StructField
	for _, word := range key {
		var ok bool
		if field, ok = fieldNamed(t, word); !ok {
			return field, nil, false
		}
		t = elem(field.Type)
	}
	return field, field.Type, len(key) > 0
}

func fieldNamed(t reflect.Type, key string) (reflect.StructField, bool) {
	if t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			if f := t.Field(i); f.Tag.Get("toml") == key {
				return f, true
			}
		}
	}
	return reflect.StructField{}, false
}

// keysOf lists the keys of a table in the order of the type.
func keysOf(t reflect.Type) []string {
	var keys []string
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("toml"); key != "-" && key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

// elem strips pointers and lists.
func elem(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t
}

// typeWord says what a key holds.
func typeWord(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[Size]():
		return "a size, such as \"512M\""
	case reflect.TypeFor[Duration]():
		return "a duration, such as \"1.5s\""
	case reflect.TypeFor[seccomp.Value]():
		return "a number or a word such as \"AF_INET\""
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Uint16:
		return "a port, from 0 to 65535"
	case reflect.Slice:
		switch t.Elem().Kind() {
		case reflect.Uint16:
			return "a list of ports, such as [80, 443]"
		case reflect.Struct:
			return "a list of tables"
		}
		return "a list of strings, such as [\"a\", \"b\"]"
	}
	return "a table"
}

func plainTOML(data []byte) (map[string]any, error) {
	var m map[string]any
	return m, toml.Unmarshal(data, &m)
}
