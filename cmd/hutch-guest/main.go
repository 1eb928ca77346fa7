// Hutch has no use for a goroutine that looks for changed cgroup limits.

//go:debug updatemaxprocs=0

// Hutch-guest is hutch's side of a guest: its kernel's process 1, see package
// pid1. It is a program of its own because a guest pays for each page of it:
// the initial root is read, unpacked and kept in memory. It is no program for
// people: hutch carries it inside itself.
package main

import (
	"fmt"
	"os"

	"hutch/runner/pid1"
)

func main() {
	// Anywhere else it would mount over /dev and switch the machine off.
	if !pid1.Wanted() {
		fmt.Fprintln(os.Stderr, "hutch-guest: is process 1 of a guest, and does nothing else; write hutch run --engine uml")
		os.Exit(2)
	}
	pid1.Main()
}
