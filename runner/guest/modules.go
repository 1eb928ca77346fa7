package guest

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Modules is the files of the named modules and of all that they need, in the
// order in which they must be loaded. dir is a kernel's directory of modules,
// with the modules.dep that depmod(8) made. What modules.builtin lists is left
// out; a name that neither file knows is an error.
func Modules(dir string, names ...string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	deps, err := readDeps(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	in := map[string]bool{}
	for line := range strings.SplitSeq(string(builtin), "\n") {
		in[moduleName(line)] = true
	}
	var out []string
	for _, n := range names {
		line, ok := deps[n]
		if !ok && !in[n] {
			return nil, fmt.Errorf("the kernel of %s has no module %s", dir, n)
		}
		// A module comes before those that it needs, each of those likewise.
		for _, f := range slices.Backward(line) {
			if f = filepath.Join(dir, path.Clean("/"+f)); !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	return out, nil
}

// moduleName is that of a file: dashes and underscores are the same.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// readDeps reads lines "MODULE: NEEDED NEEDED…", modules.dep(5).
func readDeps(name string) (map[string][]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	deps := map[string][]string{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		file, needed, ok := strings.Cut(lines.Text(), ":")
		if ok {
			deps[moduleName(file)] = append([]string{file}, strings.Fields(needed)...)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return deps, nil
}
