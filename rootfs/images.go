package rootfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An Image is what the store knows of an image.
type Image struct {
	// ID is the digest of the configuration.
	ID string `json:"id"`
	// Names are those under which it can be run; an image that was run from a
	// layout or an archive has none.
	Names []string `json:"names"`
	// Manifest is the manifest's digest; empty where there was none.
	Manifest string `json:"manifest,omitempty"`
	// Source is what it was made from, as it was typed.
	Source string `json:"source"`
	// Fetched says that it came from a registry, from which it can come again.
	Fetched      bool         `json:"fetched"`
	Platform     string       `json:"platform"`
	Made         time.Time    `json:"made"` // in this store
	Bytes        int64        `json:"bytes"`
	Layers       []ImageLayer `json:"layers"` // the lowest first
	Used         time.Time    `json:"used"`
	Config       Config       `json:"run"`
	ConfigObject any          `json:"config,omitempty"` // the whole configuration, as it came
}

// An ImageLayer is one layer of an image.
type ImageLayer struct {
	DiffID string `json:"diff_id"`
	Digest string `json:"digest,omitempty"`
	Bytes  int64  `json:"bytes"` // of its files, unpacked
	// Entry is the store's directory, below layers.
	Entry string `json:"entry"`
	// Format is how it is kept.
	Format Format `json:"format"`
}

// runFile is run.json: all that a start needs, small to read.
type runFile struct {
	Lowers       []string `json:"lowers"` // entries, the topmost first
	Architecture string   `json:"architecture"`
	Config       Config   `json:"config"`
}

// nameKey makes a file name of a reference, whose grammar has no '%'.
func nameKey(name string) string { return strings.ReplaceAll(name, "/", "%") }

func nameOfKey(key string) string { return strings.ReplaceAll(key, "%", "/") }

// FullName is the name under which the store keeps an image: with the tag
// that is meant when none is typed, and for Docker's own registry in full.
func (r Ref) FullName() string {
	name := r.Name
	if rest, ok := strings.CutPrefix(name, "docker.io/"); ok && !strings.Contains(rest, "/") {
		name = "docker.io/library/" + rest
	}
	tag := r.Tag
	if tag == "" && r.Digest == "" {
		tag = "latest"
	}
	return name + suffix(":", tag) + suffix("@", r.Digest)
}

// Host gives the registry of an image's name and the rest of the name; the
// registry is empty when the name has none.
func (r Ref) Host() (host, repository string) {
	name, _, _ := strings.Cut(r.FullName(), "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name = name[:i]
	}
	first, rest, ok := strings.Cut(name, "/")
	if ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return first, rest
	}
	return "", name
}

// byName finds an image. It is on the start-up path.
func (s store) byName(name string) (*Root, error) {
	var b [96]byte
	n, err := unix.Readlink(s.path(namesDir, nameKey(name)), b[:])
	if err != nil {
		return nil, errGone
	}
	return s.useImage(string(b[:n]))
}

// useImage takes the shared lock of an image. Its layers need none: nobody
// removes a layer of an image that is there.
func (s store) useImage(entry string) (*Root, error) {
	lock, err := s.hold(imagesDir, entry)
	if err != nil {
		return nil, err
	}
	var r runFile
	b, err := os.ReadFile(s.path(imagesDir, entry, "run.json"))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		unix.Close(lock)
		return nil, fmt.Errorf("store %s: %w; remove the image and make it again", s.path(imagesDir, entry), err)
	}
	root := &Root{Kind: KindImage, Config: &r.Config, Digest: strings.Replace(entry, "-", ":", 1), lock: lock, arch: r.Architecture, entries: r.Lowers}
	for _, l := range r.Lowers {
		root.Lowers = append(root.Lowers, s.lower(l))
	}
	return root, nil
}

// setName has a name lead to an image; an earlier one of that name loses it.
func (s store) setName(name, entry string) error {
	key := nameKey(name)
	part := s.path(namesDir, ".new-"+itoa(int64(os.Getpid()))+"-"+key)
	if len(part)-len(s.path(namesDir, "")) > 255 {
		return fmt.Errorf("image %s: the name is too long", quote(name))
	}
	guard, err := lockDir(s.path(namesDir), unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer unix.Close(guard)
	_ = os.Remove(part)
	if err = os.Symlink(entry, part); err == nil {
		err = os.Rename(part, s.path(namesDir, key))
	}
	if err != nil {
		return fmt.Errorf("store %s: %w", s.path(namesDir, key), bare(err))
	}
	return nil
}

// names lists all names and the images they lead to.
func (s store) names() (map[string]string, error) {
	list, err := os.ReadDir(s.path(namesDir))
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", s.path(namesDir), bare(err))
	}
	names := map[string]string{}
	for _, e := range list {
		if to, err := os.Readlink(s.path(namesDir, e.Name())); err == nil && !strings.HasPrefix(e.Name(), ".") {
			names[nameOfKey(e.Name())] = to
		}
	}
	return names, nil
}

// Images lists the images of a store ("" is the default one), the last used
// first.
func Images(dir string) ([]Image, error) {
	s, err := openStore(dir)
	if err != nil || s.dir == "" {
		return nil, err
	}
	return s.images()
}

