// Gen writes table_gen.go, the numbers of all system calls, out of the
// constants of golang.org/x/sys/unix. To learn newer calls, raise the version
// of golang.org/x/sys and run go generate.
package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const module = "golang.org/x/sys"

type call struct {
	nr   int
	name string
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run() error {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", module).Output()
	if err != nil {
		return fmt.Errorf("go list %s: %w", module, err)
	}
	dir, version, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	var b bytes.Buffer
	fmt.Fprintf(&b, "// Code generated from %s %s by internal/gen. DO NOT EDIT.\n\npackage seccomp\n\n", module, version)
	fmt.Fprintf(&b, "// tableVersion is part of the key of a cached filter.\nconst tableVersion = %q\n", version)
	for _, a := range []struct{ file, table string }{
		{"zsysnum_linux_amd64.go", "tableX86_64"},
		{"zsysnum_linux_arm64.go", "tableAArch64"},
	} {
		calls, err := read(filepath.Join(dir, "unix", a.file))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "\nvar %s = [...]call{\n", a.table)
		for _, c := range calls {
			fmt.Fprintf(&b, "\t{%d, %q},\n", c.nr, c.name)
		}
		fmt.Fprint(&b, "}\n")
	}
	text, err := format.Source(b.Bytes())
	if err != nil {
		return err
	}
	return os.WriteFile("table_gen.go", text, 0o644)
}

func read(path string) ([]call, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	line := regexp.MustCompile(`(?m)^\s+SYS_(\w+)\s+= (\d+)$`)
	var calls []call
	for _, m := range line.FindAllStringSubmatch(string(text), -1) {
		nr, err := strconv.Atoi(m[2])
		if err != nil {
			return nil, err
		}
		// The start of a range that is kept for architectures, not a call.
		if name := strings.ToLower(m[1]); name != "arch_specific_syscall" {
			calls = append(calls, call{nr, name})
		}
	}
	slices.SortFunc(calls, func(a, b call) int { return cmp.Compare(a.nr, b.nr) })
	return calls, nil
}
