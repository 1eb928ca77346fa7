package main

import (
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hutch/profiles"
)

func profileConvert() *cli.Command {
	return &cli.Command{
		Name: "convert", Usage: "write a seccomp file of Docker or OCI as a profile", ArgsUsage: "FILE.json",
		Description: `Rules with conditions are settled for this machine, and for the capabilities
that Docker leaves to a container and those given with --cap.`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "cap", Usage: "the application also keeps capability `NAME`"},
			&cli.StringFlag{Name: "o", Usage: "write to `FILE.toml` and not to standard output"},
		},
		OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return misuse("write hutch profile convert FILE.json", "one file is converted at a time, not %d", c.NArg())
			}
			capabilities := profiles.DockerCapabilities()
			for _, name := range c.StringSlice("cap") {
				capabilities = append(capabilities, "CAP_"+strings.TrimPrefix(strings.ToUpper(name), "CAP_"))
			}
			return convertProfile(c.Args().First(), c.String("o"), slices.Compact(capabilities))
		},
	}
}

func convertProfile(file, to string, capabilities []string) error {
	p, warnings, err := decodeOCI(file, capabilities)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		warn("%s: %s", file, w)
	}
	e := profiles.Encoder{Above: func(path string) string {
		if path == "version" {
			return "Converted from " + printable(file) + " by hutch profile convert."
		}
		return ""
	}}
	if to == "" {
		to = "-"
	}
	if err := writeWhole(to, func(w io.Writer) error { return e.Encode(w, p) }); err != nil {
		return misuse("name a file in a directory that you can write to", "%s: %v", to, bare(err))
	}
	return nil
}
