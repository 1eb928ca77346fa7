package guest

import (
	"context"
	"errors"
	"fmt"

	"hutch/rootfs"
	"hutch/runner"
)

// LayerType is the file system of the images that Layers makes.
const LayerType = "erofs"

// Layers are the block images of a root's layers.
type Layers struct {
	kept   string
	images []*rootfs.BlockImage
}

// PrepareLayers finds or makes an image of every directory, in order, in the
// store ("" is the default one). kept, if not empty, is an image that is on top of
// them. max is how many disks the engine's guests can have. Close it when the
// guest is gone.
func PrepareLayers(ctx context.Context, kept string, dirs []string, store string, max int) (*Layers, error) {
	if kept != "" {
		max--
	}
	if len(dirs) > max {
		return nil, &runner.Error{
			Stage: runner.StagePrepare, Step: fmt.Sprintf("the root has %d layers; a guest of this engine takes %d disks", len(dirs), max),
			Hint: "unpack it into one directory first, or use --engine native",
		}
	}
	l := &Layers{kept: kept}
	for _, dir := range dirs {
		image, err := rootfs.NewBlockImage(ctx, dir, rootfs.Options{Store: store})
		if err != nil {
			l.Close()
			return nil, &runner.Error{Stage: runner.StagePrepare, Step: "make a disk of " + dir, Err: err, Hint: "there must be room in the store, and every file must be readable"}
		}
		l.images = append(l.images, image)
	}
	return l, nil
}

// Paths are the files of the images, the topmost first.
func (l *Layers) Paths() (paths []string) {
	if l.kept != "" {
		paths = append(paths, l.kept)
	}
	for _, image := range l.images {
		paths = append(paths, image.Path)
	}
	return paths
}

// Close lets the store remove the images again.
func (l *Layers) Close() error {
	var errs []error
	for _, image := range l.images {
		errs = append(errs, image.Close())
	}
	return errors.Join(errs...)
}
