// Command hutch-scope asks systemd for a scope for hutch; see package scope. It
// is no program for people: hutch carries it inside itself.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"hutch/runner/cgroup/scope"
)

// patience bounds the whole conversation.
const patience = 5 * time.Second

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(125)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("hutch-scope is started by hutch, and does nothing else; write hutch run --memory SIZE")
	}
	pid, err := strconv.ParseUint(args[2], 10, 32)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return scope.Start(ctx, args[1], int(pid))
}
