package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"hutch/profiles"
	"hutch/runner"
)

func profileCommand() *cli.Command {
	return &cli.Command{
		Name:  "profile",
		Usage: "list the built-in profiles, or check one of your own",
		Subcommands: []*cli.Command{
			{
				Name: "ls", Usage: "list the built-in profiles", OnUsageError: usageError,
				Action: func(*cli.Context) error {
					for _, n := range profiles.BuiltinNames() {
						p, _ := profiles.Builtin(n)
						fmt.Printf("%-10s %s\n", n, p.Description)
					}
					return nil
				},
			},
			{
				Name: "check", Usage: "check profile files", ArgsUsage: "FILE...", OnUsageError: usageError,
				Action: func(c *cli.Context) error {
					if !c.Args().Present() {
						return misuse("write hutch profile check FILE", "no profile was given")
					}
					for _, f := range c.Args().Slice() {
						if _, err := profiles.Load(f); err != nil {
							return &runner.Error{Stage: runner.StageResolve, Err: err}
						}
					}
					return nil
				},
			},
		},
	}
}
