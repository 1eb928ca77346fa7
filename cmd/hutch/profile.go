package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"hutch/profiles"
	"hutch/runner"
)

func profileCommand() *cli.Command {
	return &cli.Command{
		Name:            "profile",
		Usage:           "list the built-in profiles, or check one of your own",
		HideHelpCommand: true,
		OnUsageError:    usageError,
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return cli.ShowSubcommandHelp(c)
			}
			return misuse("hutch profile --help lists the verbs", "no such verb: %q", c.Args().First())
		},
		Subcommands: []*cli.Command{
			profileConvert(),
			{
				Name: "ls", Usage: "list the built-in profiles", OnUsageError: usageError,
				Action: func(c *cli.Context) error {
					if err := noArguments(c); err != nil {
						return err
					}
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
						// A bare name would be that of a built-in one.
						if !strings.Contains(f, "/") {
							f = "./" + f
						}
						if _, err := profiles.Load(f); err != nil {
							return profileError(err)
						}
					}
					return nil
				},
			},
		},
	}
}

// profileError gives advice with err where its own text has none.
func profileError(err error) error {
	e := &runner.Error{Stage: runner.StageResolve, Err: err, Hint: "hutch profile ls lists the built-in profiles; any other is a TOML file"}
	var placed *profiles.Error
	if errors.As(err, &placed) && placed.Line > 0 {
		e.Hint = "correct that line; hutch profile check " + placed.File + " looks at it again"
	}
	return e
}
