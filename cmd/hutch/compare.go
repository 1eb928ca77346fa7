package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/compare"
	"hutch/runner/compare/work"
)

func compareCommand() *cli.Command {
	return &cli.Command{
		Name:      "compare",
		Usage:     "run the same on every engine, and say what each gives and costs",
		ArgsUsage: "[ROOT [--] COMMAND [ARG...]]",
		Description: `Runs COMMAND, or with --suite the built-in workloads, on every engine that
works here, in turn, and prints medians, ratios with their intervals, what
each side cost the host, and what isolates it.

   hutch compare ./root -- /usr/bin/make -C /src
   hutch compare --suite --peers --html report.html
   hutch compare --from old.json --from new.json`,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "suite", Usage: "run the built-in workloads; ROOT is an empty directory unless named"},
			&cli.BoolFlag{Name: "quick", Usage: "smaller workloads and fewer rounds: three minutes instead of half an hour"},
			&cli.BoolFlag{Name: "peers", Usage: "have bubblewrap, crun, runc, runsc, systemd-nspawn and podman take part"},
			&cli.StringSliceFlag{Name: "engine", Usage: "take only side `NAME` (native, uml, kvm, tcg, bare or a peer); may be repeated"},
			&cli.StringSliceFlag{Name: "only", Usage: "take only workload `NAME`; may be repeated (\"list\" lists them)"},
			&cli.IntFlag{Name: "rounds", Usage: "run each side `N` times (default: 10, with --quick 3)"},
			&cli.IntFlag{Name: "boxes", Usage: "run up to `N` at once, as far as memory goes (default: 64, with --quick 8)"},
			&cli.BoolFlag{Name: "again", Usage: "add the reference a second time, to see what the noise is"},
			&cli.StringSliceFlag{Name: "option", Usage: "give every engine's hutch run the option `OPT`, such as --option=--memory=1G"},
			&cli.StringFlag{Name: "work", Usage: "measure the disk under `DIR` (default: the temporary directory)"},
			&cli.StringFlag{Name: "json", Usage: "write the report, with every sample, to `FILE` (\"-\" for standard output)"},
			&cli.StringFlag{Name: "html", Usage: "write the report as a page of its own to `FILE`"},
			&cli.StringSliceFlag{Name: "from", Usage: "show the report in `FILE` instead of measuring; several are put side by side"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "show no progress"},
		}, limitFlags()...),
		OnUsageError: usageError,
		Action:       compareAction,
	}
}

func compareAction(c *cli.Context) error {
	if slices.Contains(c.StringSlice("only"), "list") {
		return listWorkloads()
	}
	if err := checkOutputs(c); err != nil {
		return err
	}
	report, err := theReport(c)
	if err != nil {
		return err
	}
	return writeReport(c, report)
}

