package rootfs

import (
	"fmt"
	"slices"
	"strings"
)

// A Format is how the store keeps the tree of a layer or of a tar. "" stands
// for whatever is there already, and for FormatDir where nothing is.
type Format string

// The formats; README.md compares them. To add one: name it here, give its
// entries a suffix, and make and check it in layerimage.go.
const (
	FormatDir   Format = "dir"   // a directory, stacked as it is
	FormatErofs Format = "erofs" // an EROFS image in a file, which a start mounts
)

// Check says whether f is a format.
func (f Format) Check() error {
	switch f {
	case "", FormatDir, FormatErofs:
		return nil
	}
	return fmt.Errorf("store format %s: is unknown; it is one of dir, erofs", quoteOdd(string(f)))
}

// erofsSuffix ends the name of an entry whose tree is an EROFS image.
const erofsSuffix = ".erofs"

// LayerImage is how the path of a layer ends that is an EROFS image. A
// directory may be called so too: see the file's type.
const LayerImage = "/fs" + erofsSuffix

// in is the name of entry, of whatever format, in format f.
func (f Format) in(entry string) string {
	entry = strings.TrimSuffix(entry, erofsSuffix)
	if f == FormatErofs {
		return entry + erofsSuffix
	}
	return entry
}

// formatOf tells an entry's format by its name.
func formatOf(entry string) Format {
	if strings.HasSuffix(entry, erofsSuffix) {
		return FormatErofs
	}
	return FormatDir
}

// entryDigest is the digest that an entry is called by.
func entryDigest(entry string) string {
	return strings.Replace(strings.TrimSuffix(entry, erofsSuffix), "-", ":", 1)
}

// lower is what a box stacks of an entry of layers.
func (s store) lower(entry string) string {
	if formatOf(entry) == FormatErofs {
		return s.path(layersDir, entry) + LayerImage
	}
	return s.path(layersDir, entry, "fs")
}

// useAs takes the shared lock of an entry in the format, which "" leaves open.
func (s store) useAs(f Format, entry string) (*Root, error) {
	r, err := s.use(f.in(entry))
	if err != nil && f == "" {
		return s.use(FormatErofs.in(entry))
	}
	return r, err
}

// in tells whether all of the root is kept in the format; everything is in "".
func (r *Root) in(f Format) bool {
	return f == "" || !slices.ContainsFunc(r.entries, func(e string) bool { return formatOf(e) != f })
}
