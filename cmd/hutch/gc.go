package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"hutch/rootfs"
	"hutch/runner"
	"hutch/runner/cgroup"
	"hutch/seccomp"
)

func gcCommand() *cli.Command {
	return &cli.Command{
		Name:  "gc",
		Usage: "remove what killed runs left behind",
		Description: `Only SIGKILL, or a crash of the machine, leaves something: a control group, a
half-unpacked root, a copy that was not done. What belongs to a living run stays.
Compiled filters that are older than a month go too.`,
		OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			// Each says what it removed, also when the next one fails.
			var failed error
			for _, collect := range []func() error{gcGroups, gcStore, gcCopies, gcFilters} {
				if err := collect(); err != nil && failed == nil {
					failed = err
				}
			}
			return failed
		},
	}
}

// gcGroups removes control groups, and ends what still runs in them.
func gcGroups() error {
	removed, err := cgroup.Sweep(true)
	for _, path := range removed {
		fmt.Fprintln(show, "removed control group "+path)
	}
	if err != nil {
		return &runner.Error{Stage: runner.StageRun, Step: "remove control groups", Err: err, Hint: "run it as the user that the group belongs to, or as root"}
	}
	return nil
}

// gcStore removes what an unpacking left that was killed.
func gcStore() error {
	stats, err := rootfs.GC("", rootfs.GCOptions{Keep: -1})
	if stats.Temporaries > 0 {
		fmt.Fprintf(show, "removed %d half-unpacked roots\n", stats.Temporaries)
	}
	if err != nil {
		return &runner.Error{Stage: runner.StageRun, Step: "clean the store", Err: err, Hint: "it is cleaned by the user that it belongs to"}
	}
	return nil
}

// gcFilters removes compiled filters and profiles that nobody made for a month.
func gcFilters() error {
	cache, err := seccomp.OpenCache(cacheDir())
	if err != nil {
		return nil // there is none, or it is not trusted and not used
	}
	defer cache.Close()
	removed, err := cache.Prune()
	if removed > 0 {
		fmt.Fprintf(show, "removed %d old filters and profiles\n", removed)
	}
	if err != nil {
		return &runner.Error{Stage: runner.StageRun, Step: "clean the cache of filters", Err: err, Hint: "remove it by hand, and run hutch gc again"}
	}
	return nil
}

// gcCopies removes what a copy out of a box left that was killed.
func gcCopies() error {
	removed, err := copyRecords().Sweep()
	for _, path := range removed {
		fmt.Fprintln(show, "removed half a copy, "+path)
	}
	if err != nil {
		return &runner.Error{Stage: runner.StageRun, Step: "remove half a copy", Err: err, Hint: "remove it by hand, and run hutch gc again"}
	}
	return nil
}
