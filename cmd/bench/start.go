package main

import (
	"fmt"
	"path/filepath"
)

// hutchRun is `hutch run` of the shared root.
func (b *bench) hutchRun(args ...string) (command, error) {
	root, err := b.boxRoot()
	if err != nil {
		return command{}, err
	}
	return command{name: "hutch run", argv: append([]string{b.hutch, "run", root}, args...)}, nil
}

func startBwrap(b *bench, runs int) (samples, error) {
	path, name, err := peer("bwrap", "bubblewrap", "--version")
	if err != nil {
		return samples{}, err
	}
	ours, err := b.hutchRun("/bin/true")
	if err != nil {
		return samples{}, err
	}
	theirs := command{name: "bwrap", argv: []string{
		path, "--unshare-all", "--ro-bind", b.root, "/",
		"--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "/bin/true",
	}}
	s, err := b.pairs(runs, b.wallMilliseconds, ours, theirs)
	s.peerName = name
	return s, err
}

func startCrun(b *bench, runs int) (samples, error) { return b.startOCI(runs, "crun") }
func startRunc(b *bench, runs int) (samples, error) { return b.startOCI(runs, "runc") }

// startOCI compares with `run` of an OCI runtime: create, start, wait, delete.
func (b *bench) startOCI(runs int, runtime string) (s samples, err error) {
	path, name, err := peer(runtime, runtime, "--version")
	if err != nil {
		return s, err
	}
	ours, err := b.hutchRun("/bin/true")
	if err != nil {
		return s, err
	}
	bundle := filepath.Join(b.temp, runtime)
	if err := writeBundle(bundle, b.root); err != nil {
		return s, err
	}
	if runtime == "crun" {
		restore, err := emptyUnified(filepath.Join(b.temp, "hugetlb"))
		if err != nil {
			return s, err
		}
		defer func() {
			if e := restore(); err == nil {
				err = e
			}
		}()
	}
	argv := []string{path, "--root", filepath.Join(b.temp, runtime+"-state"), "run", "--bundle", bundle, fmt.Sprintf("hutch-bench-%s", runtime)}
	s, err = b.pairs(runs, b.wallMilliseconds, ours, command{name: runtime + " run", argv: argv})
	s.peerName = name
	return s, err
}
