// Gen writes builtin_gen.go and the *.bpf files: the built-in profiles, merged,
// as Go literals, and their policies, compiled. Run it on x86_64, where
// libseccomp makes the filters of both architectures.
//
// To add a built-in profile, add NAME.toml beside the others, run go generate,
// and run the tests of profiles with -update.
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strconv"
	"strings"

	"hutch/profiles"
	"hutch/seccomp"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// architectures maps GOARCH to what the filters are made for.
var architectures = []struct {
	goarch string
	arch   seccomp.Arch
}{
	{"amd64", seccomp.ArchX86_64},
	{"arm64", seccomp.ArchAArch64},
}

func run(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.toml"))
	if err != nil {
		return err
	}
	sort.Strings(files)
	var names []string
	list := map[string]*profiles.Profile{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".toml")
		if list[name], err = read(dir, name); err != nil {
			return err
		}
		names = append(names, name)
	}
	if err := writeFilters(dir, names, list); err != nil {
		return err
	}
	for _, a := range architectures {
		text, err := format.Source(filterSource(names, a.goarch))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "builtin_gen_"+a.goarch+".go"), text, 0o644); err != nil {
			return err
		}
	}
	text, err := format.Source(profileSource(names, list))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "builtin_gen.go"), text, 0o644)
}

// read decodes a file, with what it extends out of the same directory.
func read(dir, name string) (*profiles.Profile, error) {
	data, err := os.ReadFile(filepath.Join(dir, name+".toml"))
	if err != nil {
		return nil, err
	}
	return profiles.Decode(name+".toml", data, func(parent string) (*profiles.Profile, error) {
		return read(dir, parent)
	})
}

func writeFilters(dir string, names []string, list map[string]*profiles.Profile) error {
	for _, name := range names {
		for _, a := range architectures {
			f, err := seccomp.CompileFor(list[name].Seccomp, a.arch)
			if err != nil {
				return fmt.Errorf("%s for %s: %w", name, a.goarch, err)
			}
			if err := os.WriteFile(filepath.Join(dir, name+"_"+a.goarch+".bpf"), f, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

const header = "// Code generated from the *.toml files by internal/gen. DO NOT EDIT.\n\npackage profiles\n\n"

// filterSource embeds the filters of one architecture.
func filterSource(names []string, goarch string) []byte {
	var b bytes.Buffer
	b.WriteString(header)
	b.WriteString("import _ \"embed\"\n\nvar (\n")
	for _, name := range names {
		fmt.Fprintf(&b, "//go:embed %s_%s.bpf\nfilter%s string\n", name, goarch, title(name))
	}
	b.WriteString(")\n\n// builtinFilter returns the text of a filter, \"\" if there is none.\nfunc builtinFilter(name string) string {\nswitch name {\n")
	for _, name := range names {
		fmt.Fprintf(&b, "case %q:\nreturn filter%s\n", name, title(name))
	}
	b.WriteString("}\nreturn \"\"\n}\n")
	return b.Bytes()
}

// profileSource writes the profiles as literals.
func profileSource(names []string, list map[string]*profiles.Profile) []byte {
	var b bytes.Buffer
	b.WriteString(header)
	b.WriteString("import \"hutch/seccomp\"\n\n")
	fmt.Fprintf(&b, "func builtinNames() []string { return %#v }\n\n", names)
	b.WriteString("func pointer[T any](v T) *T { return &v }\n\n")
	b.WriteString("func builtin(name string) *Profile {\nswitch name {\n")
	for _, name := range names {
		fmt.Fprintf(&b, "case %q:\nreturn builtin%s()\n", name, title(name))
	}
	b.WriteString("}\nreturn nil\n}\n\n// builtinByDigest returns the profile that has a policy, \"\" if there is none.\nfunc builtinByDigest(d seccomp.Key) string {\nswitch string(d[:]) {\n")
	seen := map[seccomp.Key]bool{}
	for _, name := range names {
		if d := list[name].Seccomp.Digest(); !seen[d] {
			fmt.Fprintf(&b, "case %q:\nreturn %q\n", d[:], name)
			seen[d] = true
		}
	}
	b.WriteString("}\nreturn \"\"\n}\n")
	for _, name := range names {
		fmt.Fprintf(&b, "\nfunc builtin%s() *Profile {\nreturn ", title(name))
		literal(&b, reflect.ValueOf(list[name]))
		b.WriteString("\n}\n")
	}
	return b.Bytes()
}

func title(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

// literal writes a value as Go source, without the fields that are zero.
func literal(b *bytes.Buffer, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.Elem().Kind() == reflect.Struct {
			b.WriteByte('&')
			literal(b, v.Elem())
			return
		}
		fmt.Fprintf(b, "pointer(%s(", typeName(v.Type().Elem()))
		literal(b, v.Elem())
		b.WriteString("))")
	case reflect.Struct:
		b.WriteString(typeName(v.Type()) + "{")
		for i := range v.NumField() {
			if f := v.Field(i); !f.IsZero() {
				b.WriteString("\n" + v.Type().Field(i).Name + ": ")
				literal(b, f)
				b.WriteByte(',')
			}
		}
		b.WriteString("\n}")
	case reflect.Slice:
		b.WriteString(typeName(v.Type()) + "{")
		for i := range v.Len() {
			if v.Type().Elem().Kind() == reflect.Struct {
				b.WriteByte('\n')
			}
			literal(b, v.Index(i))
			b.WriteByte(',')
		}
		b.WriteByte('}')
	case reflect.Map:
		b.WriteString(typeName(v.Type()) + "{")
		keys := v.MapKeys()
		sort.Slice(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
		for _, k := range keys {
			fmt.Fprintf(b, "\n%q: %q,", k.String(), v.MapIndex(k).String())
		}
		b.WriteString("\n}")
	case reflect.String:
		b.WriteString(strconv.Quote(v.String()))
	case reflect.Bool:
		fmt.Fprint(b, v.Bool())
	case reflect.Float64:
		b.WriteString(strconv.FormatFloat(v.Float(), 'g', -1, 64))
	default:
		fmt.Fprint(b, v.Int())
	}
}

func typeName(t reflect.Type) string {
	return strings.ReplaceAll(t.String(), "profiles.", "")
}