// theReport measures, or reads what was measured.
func theReport(c *cli.Context) (*compare.Report, error) {
	if from := c.StringSlice("from"); len(from) > 0 {
		if c.Bool("suite") || c.NArg() > 0 {
			return nil, misuse("leave ROOT, COMMAND and --suite out, or --from", "--from shows a report and measures nothing")
		}
		return readReports(from)
	}
	x, err := comparison(c)
	if err != nil {
		return nil, err
	}
	ctx, stop := notifyContext(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	manyThreads()
	r, err := x.Run(ctx)
	if x.Progress != nil {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
	if err != nil {
		return nil, &runner.Error{Stage: runner.StageRun, Step: "compare", Err: err, Hint: "hutch doctor says what this machine can do"}
	}
	return r, nil
}

// comparison is what the command line asks for.
func comparison(c *cli.Context) (*compare.Comparison, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	x := &compare.Comparison{
		Self: self, Version: version + " (commit " + commit + ")",
		Engines: c.StringSlice("engine"), Peers: c.Bool("peers"), Options: c.StringSlice("option"),
		Only: c.StringSlice("only"), Quick: c.Bool("quick"), Again: c.Bool("again"),
		Work: c.String("work"), Rounds: c.Int("rounds"),
	}
	if x.Limits, err = compareLimits(c); err != nil {
		return nil, err
	}
	x.Fence = newFence
	args := c.Args().Slice()
	if len(args) > 0 {
		x.Root, x.Command = args[0], args[1:]
	}
	if len(x.Command) > 0 && x.Command[0] == "--" {
		x.Command = x.Command[1:]
	}
	switch suite := c.Bool("suite"); {
	case suite && len(x.Command) > 0:
		return nil, misuse("leave the command out, or --suite", "--suite runs the built-in workloads, not %s", x.Command[0])
	case !suite && len(x.Command) == 0:
		return nil, misuse("write hutch compare ROOT COMMAND, or hutch compare --suite", "no COMMAND was given")
	}
	if !c.IsSet("rounds") {
		x.Rounds = 10
		if x.Quick {
			x.Rounds, x.More = 3, 10
		}
	}
	if x.Rounds < 1 || x.Rounds > 10000 {
		return nil, misuse("it is a number from 1 to 10000; ten are needed for an interval that means something", "option --rounds: %d", x.Rounds)
	}
	if x.Boxes = c.Int("boxes"); c.IsSet("boxes") && (x.Boxes < 1 || x.Boxes > 1000) {
		return nil, misuse("it is a number from 1 to 1000", "option --boxes: %d", x.Boxes)
	}
	if err := checkNames(x); err != nil {
		return nil, err
	}
	if !c.Bool("quiet") && isTerminal(os.Stderr) {
		x.Progress = func(what string, done, of int, left time.Duration) {
			line := fmt.Sprintf("%d/%d  %s", done+1, of, what)
			if left > 0 {
				line += fmt.Sprintf("  about %s left", left.Round(time.Second))
			}
			fmt.Fprintf(os.Stderr, "\r\x1b[K%s", line)
		}
	} else if !c.Bool("quiet") {
		x.Progress = func(what string, done, of int, _ time.Duration) {
			fmt.Fprintf(os.Stderr, "%d/%d  %s\n", done+1, of, what)
		}
	}
	return x, nil
}

// checkNames refuses a side or a workload that there is none of.
func checkNames(x *compare.Comparison) error {
	for _, e := range x.Engines {
		if known := compare.SideNames(); !slices.Contains(known, e) {
			return misuse("it is one of "+strings.Join(known, ", "), "option --engine: no such side %q", e)
		}
	}
	known := compare.WorkloadNames()
	for _, o := range x.Only {
		if !slices.Contains(known, o) {
			return misuse("it is one of "+strings.Join(known, ", "), "option --only: no such workload %q", o)
		}
	}
	return nil
}

func listWorkloads() error {
	row := func(name, group, about string) { fmt.Fprintf(show, "%-18s %-14s %s\n", name, group, about) }
	row("start-first", "start", "until the first instruction, and until the end, of the smallest program")
	for _, k := range work.Kinds() {
		row(k.Name, k.Group, k.About)
	}
	row("locks", "overcommit", "a critical section under three kinds of lock, by more threads than processors")
	row("many", "many at once", "more and more boxes, idle and working")
	return nil
}

// readReports reads what earlier runs wrote, each named by its file.
func readReports(from []string) (*compare.Report, error) {
	var reports []*compare.Report
	var names []string
	for _, name := range from {
		r, err := compare.Read(name)
		if err != nil {
			return nil, &runner.Error{Stage: runner.StagePrepare, Step: "read a report", Err: err, Hint: "hutch compare --json FILE writes one"}
		}
		label := strings.TrimSuffix(filepath.Base(name), ".json")
		for slices.Contains(names, label) {
			label += "'"
		}
		reports, names = append(reports, r), append(names, label)
	}
	return compare.Merge(names, reports), nil
}

// checkOutputs finds out before anything is measured whether the report can be
// written.
func checkOutputs(c *cli.Context) error {
	for _, option := range []string{"json", "html"} {
		name := c.String(option)
		if name == "" || name == "-" {
			continue
		}
		if st, err := os.Stat(name); err == nil && st.IsDir() {
			return misuse("name a file in it", "option --%s: %s is a directory", option, name)
		}
		if err := unix.Access(filepath.Dir(name), unix.W_OK); err != nil {
			return misuse("name a file in a directory that you can write to", "option --%s: %s: %v", option, filepath.Dir(name), err)
		}
	}
	return nil
}

func writeReport(c *cli.Context, r *compare.Report) error {
	for _, o := range []struct {
		name  string
		write func(io.Writer) error
	}{{c.String("json"), r.Write}, {c.String("html"), r.WriteHTML}} {
		if o.name == "" {
			continue
		}
		if err := writeWhole(o.name, o.write); err != nil {
			return &runner.Error{Stage: runner.StageRun, Step: "write the report", Err: err, Hint: "name another file"}
		}
	}
	if c.String("json") != "-" && c.String("html") != "-" {
		style := compare.Style{Width: terminalWidth(), Color: isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == ""}
		if err := r.WriteText(show, style); err != nil {
			return err
		}
	}
	if r.Interrupted {
		return exit(130)
	}
	return nil
}

// writeWhole writes name, or "-" for standard output, so that there is either
// a whole file or none.
func writeWhole(name string, write func(io.Writer) error) error {
	if name == "-" {
		return write(show)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".hutch-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err = write(f); err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// terminalWidth is the width of the terminal, between 80 and 120; $COLUMNS
// where there is none.
func terminalWidth() int {
	width := 80
	if size, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
		width = int(size.Col)
	} else if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil {
		width = n
	}
	return max(80, min(width, 120))
}

// workCommand is the side of a comparison that runs inside.
func workCommand() *cli.Command {
	return &cli.Command{
		Name: "work", Usage: "run workloads that are named on standard input", Hidden: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "small"}, &cli.StringFlag{Name: "dir"}, &cli.StringFlag{Name: "disk"},
			&cli.DurationFlag{Name: "for", Value: 200 * time.Millisecond},
			&cli.IntFlag{Name: "files", Value: 1000}, &cli.IntFlag{Name: "functions", Value: 500}, &cli.Int64Flag{Name: "bytes", Value: 4 << 20}, &cli.IntFlag{Name: "threads", Value: 2},
		},
		OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			manyThreads()
			err := work.Serve(os.Stdin, os.Stdout, work.Options{
				For: c.Duration("for"), Dir: c.String("dir"), Disk: c.String("disk"), Small: c.String("small"),
				Files: c.Int("files"), Functions: c.Int("functions"), Bytes: c.Int64("bytes"), Threads: c.Int("threads"),
			})
			if errors.Is(err, syscall.EPIPE) {
				return nil // whoever asked has gone
			}
			return err
		},
	}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
