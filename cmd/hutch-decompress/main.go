// Command hutch-decompress FORMAT unpacks a zst, xz or bz2 stream from standard input
// to standard output, without a privilege or a file. Hutch carries it inside
// itself; see package decode. What is wrong is an exit status, and words on
// standard error.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"hutch/rootfs"
	"hutch/rootfs/confine"
	"hutch/rootfs/decode"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "hutch-decompress: is started by hutch, and does nothing else")
		os.Exit(2)
	}
	if err := unpack(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(status(err))
	}
}

var errConfine = errors.New("give up privileges")

func unpack(format string) error {
	if err := confine.Alone(); err != nil {
		return fmt.Errorf("%w: %w", errConfine, err)
	}
	d, err := decode.Open(format, os.Stdin)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{os.Stdout}, struct{ io.Reader }{d}, make([]byte, 256<<10))
	return err
}

func status(err error) int {
	switch {
	case errors.Is(err, errConfine):
		return 1
	case errors.Is(err, io.ErrUnexpectedEOF):
		return rootfs.StatusCutShort
	case errors.Is(err, decode.ErrDemand):
		return rootfs.StatusDemand
	}
	return rootfs.StatusDamaged
}
