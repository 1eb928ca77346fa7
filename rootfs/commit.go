package rootfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Scratch is a new file without a name beside the kept writes, for the layer
// that is made of them.
func (k *Keep) Scratch() (*os.File, error) {
	f, err := os.CreateTemp(k.dir, "layer-")
	if err != nil {
		return nil, fmt.Errorf("keep %s: %w", k.Name, bare(err))
	}
	return f, bare(os.Remove(f.Name()))
}

// Commit makes a new image: the one that the kept writes lie on, and above it
// layer, which Pack has made of them. The image gets the name that ref says,
// and the configuration of the one below. What is kept stays.
func Commit(ctx context.Context, k *Keep, ref Ref, layer *os.File, opt Options) (*Root, error) {
	if ref.Kind != KindImage || ref.Digest != "" {
		return nil, fmt.Errorf("image %s: cannot be a name; write NAME[:TAG]", ref)
	}
	s, err := storeAt(opt.Store)
	if err != nil {
		return nil, err
	}
	base, err := s.baseOf(k)
	if err != nil {
		return nil, err
	}
	defer base.Close() // which holds its layers
	img, err := s.image(entryName(base.Digest))
	if err != nil {
		return nil, err
	}
	added := foundLayer{open: func(context.Context) (io.ReadCloser, error) {
		_, err := layer.Seek(0, io.SeekStart)
		return io.NopCloser(layer), err
	}}
	if _, err := layer.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if added.DiffID, err = hashFile(ctx, layer); err != nil {
		return nil, err
	}
	added.Digest = added.DiffID
	tree, bytes, err := s.layerOnce(ctx, &added, opt)
	if err != nil {
		return nil, fmt.Errorf("keep %s: %w", k.Name, err)
	}
	defer tree.Close()
	raw, err := configAbove(img.ConfigObject, added.DiffID, k.Name)
	if err != nil {
		return nil, fmt.Errorf("image %s: configuration: %w", img.ID, err)
	}
	img.Layers = append(img.Layers, ImageLayer{DiffID: added.DiffID, Digest: added.Digest, Bytes: bytes, Entry: tree.entries[0]})
	img.ID, img.Manifest, img.Fetched, img.Source, img.Names = digestBytes(raw), "", false, "keep:"+k.Name, []string{}
	return s.makeImage(ctx, img, raw, base.arch, ref.FullName(), "")
}

// layerOnce takes a layer into the store, or holds the one that is there.
func (s store) layerOnce(ctx context.Context, l *foundLayer, opt Options) (*Root, int64, error) {
	if tree, err := s.useAs(opt.Format, layerEntry(l.DiffID)); err == nil {
		m, err := s.meta(tree.entries[0])
		if err == nil {
			return tree, m.Bytes, nil
		}
		_ = tree.Close()
	}
	tree, m, err := s.takeLayer(ctx, l, opt.Format, UnpackOptions{Limits: opt.Limits})
	return tree, m.Bytes, err
}

// baseOf holds the image that writes were kept on: the one that was run, or
// else any that stacks the same layers.
func (s store) baseOf(k *Keep) (*Root, error) {
	if k.meta.Image != "" {
		if r, err := s.useImage(entryName(k.meta.Image)); err == nil {
			return r, nil
		}
	}
	list, err := s.images()
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, err
	}
	for _, img := range list {
		r, err := s.useImage(entryName(img.ID))
		if err != nil {
			continue
		}
		if slices.Equal(r.Lowers, k.Lowers) {
			return r, nil
		}
		_ = r.Close()
	}
	return nil, fmt.Errorf("keep %s: was made on %s, which is no image of the store; make one of it with hutch image import, "+
		"and run that with --keep", k.Name, k.Source)
}

// configAbove is a configuration with one more layer, all else as it was.
func configAbove(below any, diffID, keep string) ([]byte, error) {
	b, err := json.Marshal(below)
	if err != nil {
		return nil, err
	}
	var config map[string]any
	if err := json.Unmarshal(b, &config); err != nil {
		return nil, err
	}
	rootfs, ok := config["rootfs"].(map[string]any)
	if !ok {
		return nil, errors.New("has no rootfs")
	}
	ids, _ := rootfs["diff_ids"].([]any)
	rootfs["diff_ids"] = append(ids, diffID)
	now := time.Now().UTC().Format(time.RFC3339)
	config["created"] = now
	history, _ := config["history"].([]any)
	config["history"] = append(history, map[string]any{
		"created": now, "created_by": "hutch image commit " + keep,
	})
	return json.Marshal(config)
}
