package profiles

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"hutch/seccomp"
)

// ready is what the cache keeps of a user's profile. What is longer is resolved
// at every start.
func ready() seccomp.CacheKind {
	return seccomp.CacheKind{Format: "hutch profile 1\n", Suffix: ".profile", Most: 256 << 10}
}

// Ready is Load and Filter in one. What a user's profile came to when this same
// program loaded it before is taken from cacheDir, as long as the file and all
// that it extends hold the same bytes: no TOML is read, no rule merged. A cache
// that others can write to is not used; an empty cacheDir means none.
//
// Description, Extends and Seccomp, which a run does not need, are left out of
// the Profile. It is there when only the filter cannot be made.
func Ready(nameOrPath, cacheDir string) (*Profile, seccomp.Filter, error) {
	var cache *seccomp.Cache
	var key seccomp.Key
	if isPath(nameOrPath) && cacheDir != "" {
		if k, err := readyKey(nameOrPath); err == nil {
			if c, err := seccomp.OpenCache(cacheDir); err == nil {
				defer c.Close()
				cache, key = c, k
			}
		}
	}
	if cache != nil {
		if e, err := loadEntry(cache, key); err == nil {
			return e.profile, e.filter, nil
		}
	}
	l := loader{}
	p, err := l.load(nameOrPath)
	if err != nil {
		return nil, nil, err
	}
	// A built-in profile's policy need not be hashed to find its filter.
	filter, ok := BuiltinFilter(nameOrPath)
	if !ok {
		dir := cacheDir
		if cache != nil {
			dir = "" // the entry holds the filter; a second file would cost as much again
		}
		filter, err = p.Filter(dir)
	}
	p.Description, p.Extends, p.Seccomp = "", nil, nil
	if err != nil {
		return p, nil, err
	}
	if cache != nil {
		e := entry{l.sources, p, filter}
		_ = cache.Put(ready(), key, e.bytes()) // a full disk costs time, not the run
	}
	return p, filter, nil
}

// readyKey names what a path means to this program. The program is told from
// others by its file, whose change of status nobody can set back: every build
// has built-in profiles, tables and rules for merging of its own.
func readyKey(path string) (seccomp.Key, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return seccomp.Key{}, err
	}
	info, err := os.Stat("/proc/self/exe")
	if err != nil {
		return seccomp.Key{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return seccomp.Key{}, errors.New("the program's file has no number")
	}
	b := fmt.Appendf(nil, "%d %d %d %d.%d ", st.Dev, st.Ino, st.Size, st.Ctim.Sec, st.Ctim.Nsec)
	for _, s := range []string{seccomp.CompilerVersion(), path, abs} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return sha256.Sum256(b), nil
}

// A source is a file that a profile was made of.
type source struct {
	path string
	// home is the directory that the file must lie in; empty for the first.
	home string
	sum  [sha256.Size]byte
}

// same says whether loading would read the same bytes again.
func (s *source) same() bool {
	if s.home != "" && inside(s.path, []string{s.home}) != nil {
		return false
	}
	data, err := ReadFile(s.path)
	return err == nil && sha256.Sum256(data) == s.sum
}

// An entry is a file of the cache.
type entry struct {
	sources []source
	profile *Profile
	filter  seccomp.Filter
}

var errStale = errors.New("a file has changed")

func loadEntry(cache *seccomp.Cache, key seccomp.Key) (entry, error) {
	data, err := cache.Get(ready(), key)
	if err != nil {
		return entry{}, err
	}
	e, err := readEntry(data)
	if err != nil {
		return entry{}, err
	}
	for i := range e.sources {
		if !e.sources[i].same() {
			return entry{}, errStale
		}
	}
	return e, nil
}

func (e *entry) bytes() []byte {
	c := coder{writing: true}
	c.entry(e)
	return c.data
}

// readEntry reads what bytes wrote. The bytes have been under a seal; that they
// are looked at nevertheless costs next to nothing.
func readEntry(data []byte) (entry, error) {
	e := entry{profile: &Profile{}}
	c := coder{data: data}
	c.entry(&e)
	switch {
	case c.bad || len(c.data) > 0 || len(e.sources) == 0:
		return entry{}, errEntry
	case len(e.filter) > 0:
		return e, e.filter.Trusted()
	}
	return e, nil
}
