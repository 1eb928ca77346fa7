package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
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

// writeKept writes 100 MiB.
const writeKept = "mkdir -p /kept; for i in $(seq 100); do dd if=/dev/zero of=/kept/$i bs=1048576 count=1 2>/dev/null; done"

// guestKeep compares runs of script in a User Mode Linux guest with a keep that
// holds 100 MiB, in 100 files, with runs without one.
func guestKeep(script string) func(*bench, int) (samples, error) {
	return func(b *bench, runs int) (s samples, err error) {
		plain, err := b.umlRun("/bin/sh", "-c", script)
		if err != nil {
			return s, err
		}
		fill, err := b.hutchRun("/bin/sh", "-c", writeKept)
		if err != nil {
			return s, err
		}
		name := fmt.Sprintf("hutch-bench-guest-%d", os.Getpid())
		with := func(c command) command {
			return command{name: c.name + " --keep", argv: slices.Concat(c.argv[:2], []string{"--keep", name}, c.argv[2:])}
		}
		if _, _, err := output(with(fill)); err != nil {
			return s, err
		}
		s, err = b.pairs(runs, b.wallMilliseconds, with(plain), plain)
		s.peerName = "without --keep"
		if out, rerr := exec.Command(b.hutch, "keep", "rm", name).CombinedOutput(); err == nil && rerr != nil {
			err = fmt.Errorf("hutch keep rm: %w: %s", rerr, out)
		}
		return s, err
	}
}
