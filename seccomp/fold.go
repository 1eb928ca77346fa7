package seccomp

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// Fold turns paths into few, each of which stands for all below it: where a
// directory holds more than most of them, it takes their place. A directory of
// the root is never folded into, for /etc is more than four files of it.
func Fold(paths []string, most int) []string {
	set := map[string]bool{}
	for _, p := range paths {
		set[path.Clean(p)] = true
	}
	for dir := fullest(set, most); dir != ""; dir = fullest(set, most) {
		maps.DeleteFunc(set, func(p string, _ bool) bool { return strings.HasPrefix(p, dir+"/") })
		set[dir] = true
	}
	maps.DeleteFunc(set, func(p string, _ bool) bool {
		for up := p; up != "/" && up != "."; {
			if up = path.Dir(up); set[up] {
				return true
			}
		}
		return false
	})
	return slices.Sorted(maps.Keys(set))
}

// fullest is the deepest directory with more than most of the paths, "" for
// none. The deepest first: what it holds then counts once in the one above.
func fullest(set map[string]bool, most int) string {
	count := map[string]int{}
	for p := range set {
		if dir := path.Dir(p); strings.Count(dir, "/") > 1 {
			count[dir]++
		}
	}
	full := slices.DeleteFunc(slices.Sorted(maps.Keys(count)), func(d string) bool { return count[d] <= most })
	if len(full) == 0 {
		return ""
	}
	return slices.MaxFunc(full, func(a, b string) int { return strings.Count(a, "/") - strings.Count(b, "/") })
}
