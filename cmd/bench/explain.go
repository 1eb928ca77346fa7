package main

import "slices"

// runExplained compares a run that is explained with one that is not; it calls
// and opens much, and nothing is refused.
func runExplained(b *bench, runs int) (samples, error) {
	without, err := b.hutchRun("/bin/loop", "openat", "300000", "/dev/null")
	if err != nil {
		return samples{}, err
	}
	with := without
	with.argv = slices.Concat(with.argv[:2], []string{"--explain"}, with.argv[2:])
	s, err := b.pairs(runs, b.wallMilliseconds, with, without)
	s.peerName = "without --explain"
	return s, err
}

// learned is a learning run of a program that does nothing but open files, and
// every one of them is recorded.
func (b *bench) learned() (learn command, plain command, err error) {
	plain, err = b.hutchRun("/bin/loop", "openat", "100000", "/dev/null")
	learn = plain
	learn.argv = slices.Concat(plain.argv[:1], []string{"profile", "learn", "-o", "/dev/null"}, plain.argv[2:])
	return learn, plain, err
}

func runLearned(b *bench, runs int) (samples, error) {
	learn, plain, err := b.learned()
	if err != nil {
		return samples{}, err
	}
	s, err := b.pairs(runs, b.wallMilliseconds, learn, plain)
	s.peerName = "hutch run"
	return s, err
}

func runLearnedStrace(b *bench, runs int) (samples, error) {
	learn, plain, err := b.learned()
	if err != nil {
		return samples{}, err
	}
	path, name, err := peer("strace", "strace", "--version")
	if err != nil {
		return samples{}, err
	}
	traced := plain
	traced.argv = slices.Concat([]string{path, "-f", "-qq", "-o", "/dev/null"}, plain.argv)
	s, err := b.pairs(runs, b.wallMilliseconds, learn, traced)
	s.peerName = name + " -f"
	return s, err
}
