package rootfs

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// A Kind says what form of root a reference names.
type Kind string

// The forms of a root. To add one: a constant here, a row in prefixes or a
// case in Parse, a case in Prepare, a line in forms.
const (
	KindHost          Kind = "host"
	KindDir           Kind = "dir"
	KindTar           Kind = "tar"
	KindOCI           Kind = "oci"
	KindOCIArchive    Kind = "oci-archive"
	KindDockerArchive Kind = "docker-archive"
	KindImage         Kind = "image"
)

// A Ref is a parsed ROOT argument. It holds no live resource.
type Ref struct {
	Kind Kind
	// Path is the directory or the file, as it was typed; "-" is a tar on
	// standard input; empty for host and image.
	Path string
	// Name is the image's name with its registry host, if it has one.
	Name string
	// Tag is what follows the colon; empty when none was typed.
	Tag string
	// Digest is "sha256:" and 64 hexadecimal digits, or empty.
	Digest string
}

// String gives the reference back in the form that Parse reads.
func (r Ref) String() string {
	switch r.Kind {
	case KindHost:
		return "host"
	case KindDir, KindTar:
		return r.Path
	case KindImage:
		return r.Name + suffix(":", r.Tag) + suffix("@", r.Digest)
	}
	return string(r.Kind) + ":" + r.Path + suffix(":", r.Tag)
}

func suffix(mark, s string) string {
	if s == "" {
		return ""
	}
	return mark + s
}

// forms is the sentence that every error about an unknown reference ends with.
const forms = "a root is one of: host, ./DIR, FILE.tar (also .gz .zst .xz .bz2), - for a tar on standard input, " +
	"oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, NAME[:TAG] of the store, HOST/NAME[:TAG] of a registry"

// Parse reads a ROOT argument. What exists on disk under exactly that name
// wins over an image of the same name: a directory is a dir, anything else
// that can be read as a stream is a tar (its content decides what it is).
// The error names the forms and what to type instead.
func Parse(arg string) (Ref, error) {
	switch arg {
	case "":
		return Ref{}, errors.New("root: empty; " + forms)
	case "host":
		return Ref{Kind: KindHost}, nil
	case "-":
		return Ref{Kind: KindTar, Path: "-"}, nil
	}
	if strings.IndexByte(arg, 0) >= 0 {
		return Ref{}, fmt.Errorf("root %q: a path cannot hold a NUL byte", arg)
	}
	if kind, rest, ok := cutPrefix(arg); ok {
		return parsePrefixed(arg, kind, rest)
	}
	if fi, err := os.Stat(arg); err == nil {
		return parseExisting(arg, fi)
	} else if !errors.Is(err, os.ErrNotExist) {
		return Ref{}, fmt.Errorf("root %s: %w", arg, bare(err))
	}
	if looksLikePath(arg) {
		return Ref{}, fmt.Errorf("root %s: no such file or directory", arg)
	}
	return parseImage(arg)
}

func cutPrefix(arg string) (Kind, string, bool) {
	scheme, rest, ok := strings.Cut(arg, ":")
	if !ok {
		return "", "", false
	}
	switch k := Kind(scheme); k {
	case KindOCI, KindOCIArchive, KindDockerArchive:
		return k, rest, true
	}
	return "", "", false
}

func parsePrefixed(arg string, kind Kind, rest string) (Ref, error) {
	r := Ref{Kind: kind, Path: rest}
	if kind == KindDockerArchive {
		// Its tags are whole names, with a colon of their own.
		if _, err := os.Stat(rest); err != nil {
			r.Path, r.Tag, _ = strings.Cut(rest, ":")
		}
	} else if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.Contains(rest[i:], "/") {
		// A tag follows the last colon, unless that colon is part of a directory's name.
		r.Path, r.Tag = rest[:i], rest[i+1:]
	}
	if r.Path == "" {
		return Ref{}, fmt.Errorf("root %s: no path after %q; write %s:PATH", arg, string(kind)+":", kind)
	}
	return r, nil
}

