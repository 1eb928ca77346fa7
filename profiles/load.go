package profiles

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/seccomp"
)

// Load returns a profile by its name or path. A word with a slash or the
// ending ".toml" is a path; any other is looked for as NAME.toml in dirs, and
// then among the built-in profiles. A profile extends others by the same words,
// a path counting from the directory of the file that says it and staying
// inside of that directory or of dirs.
func Load(nameOrPath string, dirs ...string) (*Profile, error) {
	l := loader{dirs: dirs}
	return l.load(nameOrPath)
}

func (l *loader) load(nameOrPath string) (*Profile, error) {
	if isPath(nameOrPath) {
		return l.file(nameOrPath, "")
	}
	return l.named(nameOrPath)
}

// A loader remembers what is being loaded, to see a circle.
type loader struct {
	dirs  []string
	chain []string // files, the outermost first
	files int
	// sources are all the files that Load has read.
	sources []source
}

// maxFiles bounds what one profile can pull in.
const maxFiles = 64

func isPath(name string) bool {
	return strings.ContainsRune(name, '/') || strings.HasSuffix(name, ".toml")
}

func profileName(file string) string { return strings.TrimSuffix(filepath.Base(file), ".toml") }

func (l *loader) named(name string) (*Profile, error) {
	for _, dir := range l.dirs {
		path := filepath.Join(dir, name+".toml")
		if slices.Contains(l.chain, path) {
			continue // a user's "default" may extend the built-in one
		}
		if _, err := os.Stat(path); err == nil {
			return l.file(path, "")
		}
	}
	if p, ok := Builtin(name); ok {
		return p, nil
	}
	return nil, l.unknown(name)
}

// unknown lists what there is instead.
func (l *loader) unknown(name string) error {
	names := BuiltinNames()
	for _, dir := range l.dirs {
		files, _ := filepath.Glob(filepath.Join(dir, "*.toml"))
		for _, f := range files {
			names = append(names, profileName(f))
		}
	}
	if near := seccomp.Nearest(name, names); near != "" {
		return fmt.Errorf("unknown profile %q: did you mean %q?", name, near)
	}
	return fmt.Errorf("unknown profile %q: there are %s; a path has a slash in it", name, strings.Join(names, ", "))
}

// file loads a file, home being the directory that it must lie in, if any.
func (l *loader) file(path, home string) (*Profile, error) {
	if l.files++; l.files > maxFiles {
		return nil, fmt.Errorf("more than %d profiles extend each other", maxFiles)
	}
	// Written in two ways it is the same file.
	same := func(other string) bool { return filepath.Clean(other) == filepath.Clean(path) }
	if n := len(l.chain); n > 0 && same(l.chain[n-1]) {
		return nil, fmt.Errorf("%s extends itself", path)
	}
	if slices.ContainsFunc(l.chain, same) {
		return nil, fmt.Errorf("profiles extend each other in a circle: %s", strings.Join(append(l.chain, path), " extends "))
	}
	data, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	l.sources = append(l.sources, source{path, home, sha256.Sum256(data)})
	l.chain = append(l.chain, path)
	defer func() { l.chain = l.chain[:len(l.chain)-1] }()
	return Decode(path, data, func(name string) (*Profile, error) { return l.extended(path, name) })
}

// extended finds what the file from extends.
func (l *loader) extended(from, name string) (*Profile, error) {
	if !isPath(name) {
		return l.named(name)
	}
	home := filepath.Dir(from)
	path := filepath.Clean(name)
	if !filepath.IsAbs(path) {
		path = filepath.Join(home, path)
	}
	if err := inside(path, append([]string{home}, l.dirs...)); err != nil {
		return nil, err
	}
	return l.file(path, home)
}

var errOutside = errors.New("lies outside of the directories for profiles")

// inside refuses a path that leaves all of the directories, also by a link.
func inside(path string, dirs []string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		root, err := filepath.EvalSymlinks(dir)
		if err != nil {
			continue
		}
		if rel, err := filepath.Rel(root, real); err == nil && filepath.IsLocal(rel) {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", path, errOutside)
}

// ReadFile reads no more than a profile can have, and only from a file.
func ReadFile(path string) ([]byte, error) {
	// Without O_NONBLOCK a FIFO would be waited for.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &Error{File: path, Err: errors.New("is not a regular file")}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxInput+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxInput {
		return nil, &Error{File: path, Err: errTooLarge}
	}
	return data, nil
}
