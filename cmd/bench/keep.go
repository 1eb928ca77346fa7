package main

import (
	"fmt"
	"os"
	"os/exec"
)

// keepWrites compares a run that keeps what it writes with one that throws it
// away. The store lies on a disk.
func keepWrites(b *bench, runs int) (samples, error) {
	plain, err := b.hutchRun("/bin/sh", "-c", "echo x >/new")
	if err != nil {
		return samples{}, err
	}
	name := fmt.Sprintf("hutch-bench-%d", os.Getpid())
	keep := command{name: "hutch run --keep", argv: append([]string{b.hutch, "run", "--keep", name}, plain.argv[2:]...)}
	s, err := b.pairs(runs, b.wallMilliseconds, keep, plain)
	s.peerName = "without --keep"
	if out, rerr := exec.Command(b.hutch, "keep", "rm", name).CombinedOutput(); err == nil && rerr != nil {
		err = fmt.Errorf("hutch keep rm: %w: %s", rerr, out)
	}
	return s, err
}
