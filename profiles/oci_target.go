package profiles

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hutch/seccomp"
)

// applies says whether a rule is for the target: none of what excludes it and
// all of what it includes, as Docker reads them.
func (c *converter) applies(r *ociRule) (bool, *fieldError) {
	newer, err := c.newer(r.Excludes.MinKernel)
	if err != nil {
		return false, &fieldError{".excludes.minKernel", err}
	}
	if r.Excludes.MinKernel != "" && newer || c.hasArch(r.Excludes.Arches) {
		return false, nil
	}
	for _, word := range r.Excludes.Caps {
		if slices.Contains(c.target.Capabilities, word) {
			return false, nil
		}
	}
	if newer, err = c.newer(r.Includes.MinKernel); err != nil {
		return false, &fieldError{".includes.minKernel", err}
	}
	if r.Includes.MinKernel != "" && !newer || len(r.Includes.Arches) > 0 && !c.hasArch(r.Includes.Arches) {
		return false, nil
	}
	for _, word := range r.Includes.Caps {
		if !slices.Contains(c.target.Capabilities, word) {
			return false, nil
		}
	}
	return true, nil
}

// hasArch looks for the target in a list of names as Go and Docker use them.
func (c *converter) hasArch(names []string) bool {
	name := "amd64"
	if c.target.Arch == seccomp.ArchAArch64 {
		name = "arm64"
	}
	return slices.Contains(names, name)
}

// newer says whether the target's kernel is at least that version.
func (c *converter) newer(version string) (bool, error) {
	if version == "" {
		return false, nil
	}
	want, ok := kernelVersion(version)
	if !ok {
		return false, fmt.Errorf("%q: expected a kernel version such as \"4.8\"", version)
	}
	have, ok := kernelVersion(c.target.Kernel)
	return !ok || slices.Compare(have, want) >= 0, nil
}

// kernelVersion reads the first two numbers of a release.
func kernelVersion(release string) ([]int, bool) {
	major, rest, ok := strings.Cut(release, ".")
	if !ok {
		return nil, false
	}
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		rest = rest[:i]
	}
	a, err1 := strconv.Atoi(major)
	b, err2 := strconv.Atoi(rest)
	return []int{a, b}, err1 == nil && err2 == nil && a >= 0
}

// atOffset makes an Error of a byte of data.
func atOffset(name string, data []byte, offset int, err error) *Error {
	line, column := position(data, min(offset, len(data)))
	return at(name, data, line, column, err)
}

// placedJSON makes an Error at the value that path names, or at the nearest
// thing around it that the text has.
func placedJSON(name string, data []byte, path string, err error) *Error {
	offsets := map[string]int{}
	d := json.NewDecoder(bytes.NewReader(data))
	var walk func(path string) bool
	walk = func(path string) bool {
		token, err := d.Token()
		if err != nil {
			return false
		}
		// The decoder stands behind the token, which for a value is one word.
		offsets[path] = max(int(d.InputOffset())-1, 0)
		switch token {
		case json.Delim('{'):
			for d.More() {
				key, err := d.Token()
				if err != nil || !walk(path+"."+fmt.Sprint(key)) {
					return false
				}
			}
		case json.Delim('['):
			for i := 0; d.More(); i++ {
				if !walk(fmt.Sprintf("%s[%d]", path, i)) {
					return false
				}
			}
		default:
			if s, ok := token.(string); ok {
				offsets[path] = max(int(d.InputOffset())-len(s)-2, 0)
			}
			return true
		}
		_, err = d.Token()
		return err == nil
	}
	walk("")
	for p := "." + path; p != ""; p = parent(p) {
		if offset, ok := offsets[p]; ok {
			return atOffset(name, data, offset, fmt.Errorf("%s: %w", path, err))
		}
	}
	return &Error{File: name, Err: fmt.Errorf("%s: %w", path, err)}
}
