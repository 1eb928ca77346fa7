package main

import (
	"encoding/json"
	"fmt"

	"github.com/urfave/cli/v2"

	"hutch/runner/host"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "say what this machine can enforce, what it cannot, why, and what to do",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "write the facts as JSON"},
		},
		OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			facts := host.Probe(c.Context)
			list := append(append(facts.List(), limitFacts()...), guestFacts()...)
			if c.Bool("json") {
				e := json.NewEncoder(show)
				e.SetIndent("", "  ")
				return e.Encode(list)
			}
			for _, f := range list {
				printFact(f)
			}
			if !facts.UserNamespaces.Have {
				return exit(1)
			}
			return nil
		},
	}
}

func printFact(f host.Fact) {
	mark := "yes"
	if !f.Have {
		mark = "no "
	}
	fmt.Fprintf(show, "%s  %-22s %s\n", mark, f.Name, f.Value)
	if f.Reason != "" {
		fmt.Fprintf(show, "     why: %s\n", f.Reason)
	}
	if f.Remedy != "" && !f.Have {
		fmt.Fprintf(show, "     do:  %s\n", f.Remedy)
	}
}
