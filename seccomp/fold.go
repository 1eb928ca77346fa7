package seccomp

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// Fold turns paths into few: where a directory holds more than most of them,
// it stands for all below it, as "/usr/lib/…".
func Fold(paths []string, most int) []string {
	const all = "/…"
	set := map[string]bool{}
	for _, p := range paths {
		set[path.Clean(p)] = true
	}
	for {
		count := map[string]int{}
		for p := range set {
			if dir := path.Dir(strings.TrimSuffix(p, all)); dir != "/" && dir != "." {
				count[dir]++
			}
		}
		full := slices.DeleteFunc(slices.Sorted(maps.Keys(count)), func(d string) bool { return count[d] <= most })
		if len(full) == 0 {
			return slices.Sorted(maps.Keys(set))
		}
		// The deepest first: what it holds then counts once in the one above.
		slices.SortStableFunc(full, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
		dir := full[0]
		maps.DeleteFunc(set, func(p string, _ bool) bool { return p == dir || strings.HasPrefix(p, dir+"/") })
		set[dir+all] = true
	}
}
