package seccomp

import "fmt"

// unknown says that a word is none of those known, and which is nearest.
func unknown(what, word string, known []string) error {
	if near := Nearest(word, known); near != "" {
		return fmt.Errorf("unknown %s %q: did you mean %q?", what, word, near)
	}
	return fmt.Errorf("unknown %s %q", what, word)
}

// Nearest returns the word of known that needs the fewest letters inserted,
// removed, changed or swapped to become word; "" when more than a third of
// the letters would change.
func Nearest(word string, known []string) string {
	const longest = 64 // longer words are not slips of the keyboard
	if len(word) > longest {
		return ""
	}
	best, limit := "", max(1, (len(word)+1)/3)+1
	for _, k := range known {
		if d := len(k) - len(word); k == "" || d >= limit || -d >= limit {
			continue
		}
		if d := distance(word, k); d < limit {
			best, limit = k, d
		}
	}
	return best
}

// distance is the optimal string alignment distance of two words.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
