// hutch has no use for a goroutine that looks for changed cgroup limits.

//go:debug updatemaxprocs=0

// Command hutch runs one application in a box of its own.
package main

import (
	"os"
	"runtime"

	"github.com/urfave/cli/v2"

	"hutch/rootfs"
	"hutch/seccomp"
)

// Set by the linker, see the Makefile.
var (
	version = "devel"
	commit  = "unknown"
)

func main() {
	growStack()
	os.Exit(run(os.Args))
}

// growStack needs a stack as large as a start does, at once. Growing it in four
// steps, each of which copies what is there and adjusts it, frame by frame, took
// 0.03 of a run.
//
//go:noinline
func growStack() { var room [32 << 10]byte; runtime.KeepAlive(&room) }

// run is main without the exit.
func run(args []string) int {
	defer adoptable.Discard()
	seccomp.UseCompiler(compiler{})
	rootfs.UseDecoder(decode)
	if len(args) > 1 && args[1] == "run" {
		if status, ok := runFast(args[2:]); ok {
			return status
		}
	}
	app := &cli.App{
		Name:  "hutch",
		Usage: "run one application in a box of its own",
		UsageText: `hutch run [options] ROOT [--] COMMAND [ARG...]
hutch compare ROOT [--] COMMAND [ARG...]
hutch keep ls
hutch keep rm NAME...
hutch image pull | import | commit | ls | inspect | rm | gc | verify
hutch profile ls | show | check | diff | convert | learn
hutch doctor
hutch gc`,
		Version:                version + " (commit " + commit + ")",
		Writer:                 show,
		HideHelpCommand:        true,
		UseShortOptionHandling: false,
		Commands:               []*cli.Command{runCommand(), imageCommand(), doctorCommand(), profileCommand(), gcCommand(), unpackCommand(), keepCommand(), helperCommand(), compareCommand(), workCommand()},
		ExitErrHandler:         func(*cli.Context, error) {},
		OnUsageError:           usageError,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return unknownVerb(c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	return exitStatus(app.Run(args))
}