// openStore opens a store that exists; the directory is empty when it does not.
func openStore(dir string) (store, error) {
	s, err := storeAt(dir)
	if err != nil {
		return store{}, err
	}
	if _, err := os.Lstat(s.dir); errors.Is(err, fs.ErrNotExist) {
		return store{}, nil
	}
	return s, s.create()
}

func (s store) images() ([]Image, error) {
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	entries, err := s.imageEntries()
	if err != nil {
		return nil, err
	}
	var list []Image
	for _, entry := range entries {
		img, err := s.image(entry)
		if err != nil {
			continue // just being removed; verify finds what is damaged
		}
		for n, to := range names {
			if to == entry {
				img.Names = append(img.Names, n)
			}
		}
		slices.Sort(img.Names)
		list = append(list, img)
	}
	slices.SortFunc(list, func(a, b Image) int { return b.Used.Compare(a.Used) })
	return list, nil
}

// imageEntries lists the images' directories.
func (s store) imageEntries() (entries []string, err error) {
	dirs, err := os.ReadDir(s.path(imagesDir))
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", s.path(imagesDir), bare(err))
	}
	for _, d := range dirs {
		if d.IsDir() {
			entries = append(entries, d.Name())
		}
	}
	return entries, nil
}

func (s store) image(entry string) (Image, error) {
	img := Image{Names: []string{}}
	b, err := os.ReadFile(s.path(imagesDir, entry, "image.json"))
	if err == nil {
		err = json.Unmarshal(b, &img)
	}
	if err != nil {
		return img, fmt.Errorf("store %s: %w", s.path(imagesDir, entry), bare(err))
	}
	for i := range img.Layers {
		img.Layers[i].Format = formatOf(img.Layers[i].Entry)
	}
	if fi, err := os.Lstat(s.path(imagesDir, entry, "lock")); err == nil {
		img.Used = fi.ModTime()
	}
	return img, nil
}

// InspectImage finds an image by its name, or by its ID or the first six
// digits or more of that.
func InspectImage(dir, name string) (Image, error) {
	s, err := openStore(dir)
	if err != nil {
		return Image{}, err
	}
	var list []Image
	if s.dir != "" {
		if list, err = s.images(); err != nil {
			return Image{}, err
		}
	}
	return findImage(list, name)
}

func findImage(list []Image, name string) (Image, error) {
	full := name
	if r, err := parseImage(name); err == nil {
		full = r.FullName()
	}
	var byID []Image
	for _, img := range list {
		if slices.Contains(img.Names, full) {
			return img, nil
		}
		if hex := strings.TrimPrefix(name, "sha256:"); len(hex) >= 6 && strings.HasPrefix(img.ID, "sha256:"+hex) {
			byID = append(byID, img)
		}
	}
	if len(byID) == 1 {
		return byID[0], nil
	}
	if len(byID) > 1 {
		return Image{}, fmt.Errorf("image %s: means %d images; give more digits", quoteOdd(name), len(byID))
	}
	return Image{}, fmt.Errorf("image %s: is not in the store; %s", quoteOdd(name), nearestImage(list, full))
}

// nearestImage is what to type instead of a name that is not there.
func nearestImage(list []Image, name string) string {
	best, least := "", 3
	short := strings.TrimSuffix(name, ":latest")
	for _, img := range list {
		for _, n := range img.Names {
			if d := edits(strings.TrimSuffix(n, ":latest"), short, least); d < least {
				best, least = n, d
			}
			if repo, _, _ := strings.Cut(n, ":"); best == "" && repo == short {
				best = n
			}
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	return "hutch image ls lists what is there, hutch image pull HOST/NAME fetches, hutch image import FILE NAME imports"
}

// edits is the number of single edits between a and b, or most if it is more.
func edits(a, b string, most int) int {
	if len(a)-len(b) > most || len(b)-len(a) > most {
		return most
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			before, row[j] = row[j], min(row[j]+1, row[j-1]+1, before+cost)
		}
	}
	return row[len(b)]
}

// RemoveImage removes a name, and the image with it when that was its last
// and nobody uses it; what is in use, gc removes later. It says what it freed.
func RemoveImage(dir, name string) (GCStats, error) {
	s, err := openStore(dir)
	if err != nil {
		return GCStats{}, err
	}
	var list []Image
	if s.dir != "" {
		if list, err = s.images(); err != nil {
			return GCStats{}, err
		}
	}
	img, err := findImage(list, name)
	if err != nil {
		return GCStats{}, err
	}
	gone := img.Names
	if r, err := parseImage(name); err == nil && slices.Contains(img.Names, r.FullName()) {
		gone = []string{r.FullName()}
	}
	for _, n := range gone {
		if err := os.Remove(s.path(namesDir, nameKey(n))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return GCStats{}, fmt.Errorf("store %s: %w", s.path(namesDir, nameKey(n)), bare(err))
		}
	}
	var st GCStats
	mine, _ := s.lowersOf(entryName(img.ID))
	if len(gone) == len(img.Names) {
		if err := s.removeEntry(imagesDir, entryName(img.ID)); errors.Is(err, errBusy) {
			st.Busy++
		} else if err != nil && !errors.Is(err, errGone) {
			return st, fmt.Errorf("image %s: %w", name, err)
		}
	}
	err = s.removeUnused(&st, func(entry string) bool { return slices.Contains(mine, entry) })
	s.dropDangling()
	return st, err
}
