// Command hutch-seccomp compiles a policy with libseccomp. Hutch carries it
// inside itself and runs it when a filter is not in its cache: a Request in
// JSON on standard input, the filter, struct sock_filter of seccomp(2), on
// standard output, and what is wrong on standard error.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"

	"hutch/seccomp"
)

func main() {
	debug.SetGCPercent(-1) // it has ended before there is anything to collect
	if len(os.Args) > 1 && os.Args[1] == "--version" {
		fmt.Println(seccomp.CompilerVersion())
		return
	}
	if err := compile(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func compile() error {
	var r seccomp.Request
	if err := json.NewDecoder(os.Stdin).Decode(&r); err != nil {
		return fmt.Errorf("the request: %w", err)
	}
	f, err := seccomp.CompileFor(&r.Policy, r.Arch)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(f)
	return err
}
