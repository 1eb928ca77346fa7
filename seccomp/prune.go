package seccomp

import (
	"encoding/hex"
	"strings"
	"time"
)

// stale is the age at which what a cache holds is worth less than its room: it
// is made again in some milliseconds.
const stale = 30 * 24 * time.Hour

// Prune removes what was stored long ago, and what a Put left that was killed.
// It returns how many files those were.
func (c *Cache) Prune() (removed int, err error) {
	dir, err := c.root.Open(".")
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		info, serr := c.root.Lstat(name)
		if serr != nil || !info.Mode().IsRegular() || !ours(name) || time.Since(info.ModTime()) < stale {
			continue
		}
		if rerr := c.root.Remove(name); rerr == nil {
			removed++
		} else if err == nil {
			err = rerr
		}
	}
	return removed, err
}

// ours says whether a file is named as Put does: the directory holds other
// things too.
func ours(name string) bool {
	key, suffix, found := strings.Cut(name, ".")
	sum, err := hex.DecodeString(key)
	return found && suffix != "" && err == nil && len(sum) == len(Key{})
}
