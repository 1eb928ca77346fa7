package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// gigabyteOut compares 1 GiB out of a box, without a terminal, with the same
// program on a plain pipe.
func gigabyteOut(b *bench, runs int) (samples, error) {
	args := []string{"/bin/busybox", "dd", "if=/dev/zero", "bs=1M", "count=1024"}
	ours, err := b.hutchRun(args...)
	if err != nil {
		return samples{}, err
	}
	plain := command{name: "a plain pipe", argv: append([]string{filepath.Join(b.root, args[0])}, args[1:]...)}
	s, err := b.pairs(runs, b.drain, ours, plain)
	s.peerName = plain.name
	return s, err
}

// drain is the time from the first byte of c's output to the last, which must
// be 1 GiB.
func (b *bench) drain(c command) (float64, error) {
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.name, err)
	}
	buf := make([]byte, 1<<20)
	n, err := io.ReadAtLeast(out, buf, 1)
	total, began := int64(n), time.Now()
	for err == nil {
		n, err = out.Read(buf)
		total += int64(n)
	}
	took := time.Since(began).Seconds()
	if werr := cmd.Wait(); werr != nil {
		return 0, fmt.Errorf("%s: %w", c.name, werr)
	}
	if !errors.Is(err, io.EOF) || total != 1<<30 {
		return 0, fmt.Errorf("%s: %d bytes came out: %w", c.name, total, err)
	}
	return took, nil
}
