package rootfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// take unpacks the layers of an image that the store lacks, and makes the
// image. name may be empty.
func (s store) take(ctx context.Context, f *foundImage, from Image, name string, opt Options) (*Root, error) {
	img := from
	img.ID, img.Manifest = f.ID, f.Manifest
	img.Platform, img.Config = f.Config.platform.String(), f.Config.run()
	img.Layers = make([]ImageLayer, len(f.Layers))
	held := make([]*Root, len(f.Layers)) // until the image pins them
	defer func() {
		for _, r := range held {
			_ = r.Close()
		}
	}()
	todo := s.missing(f, img.Layers, held, opt.Format)
	report := newTotal(opt.Progress, img.Source, f.Layers, todo)
	err := EachLayer(ctx, len(todo), func(ctx context.Context, i, beside int) error {
		n := todo[i]
		r, m, err := s.takeLayer(ctx, &f.Layers[n], opt.Format, UnpackOptions{Limits: opt.Limits, Beside: beside, Progress: report.of(i)})
		if err != nil {
			return fmt.Errorf("layer %d of %d: %w", n+1, len(f.Layers), err)
		}
		held[n], img.Layers[n] = r, layerOf(f.Layers[n], m, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	// The same layer twice in an image was unpacked once.
	for i, l := range img.Layers {
		for j := 0; l.Entry == "" && j < len(img.Layers); j++ {
			if img.Layers[j].DiffID == f.Layers[i].DiffID && img.Layers[j].Entry != "" {
				img.Layers[i] = img.Layers[j]
				break
			}
		}
	}
	report.done()
	return s.makeImage(ctx, img, f.Raw, f.Config.Architecture, name, opt.Format)
}

// missing holds the layers that are there already, and gives the numbers of
// the others, each once.
func (s store) missing(f *foundImage, layers []ImageLayer, held []*Root, format Format) (todo []int) {
	seen := map[string]bool{}
	for i, l := range f.Layers {
		if seen[l.DiffID] {
			continue
		}
		seen[l.DiffID] = true
		r, err := s.useAs(format, layerEntry(l.DiffID))
		if err != nil {
			todo = append(todo, i)
			continue
		}
		m, err := s.meta(r.entries[0])
		if err != nil { // damaged: verify tells
			_ = r.Close()
			todo = append(todo, i)
			continue
		}
		held[i], layers[i] = r, layerOf(l, m, r)
	}
	return todo
}

// layerEntry is the name of the entry of an image's layer. It is not that of a
// plain tar with the same content, in which whiteouts mean nothing.
func layerEntry(diffID string) string { return "diff-" + diffID[len("sha256:"):] }

func layerOf(l foundLayer, m meta, r *Root) ImageLayer {
	return ImageLayer{DiffID: l.DiffID, Digest: l.Digest, Bytes: m.Bytes, Entry: r.entries[0]}
}

// takeLayer unpacks one layer into an entry of its own.
func (s store) takeLayer(ctx context.Context, l *foundLayer, format Format, o UnpackOptions) (*Root, meta, error) {
	d, err := s.draft()
	if err != nil {
		return nil, meta{}, err
	}
	r, err := l.open(ctx)
	if err != nil {
		d.discard()
		return nil, meta{}, err
	}
	st, err := UnpackLayer(ctx, r, d.dir+"/fs", l.Layer, o)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	m := newMeta(st, "")
	if err == nil {
		m.Image, err = d.seal(ctx, format)
	}
	if err == nil {
		err = writeJSON(d.dir+"/meta.json", m)
	}
	if err != nil {
		d.discard()
		return nil, m, err
	}
	root, err := s.keep(d, layersDir, format.in(layerEntry(l.DiffID)))
	return root, m, err
}

// makeImage writes an image whose layers are there and held, and gives it a
// name unless that is empty. One that is there in another format than is asked
// for is replaced.
func (s store) makeImage(ctx context.Context, img Image, raw []byte, arch, name string, format Format) (*Root, error) {
	lowers := stackOf(img.Layers)
	if len(lowers) > lowersMax {
		squashed, err := s.squash(ctx, lowers[lowersMax-1:])
		if err != nil {
			return nil, err
		}
		defer squashed.root.Close()
		lowers = append(lowers[:lowersMax-1:lowersMax-1], squashed.entry)
	}
	img.Made, img.Bytes = time.Now().UTC().Truncate(time.Second), 0
	for _, l := range img.Layers {
		img.Bytes += l.Bytes
	}
	if err := json.Unmarshal(raw, &img.ConfigObject); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	d, err := s.draft()
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		os.Remove(d.dir+"/fs"),
		writeJSON(d.dir+"/image.json", img),
		writeJSON(d.dir+"/run.json", runFile{Lowers: lowers, Architecture: arch, Config: img.Config}),
	)
	if err != nil {
		d.discard()
		return nil, fmt.Errorf("store %s: %w", d.dir, err)
	}
	entry := entryName(img.ID)
	var made *Root
	if format != "" && s.differs(entry, lowers) {
		made, err = s.replaceImage(d, entry)
	} else {
		made, err = s.keep(d, imagesDir, entry)
	}
	if err != nil {
		return nil, err
	}
	if name != "" {
		err = s.setName(name, entry)
	}
	if err != nil {
		return nil, errors.Join(err, made.Close())
	}
	root, err := s.useImage(entry)
	return root, errors.Join(err, made.Close())
}

// differs tells whether an image is there that stacks other entries.
func (s store) differs(entry string, lowers []string) bool {
	have, err := s.lowersOf(entry)
	return err == nil && !slices.Equal(have, lowers)
}

// replaceImage puts a draft in the place of the image that is there, at once:
// its names never lead nowhere. Whoever runs it holds no lock on its layers,
// so one that is in use stays.
func (s store) replaceImage(d *draft, entry string) (*Root, error) {
	lock, err := s.lockOut(imagesDir, entry)
	if errors.Is(err, errGone) {
		return s.keep(d, imagesDir, entry)
	}
	if err == nil {
		defer unix.Close(lock)
		err = unix.Renameat2(unix.AT_FDCWD, d.dir, unix.AT_FDCWD, s.path(imagesDir, entry), unix.RENAME_EXCHANGE)
	}
	if err != nil {
		d.discard()
		return nil, fmt.Errorf("image %s: its layers are kept in another store format: %w; try again when nobody runs it", entryDigest(entry), err)
	}
	if err := holdShared(d.lock); err != nil {
		unix.Close(d.lock)
		return nil, fmt.Errorf("store %s: %s was removed as soon as it was made: %w", s.dir, entry, err)
	}
	_ = removePath(d.dir) // what was there; else gc does
	return s.root(entry, d.lock), nil
}

// stackOf gives the entries to stack, the topmost first, each once: the kernel
// refuses one twice, and of two the upper hides all of the lower.
func stackOf(layers []ImageLayer) (lowers []string) {
	seen := map[string]bool{}
	for i := len(layers) - 1; i >= 0; i-- {
		if e := layers[i].Entry; !seen[e] {
			seen[e] = true
			lowers = append(lowers, e)
		}
	}
	return lowers
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o600)
}

// A total adds up the progress of layers that are unpacked side by side.
type total struct {
	mu   sync.Mutex
	to   func(Progress)
	sum  Progress
	each []Progress
	last time.Time
}

func newTotal(to func(Progress), name string, layers []foundLayer, todo []int) *total {
	t := &total{to: to, each: make([]Progress, len(todo))}
	t.sum.Name = name
	for _, n := range todo {
		t.sum.Total += layers[n].Size
	}
	return t
}

func (t *total) of(i int) func(read, written, entries int64, done bool) {
	if t.to == nil {
		return nil
	}
	return func(read, written, entries int64, _ bool) {
		t.mu.Lock()
		defer t.mu.Unlock()
		old := t.each[i]
		t.each[i] = Progress{Read: read, Written: written, Entries: entries}
		t.sum.Read += read - old.Read
		t.sum.Written += written - old.Written
		t.sum.Entries += entries - old.Entries
		if now := time.Now(); now.Sub(t.last) >= 100*time.Millisecond {
			t.last = now
			t.to(t.sum)
		}
	}
}

func (t *total) done() {
	if t.to != nil {
		t.sum.Done = true
		t.to(t.sum)
	}
}

// localImage makes a layout or an archive ready to run, and gives it a name
// unless that is empty.
func (s store) localImage(ctx context.Context, ref Ref, name string, opt Options) (*Root, error) {
	var st unix.Stat_t
	key := ""
	if unix.Stat(ref.file(), &st) == nil {
		key = imageKey(ref, &st, opt)
		if entry, err := os.Readlink(s.path(indexDir, key)); err == nil {
			r, err := s.useImage(entry)
			switch {
			case err != nil:
			case !r.in(opt.Format):
				_ = r.Close()
			case name == "":
				return r, nil
			default:
				return r, s.setName(name, entry)
			}
		}
	}
	if err := s.create(); err != nil {
		return nil, err
	}
	s.sweep()
	r, err := s.fromBundle(ctx, ref, name, opt)
	if err != nil {
		return nil, fmt.Errorf("root %s: %w", ref, err)
	}
	if key != "" {
		s.rememberAs(ref.file(), &st, key, entryName(r.Digest))
	}
	return r, nil
}

// imageKey is where an image of a layout or archive in this state is remembered.
func imageKey(ref Ref, st *unix.Stat_t, opt Options) string {
	which := digestBytes([]byte(string(ref.Kind) + ":" + ref.Tag + ":" + string(opt.Platform)))
	return "img-" + identity(st) + "-" + which[len("sha256:"):][:16]
}

// file is what changes when the image that a reference means does.
func (r Ref) file() string {
	if r.Kind == KindOCI {
		return r.Path + "/index.json"
	}
	return r.Path
}

func (s store) fromBundle(ctx context.Context, ref Ref, name string, opt Options) (*Root, error) {
	if ref.Kind == KindOCI {
		if fi, err := os.Stat(ref.Path); err != nil {
			return nil, bare(err)
		} else if !fi.IsDir() {
			return nil, fmt.Errorf("is a %s; for an archive write oci-archive:%s", fileKind(fi.Mode()), ref.Path)
		}
		f, err := layoutImage(ctx, ref.Path, ref.Tag, opt.Platform)
		if err != nil {
			return nil, err
		}
		return s.take(ctx, f, Image{Source: ref.String()}, name, opt)
	}
	f, err := os.Open(ref.Path)
	if err != nil {
		return nil, bare(err)
	}
	defer f.Close()
	if fi, err := f.Stat(); err == nil && fi.IsDir() {
		return nil, fmt.Errorf("is a directory; for a layout write oci:%s", ref.Path)
	}
	d, err := s.draft()
	if err != nil {
		return nil, err
	}
	defer d.discard()
	if _, err := Unpack(ctx, f, d.dir+"/fs", UnpackOptions{Limits: opt.Limits}); err != nil {
		return nil, err
	}
	return s.fromTree(ctx, d.dir+"/fs", ref, name, opt)
}

// fromTree takes the image of an archive that was unpacked.
func (s store) fromTree(ctx context.Context, dir string, ref Ref, name string, opt Options) (*Root, error) {
	find := layoutImage
	// skopeo and docker write both forms into one archive.
	if _, err := os.Lstat(dir + "/index.json"); err != nil && ref.Kind != KindOCIArchive || ref.Kind == KindDockerArchive {
		find = func(_ context.Context, dir, tag string, want Platform) (*foundImage, error) {
			return dockerImage(dir, tag, want)
		}
	}
	f, err := find(ctx, dir, ref.Tag, opt.Platform)
	if err != nil {
		return nil, err
	}
	return s.take(ctx, f, Image{Source: ref.String()}, name, opt)
}

// Import makes an image out of a tar, a layout or an archive, and gives it the
// name that ref says. The root is ready to run on; Close it.
func Import(ctx context.Context, from Ref, name Ref, opt Options) (*Root, error) {
	if name.Kind != KindImage || name.Digest != "" {
		return nil, fmt.Errorf("image %s: cannot be a name; write NAME[:TAG]", name)
	}
	s, err := storeAt(opt.Store)
	if err != nil {
		return nil, err
	}
	if err := s.can(ctx, opt.Format); err != nil {
		return nil, err
	}
	switch from.Kind {
	case KindOCI, KindOCIArchive, KindDockerArchive:
		return s.localImage(ctx, from, name.FullName(), opt)
	case KindTar:
		opt.plain = true
		tree, err := s.prepareTar(ctx, from, opt)
		if err != nil {
			return nil, err
		}
		defer tree.Close()
		return s.nameTree(ctx, from, tree, name.FullName(), opt)
	}
	return nil, fmt.Errorf("root %s: cannot be imported; give a tar, - for one on standard input, oci:DIR, oci-archive:FILE or docker-archive:FILE", from)
}

// nameTree makes an image of the entry of a plain tar, or of an image that
// turned out to be in the tar.
func (s store) nameTree(ctx context.Context, from Ref, tree *Root, name string, opt Options) (*Root, error) {
	if tree.Kind == KindImage {
		if err := s.setName(name, entryName(tree.Digest)); err != nil {
			return nil, err
		}
		return s.byName(name)
	}
	entry := tree.entries[0]
	m, err := s.meta(entry)
	if err != nil {
		return nil, err
	}
	p := opt.Platform.orHost()
	raw, err := json.Marshal(map[string]any{
		"os": "linux", "architecture": p.Architecture, "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{m.diffID()}},
	})
	if err != nil {
		return nil, err
	}
	img := Image{
		ID: digestBytes(raw), Source: from.String(), Platform: p.String(),
		Layers: []ImageLayer{{DiffID: m.diffID(), Bytes: m.Bytes, Entry: entry}},
	}
	if abs, err := filepath.Abs(from.Path); err == nil && from.Path != "-" {
		img.Source = abs
	}
	return s.makeImage(ctx, img, raw, p.Architecture, name, opt.Format)
}
