package main

import (
	"context"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"hutch/rootfs"
	"hutch/runner"
)

// imageCommit makes a layer of what is kept, and an image with it on top.
func imageCommit(c *cli.Context) error {
	if c.NArg() != 2 {
		return misuse("write hutch image commit KEPT NAME, as in: hutch image commit build debian:with-gcc", "expected what is kept, and a name for the image")
	}
	name, err := rootfs.ParseImage(c.Args().Get(1))
	if err != nil {
		return imageError(c.Args().Get(1), err)
	}
	kept, err := rootfs.FindKeep("", c.Args().Get(0))
	if err != nil {
		return upperError(err)
	}
	defer kept.Close()
	return interruptible(func(ctx context.Context) error {
		layer, err := kept.Scratch()
		if err != nil {
			return upperError(err)
		}
		defer layer.Close()
		if err := packKept(ctx, kept, layer); err != nil {
			return &runner.Error{Stage: runner.StagePrepare, Step: "keep " + kept.Name, Err: err, Hint: "run it once more with --keep, and remove what a layer cannot hold"}
		}
		root, err := rootfs.Commit(ctx, kept, name, layer, rootfs.Options{})
		if err != nil {
			return imageError(kept.Name, err)
		}
		defer root.Close()
		fmt.Fprintln(show, root.Digest)
		return nil
	})
}

// packKept writes what is kept as a layer.
func packKept(ctx context.Context, kept *rootfs.Keep, layer *os.File) error {
	upper, err := keptUpper(kept.Path)
	if err != nil {
		return err
	}
	defer upper.Close()
	spec := &runner.Spec{IDMap: runner.IDMapAuto}
	spec.Root.Keep = kept.Path
	return packUpper(ctx, spec, upper, layer, false)
}
