package main

import (
	"errors"

	"github.com/urfave/cli/v2"

	"hutch/profiles"
	"hutch/runner"
)

func profileCommand() *cli.Command {
	return &cli.Command{
		Name:            "profile",
		Usage:           "list, show, check, compare, convert and learn profiles",
		HideHelpCommand: true,
		OnUsageError:    usageError,
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return cli.ShowSubcommandHelp(c)
			}
			return misuse("hutch profile --help lists the verbs", "no such verb: %q", c.Args().First())
		},
		Subcommands: []*cli.Command{
			profileList(), profileShow(), profileCheck(), profileDiff(), profileConvert(), profileLearn(),
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
