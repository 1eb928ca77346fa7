package profiles

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"

	"hutch/seccomp"
)

// The reference in README.md lies between these lines. It is made of the types
// and the comments on their fields; run the test with -update to write it.
const (
	referenceBegin = "<!-- keys: made by TestReference -->\n"
	referenceEnd   = "<!-- end of keys -->\n"
)

func TestReference(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	must(t, err)
	before, rest, ok := bytes.Cut(readme, []byte(referenceBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(referenceEnd))
	if !ok || !ok2 {
		t.Fatal("README.md has no place for the reference")
	}
	docs := fieldDocs(t, "profile.go")
	for key, doc := range fieldDocs(t, "../seccomp/policy.go") {
		docs[key] = doc
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(referenceBegin + "\n")
	reference(t, &b, "", reflect.TypeFor[Profile](), docs)
	b.WriteString("\nGroups of system calls:\n\n| group | calls |\n|---|---|\n")
	for _, name := range seccomp.Groups() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, strings.Join(seccomp.Group(name), " "))
	}
	b.WriteString("\n" + referenceEnd)
	b.Write(after)
	golden(t, "README.md", b.Bytes())
}

// reference writes a table of a type's keys, and then those of its tables.
func reference(t *testing.T, b *bytes.Buffer, table string, typ reflect.Type, docs map[string]string) {
	var later []reflect.StructField
	head := "### Top level"
	if table != "" {
		head = "### `" + table + "`"
	}
	fmt.Fprintf(b, "%s\n\n| key | type | default | effect |\n|---|---|---|---|\n", head)
	for i := range typ.NumField() {
		f := typ.Field(i)
		key := f.Tag.Get("toml")
		if key == "-" {
			continue
		}
		if elem(f.Type).Kind() == reflect.Struct {
			later = append(later, f)
			if table != "[[seccomp.rules]]" {
				continue
			}
		}
		doc := docs[typ.Name()+"."+f.Name]
		if doc == "" {
			t.Errorf("%s.%s has no comment", typ.Name(), f.Name)
		}
		otherwise := f.Tag.Get("default")
		if otherwise == "" {
			otherwise = "–"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", key, keyType(f.Type), otherwise, doc)
	}
	b.WriteByte('\n')
	for _, f := range later {
		name := strings.Trim(table, "[]")
		if name = dotted(name, f.Tag.Get("toml")); f.Type.Kind() == reflect.Slice {
			reference(t, b, "[["+name+"]]", elem(f.Type), docs)
			continue
		}
		reference(t, b, "["+name+"]", elem(f.Type), docs)
	}
}

func keyType(t reflect.Type) string {
	if t.Kind() == reflect.Map {
		return "a table of strings"
	}
	return typeWord(t)
}

// fieldDocs reads the comments on the fields of a file's types, in the words of
// the language: a comment that begins with the field's name goes on without it.
func fieldDocs(t *testing.T, file string) map[string]string {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	must(t, err)
	docs := map[string]string{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, f := range s.Fields.List {
				for _, name := range f.Names {
					text := strings.Join(strings.Fields(f.Doc.Text()), " ")
					text = strings.TrimPrefix(strings.TrimPrefix(text, name.Name+" is "), name.Name+" ")
					text = strings.ToUpper(text[:min(1, len(text))]) + text[min(1, len(text)):]
					docs[spec.Name.Name+"."+name.Name] = strings.ReplaceAll(text, "|", "\\|")
				}
			}
		}
		return true
	})
	return docs
}
