// Profile does what a run does about its built-in profile, once, and prints how
// long that took in milliseconds: the first call in a process pays for every page
// of code that it touches, as a run does.
package main

import (
	"fmt"
	"os"
	"time"

	"hutch/profiles"
	"hutch/rootfs"
	"hutch/runner"
)

func main() {
	o := runner.Override{Command: []string{"/bin/true"}}
	root := &rootfs.Root{Kind: rootfs.KindDir, Lowers: []string{"/"}}
	began := time.Now()
	p, filter, err := profiles.Ready(os.Args[1], "")
	if err != nil {
		fatal(err)
	}
	spec, err := runner.Resolve(p, root, o)
	if err != nil {
		fatal(err)
	}
	spec.Seccomp = runner.Seccomp{Name: p.Name, Digest: filter.Digest(), Filter: filter}
	took := time.Since(began)
	if err := spec.Validate(); err != nil {
		fatal(err)
	}
	fmt.Println(1000 * took.Seconds())
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "profile:", err)
	os.Exit(1)
}
