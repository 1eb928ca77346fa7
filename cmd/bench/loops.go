package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func loopGetppid(b *bench, runs int) (samples, error) {
	args := []string{"getppid", "2000000"}
	return b.loop(runs, args, args)
}

// loopFiltered compares with a seccomp filter of one instruction, outside.
func loopFiltered(b *bench, runs int) (samples, error) {
	return b.loop(runs, []string{"getppid", "2000000"}, []string{"filtered", "2000000"})
}

// loopOpenDevice opens what is the same file inside and outside.
func loopOpenDevice(b *bench, runs int) (samples, error) {
	args := []string{"openat", "200000", "/dev/null"}
	return b.loop(runs, args, args)
}

// loopOpenFile opens a file of the root: through the box's overlay, and directly.
func loopOpenFile(b *bench, runs int) (samples, error) {
	root, err := b.boxRoot()
	if err != nil {
		return samples{}, err
	}
	return b.loop(runs, []string{"openat", "200000", "/etc/file"}, []string{"openat", "200000", filepath.Join(root, "etc/file")})
}

// loopOpenBound opens one file of the host's disk: bound into the box, and by
// its own path.
func loopOpenBound(b *bench, runs int) (samples, error) {
	root, err := b.boxRoot()
	if err != nil {
		return samples{}, err
	}
	ours := command{name: "hutch run", argv: []string{
		b.hutch, "run", "--bind", filepath.Join(root, "etc") + ":/bound", root, "/bin/loop", "openat", "200000", "/bound/file",
	}}
	theirs := command{name: "loop", argv: []string{filepath.Join(b.root, "bin/loop"), "openat", "200000", filepath.Join(root, "etc/file")}}
	s, err := b.pairs(runs, printedNumber, ours, theirs)
	s.peerName = "outside"
	return s, err
}

// loopExplained opens a file that nothing refuses, looked at and not.
func loopExplained(b *bench, runs int) (samples, error) {
	theirs, err := b.hutchRun("/bin/loop", "openat", "5000", "/etc/file")
	if err != nil {
		return samples{}, err
	}
	ours := command{name: "hutch run --explain=all", argv: slices.Insert(slices.Clone(theirs.argv), 2, "--explain=all")}
	s, err := b.pairs(runs, printedNumber, ours, theirs)
	s.peerName = "without"
	return s, err
}

// loop compares the time of one call inside with that outside, as the loop
// program itself prints it.
func (b *bench) loop(runs int, inside, outside []string) (samples, error) {
	ours, err := b.hutchRun(append([]string{"/bin/loop"}, inside...)...)
	if err != nil {
		return samples{}, err
	}
	theirs := command{name: "loop", argv: append([]string{filepath.Join(b.root, "bin/loop")}, outside...)}
	s, err := b.pairs(runs, printedNumber, ours, theirs)
	s.peerName = "outside"
	return s, err
}

// printedNumber is the number that c writes.
func printedNumber(c command) (float64, error) {
	stdout, _, err := output(c)
	if err != nil {
		return 0, err
	}
	number, err := strconv.ParseFloat(strings.TrimSpace(string(stdout)), 64)
	if err != nil {
		return 0, fmt.Errorf("%s wrote no number: %w", c.name, err)
	}
	return number, nil
}