func parseExisting(arg string, fi os.FileInfo) (Ref, error) {
	switch mode := fi.Mode(); {
	case mode.IsDir():
		return Ref{Kind: KindDir, Path: arg}, nil
	case mode.IsRegular(), mode&os.ModeNamedPipe != 0:
		return Ref{Kind: KindTar, Path: arg}, nil
	default:
		return Ref{}, fmt.Errorf("root %s: is a %s, neither a directory nor a tar file", arg, fileKind(mode))
	}
}

func fileKind(mode os.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode&os.ModeSymlink != 0:
		return "symbolic link"
	case mode&os.ModeNamedPipe != 0:
		return "FIFO"
	case mode&os.ModeSocket != 0:
		return "socket"
	case mode&os.ModeCharDevice != 0:
		return "character device"
	case mode&os.ModeDevice != 0:
		return "block device"
	}
	return "regular file"
}

// looksLikePath tells what can only have been meant as a path.
func looksLikePath(arg string) bool {
	for _, p := range [...]string{"/", "./", "../", "~"} {
		if strings.HasPrefix(arg, p) {
			return true
		}
	}
	for _, s := range [...]string{"/", ".tar", ".gz", ".tgz", ".zst", ".xz", ".bz2"} {
		if strings.HasSuffix(arg, s) {
			return true
		}
	}
	return arg == "." || arg == ".."
}

// ParseImage reads the name of an image, whatever files there are.
func ParseImage(arg string) (Ref, error) {
	if kind, _, ok := cutPrefix(arg); ok {
		return Ref{}, fmt.Errorf("image %s: is a form of ROOT; hutch image import %s NAME gives it a name", arg, kind+":…")
	}
	if looksLikePath(arg) {
		return Ref{}, fmt.Errorf("image %s: is a path and no name; write NAME[:TAG] or HOST/NAME[:TAG]", arg)
	}
	return parseImage(arg)
}

// parseImage reads NAME[:TAG][@DIGEST]; the grammar is that of
// https://github.com/distribution/reference, without its length rules for hosts.
func parseImage(arg string) (Ref, error) {
	r := Ref{Kind: KindImage, Name: arg}
	var at bool
	if r.Name, r.Digest, at = strings.Cut(arg, "@"); at && !validDigest(r.Digest) {
		return Ref{}, fmt.Errorf("root %s: a digest is sha256: and 64 hexadecimal digits", arg)
	}
	if i := strings.LastIndexByte(r.Name, ':'); i >= 0 && !strings.Contains(r.Name[i:], "/") {
		r.Name, r.Tag = r.Name[:i], r.Name[i+1:]
		if !validTag(r.Tag) {
			return Ref{}, fmt.Errorf("root %s: %q cannot be a tag; %s", arg, r.Tag, forms)
		}
	}
	if !validName(r.Name) {
		return Ref{}, fmt.Errorf("root %s: no such file or directory, and not an image name; %s", arg, forms)
	}
	return r, nil
}

func validDigest(d string) bool {
	hex, ok := strings.CutPrefix(d, "sha256:")
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}

func validTag(t string) bool {
	if t == "" || len(t) > 128 || t[0] == '.' || t[0] == '-' {
		return false
	}
	for i := range len(t) {
		if c := t[i]; !isAlnum(c) && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// validName: components of lower-case letters and digits, joined by single
// separators; the first may be a host with upper case and a port.
func validName(n string) bool {
	if n == "" || len(n) > 255 {
		return false
	}
	for i, part := range strings.Split(n, "/") {
		host := i == 0 && strings.Contains(n, "/") && (strings.ContainsAny(part, ".:") || part == "localhost")
		if part == "" || !isAlnum(part[0]) || !isAlnum(part[len(part)-1]) {
			return false
		}
		for j := range len(part) {
			c := part[j]
			upper := c >= 'A' && c <= 'Z'
			if (!isAlnum(c) || upper && !host) && c != '.' && c != '_' && c != '-' && (c != ':' || !host) {
				return false
			}
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// bare takes the operation and the path off an error of package os, so that
// the object is named once.
func bare(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
