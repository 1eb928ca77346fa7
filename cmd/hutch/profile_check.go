package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"hutch/profiles"
	"hutch/runner"
)

// A finding is what check says of a file, for programs.
type finding struct {
	File string `json:"file"`
	OK   bool   `json:"ok"`
	// The first mistake is told here too.
	*mistake
	Mistakes []mistake `json:"mistakes,omitempty"`
	Warnings []string  `json:"warnings,omitempty"`
}

// A mistake is one of a profile.
type mistake struct {
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Source  string `json:"source,omitempty"` // the line itself
	Message string `json:"message"`
	Nearest string `json:"nearest,omitempty"` // what was likely meant
}

func profileCheck() *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "check profile files, and say all that is wrong with them", ArgsUsage: "FILE...", OnUsageError: usageError,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "say it for programs; the exit status is the same"}},
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return misuse("write hutch profile check FILE", "no profile was given")
			}
			var list []finding
			var all []error
			for _, file := range c.Args().Slice() {
				found, wrong := checkFile(c, file)
				list, all = append(list, found), append(all, wrong...)
			}
			if c.Bool("json") {
				if err := writeJSON(list); err != nil || len(all) == 0 {
					return err
				}
				return exit(runner.ExitHutch)
			}
			for _, f := range list {
				for _, w := range f.Warnings {
					warn("%s", w)
				}
			}
			return sayMistakes(all)
		},
	}
}

// checkFile looks at one file, and gives what is wrong with it also as errors.
func checkFile(c *cli.Context, file string) (finding, []error) {
	path := file
	// A bare name would be that of a built-in one.
	if !strings.Contains(file, "/") {
		path = "./" + file
	}
	var wrong []error
	if info, err := os.Stat(file); file == "" || err == nil && info.IsDir() {
		path, wrong = file, []error{misuse("name a TOML file", "profile %q: it is not a file", file)}
	} else if !strings.HasSuffix(path, ".json") {
		wrong = profiles.Mistakes(path)
	}
	f := finding{File: path}
	if len(wrong) == 0 {
		p, _, err := loadProfile(c, path)
		if err != nil {
			wrong = []error{err}
		} else {
			f.OK, f.Warnings = true, p.Warnings
		}
	}
	for _, err := range wrong {
		f.Mistakes = append(f.Mistakes, mistaken(err))
	}
	if len(wrong) > 0 {
		f.mistake = &f.Mistakes[0]
	}
	return f, wrong
}

func mistaken(err error) mistake {
	m := mistake{Message: err.Error()}
	var placed *profiles.Error
	if errors.As(err, &placed) {
		m = mistake{Line: placed.Line, Column: placed.Column, Source: placed.Source, Message: placed.Err.Error()}
	}
	if _, near, ok := strings.Cut(m.Message, `did you mean "`); ok {
		m.Nearest, _, _ = strings.Cut(near, `"`)
	}
	return m
}

// sayMistakes prints all of them, and what to do once.
func sayMistakes(all []error) error {
	switch len(all) {
	case 0:
		return nil
	case 1:
		return profileAdvice(all[0])
	}
	files := map[string]bool{}
	for _, err := range all {
		fmt.Fprintf(os.Stderr, "hutch: %s\n", printable(err.Error()))
		var placed *profiles.Error
		if errors.As(err, &placed) {
			files[placed.File] = true
		}
	}
	hint := fmt.Sprintf("correct these %d; hutch profile check looks at them again", len(all))
	for file := range files {
		if len(files) == 1 {
			hint = fmt.Sprintf("correct these %d; hutch profile check %s looks at it again", len(all), file)
		}
	}
	fmt.Fprintf(os.Stderr, "hint: %s\n", printable(hint))
	return exit(runner.ExitHutch)
}

// profileAdvice is profileError for an error that may have advice already.
func profileAdvice(err error) error {
	var ours *runner.Error
	if errors.As(err, &ours) {
		return err
	}
	return profileError(err)
}
