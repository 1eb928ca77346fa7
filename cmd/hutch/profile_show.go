package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"hutch/profiles"
	"hutch/runner"
	"hutch/seccomp"
)

// asked is what a profile on the command line means.
func loadProfile(c *cli.Context, name string) (*profiles.Profile, *profiles.Origins, error) {
	if strings.HasSuffix(name, ".json") {
		p, warnings, err := decodeOCI(name, profiles.DockerCapabilities())
		if err != nil {
			return nil, nil, err
		}
		p.Warnings = append(p.Warnings, warnings...)
		return p, nil, nil
	}
	p, origins, err := profiles.Trace(name)
	if err != nil {
		return nil, nil, profileError(err)
	}
	return p, origins, nil
}

func profileShow() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show a profile with all that it extends, and where each line is from", ArgsUsage: "PROFILE",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "bpf", Usage: "show the filter that the kernel runs, an instruction a line"},
			&cli.BoolFlag{Name: "json", Usage: "show it for programs"},
		},
		OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return misuse("write hutch profile show PROFILE", "one profile is shown at a time, not %d", c.NArg())
			}
			p, origins, err := loadProfile(c, c.Args().First())
			if err != nil {
				return err
			}
			for _, w := range p.Warnings {
				warn("%s", w)
			}
			switch {
			case c.Bool("bpf"):
				return showFilter(p)
			case c.Bool("json"):
				value, err := p.Plain()
				if err != nil {
					return err
				}
				return writeJSON(value)
			}
			e := profiles.Encoder{}
			if origins != nil {
				e.Behind = origins.Of
			}
			var b bytes.Buffer
			if err := e.Encode(&b, p); err != nil {
				return err
			}
			_, err = show.WriteString(colourTOML(b.String()))
			return err
		},
	}
}

func showFilter(p *profiles.Profile) error {
	f, err := p.Filter(cacheDir())
	if err != nil {
		return &runner.Error{Stage: runner.StageResolve, Err: err}
	}
	if f == nil {
		return misuse("give it a table [seccomp], or extend base", "profile %s has no filter", p.Name)
	}
	return seccomp.Disassemble(show, f)
}

func writeJSON(value any) error {
	e := json.NewEncoder(show)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

func profileList() *cli.Command {
	return &cli.Command{
		Name: "ls", Usage: "list the built-in profiles", OnUsageError: usageError,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "list them for programs"}},
		Action: func(c *cli.Context) error {
			if err := noArguments(c); err != nil {
				return err
			}
			type entry struct {
				Name        string   `json:"name"`
				Description string   `json:"description"`
				Extends     []string `json:"extends"`
			}
			list := []entry{}
			for _, n := range profiles.BuiltinNames() {
				p, _ := profiles.Builtin(n)
				list = append(list, entry{n, p.Description, append([]string{}, p.Extends...)})
			}
			if c.Bool("json") {
				return writeJSON(list)
			}
			for _, e := range list {
				fmt.Fprintf(show, "%s %s\n", paint(bold, fmt.Sprintf("%-10s", e.Name)), e.Description)
			}
			return nil
		},
	}
}

func profileDiff() *cli.Command {
	return &cli.Command{
		Name: "diff", Usage: "say what profile B allows more and less than A", ArgsUsage: "A B",
		Description: "The exit status is 0 where they are the same, 1 where they differ.",
		Flags:       []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "say it for programs"}}, OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			if c.NArg() != 2 {
				return misuse("write hutch profile diff A B", "two profiles are compared, not %d", c.NArg())
			}
			a, _, err := loadProfile(c, c.Args().Get(0))
			if err != nil {
				return err
			}
			b, _, err := loadProfile(c, c.Args().Get(1))
			if err != nil {
				return err
			}
			list, err := profiles.Diff(a, b)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				err = writeJSON(append([]profiles.Difference{}, list...))
			} else {
				printDiff(c.Args().Get(0), c.Args().Get(1), list)
			}
			if err == nil && len(list) > 0 {
				return exit(1)
			}
			return err
		},
	}
}

func printDiff(a, b string, list []profiles.Difference) {
	heads := map[string]string{profiles.More: "allows more than", profiles.Less: "allows less than", profiles.Other: "differs otherwise from"}
	colours := map[string]string{profiles.More: green, profiles.Less: red, profiles.Other: bold}
	last := ""
	for _, d := range list {
		if d.Kind != last {
			fmt.Fprintln(show, paint(colours[d.Kind], fmt.Sprintf("%s %s %s:", b, heads[d.Kind], a)))
			last = d.Kind
		}
		if len(d.Calls) == 0 {
			printWrapped("  "+d.Key+": ", "    ", d.Text)
			continue
		}
		printWrapped("  ", "  ", strings.Join(d.Calls, ", "))
		printWrapped("      ", "      ", d.Text)
	}
	if len(list) == 0 {
		fmt.Fprintf(show, "%s and %s allow the same.\n", a, b)
	}
}
