package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/urfave/cli/v2"

	"hutch/rootfs"
	"hutch/runner"
)

// unpackCommand is the unpacker by itself, for the benchmark and for a look
// at what a tar holds.
func unpackCommand() *cli.Command {
	return &cli.Command{
		Name: "unpack", Usage: "unpack a root file system tar into a directory", ArgsUsage: "FILE DIR", Hidden: true,
		OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			if c.NArg() != 2 {
				return misuse("write hutch unpack FILE DIR", "expected a tar and a directory")
			}
			manyThreads()
			f, err := os.Open(c.Args().Get(0))
			if err != nil {
				return err
			}
			defer f.Close()
			ctx, stop := notifyContext(syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if _, err := rootfs.Unpack(ctx, f, c.Args().Get(1), rootfs.UnpackOptions{}); err != nil {
				return &runner.Error{Stage: runner.StagePrepare, Step: fmt.Sprintf("unpack %s", c.Args().Get(0)), Err: err}
			}
			return nil
		},
	}
}
