// Package compare runs one command, or the workloads of package work, on
// several engines and other tools in turn, and says what each gives and costs.
//
// It measures hutch as it does its peers: as a program, from outside. Rounds
// are interleaved (A B C A B C …), so that what changes on the machine meanwhile
// meets all sides alike.
package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A Comparison is what is to be compared.
type Comparison struct {
	// Self is hutch's own binary, Version what it says of itself.
	Self, Version string
	// Root is a ROOT of hutch run; Command what to run in it, none for the
	// built-in workloads. An empty Root is an empty directory.
	Root    string
	Command []string
	// Engines names the sides to take; none means all that work here.
	Engines []string
	// Peers has the other tools that are installed take part; one that Engines
	// names does so anyway.
	Peers bool
	// Options are given to every engine's hutch run.
	Options []string
	// Limits are given to every side. Fence makes the one for a side that has
	// none of its own; it is needed where there is a limit.
	Limits Limits
	Fence  func(Limits) (Fence, error)
	// Rounds is how often each side runs; a side of which a round is cheap goes
	// on to More. Quick makes everything smaller.
	Rounds int
	More   int
	Quick  bool
	// Only names the workloads to take; none means all.
	Only []string
	// Again adds the reference a second time, as a side of its own.
	Again bool
	// Boxes is the most at once; 0 for the usual number.
	Boxes int
	// Work is a directory on the disk that is measured.
	Work string
	// Progress is told what runs and how long is left; nil for nobody.
	Progress func(what string, done, of int, left time.Duration)

	temp, bundle, disk, memory string
	rootDir                    string
	sides                      []*side
	report                     *Report
	began                      time.Time
	done, steps                int
}

// bounds are the sizes of a comparison.
type bounds struct {
	each       time.Duration // of a workload that repeats one thing
	files      int
	functions  int // of the program that is compiled
	bytes      int64
	many       int           // boxes at once, at most
	growthTime time.Duration // of one side's growth
	deadline   time.Duration // of one run
}

func (c *Comparison) bounds() bounds {
	b := bounds{each: 200 * time.Millisecond, files: 10_000, functions: 500, bytes: 32 << 20, many: 64, growthTime: 40 * time.Second, deadline: 5 * time.Minute}
	if c.Quick {
		b = bounds{each: 40 * time.Millisecond, files: 500, functions: 50, bytes: 4 << 20, many: 8, growthTime: 6 * time.Second, deadline: time.Minute}
	}
	if c.Boxes > 0 {
		b.many, b.growthTime = c.Boxes, b.deadline // who asks for a number has the time
	}
	return b
}

// Run compares. When ctx ends early the report holds what there is, and says
// so. An error is one of the harness, not of a side: a side that fails is left
// out with its reason.
func (c *Comparison) Run(ctx context.Context) (*Report, error) {
	c.began = time.Now()
	clean, err := c.prepare()
	defer clean()
	if err != nil {
		return nil, err
	}
	c.report = &Report{
		Version: ReportVersion, Made: c.began.UTC().Truncate(time.Second), Hutch: c.Version,
		Command: c.Command, Root: c.Root, Rounds: c.Rounds, Options: c.Options, Limits: c.Limits,
		Machine: thisMachine(c.disk),
	}
	c.plan()
	c.probe(ctx)
	if ctx.Err() == nil && !c.anyRuns() {
		return nil, errors.New("no side can run here: " + c.whys())
	}
	if len(c.Command) > 0 {
		c.runCommand(ctx)
	} else {
		c.runSuite(ctx)
	}
	c.report.Interrupted = ctx.Err() != nil
	for _, s := range c.sides {
		c.report.side(s.name).Why = s.why
	}
	c.report.finish()
	return c.report, nil
}

// prepare makes the directories that the sides are given.
func (c *Comparison) prepare() (clean func(), err error) {
	clean = func() {}
	if c.Work == "" {
		c.Work = os.TempDir()
	}
	if c.temp, err = os.MkdirTemp(c.Work, "hutch-compare-"); err != nil {
		return clean, fmt.Errorf("%w; name a directory on the disk to be measured with --work", err)
	}
	clean = func() { os.RemoveAll(c.temp) }
	// The sides' own users may pass, and write where they are meant to.
	if err := os.Chmod(c.temp, 0o755); err != nil {
		return clean, err
	}
	c.bundle, c.disk = filepath.Join(c.temp, "bundle"), filepath.Join(c.temp, "disk")
	for _, d := range []string{c.bundle, c.disk} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return clean, err
		}
	}
	if err := os.Chmod(c.disk, 0o777); err != nil { // container users write here too
		return clean, err
	}
	if err := copyFile(filepath.Join(c.bundle, "work"), c.Self); err != nil {
		return clean, err
	}
	if err := os.WriteFile(filepath.Join(c.bundle, "first"), []byte(firstProgram), 0o755); err != nil {
		return clean, err
	}
	if c.memory, err = os.MkdirTemp(memoryDir(c.temp), "hutch-compare-"); err != nil {
		return clean, err
	}
	clean = func() { os.RemoveAll(c.temp); os.RemoveAll(c.memory) }
	return clean, c.prepareRoot()
}

// memoryDir is where the bare side has what a box has in its own /tmp: memory.
func memoryDir(other string) string {
	var st unix.Statfs_t
	if unix.Statfs("/dev/shm", &st) == nil && st.Type == unix.TMPFS_MAGIC {
		return "/dev/shm"
	}
	return other
}

// prepareRoot makes an empty root where none was named: the workloads bring
// all they need.
func (c *Comparison) prepareRoot() error {
	if c.Root == "" {
		c.Root = filepath.Join(c.temp, "root")
		for _, d := range []string{"", "proc", "dev", "tmp", "sys", "usr", "etc"} {
			if err := os.Mkdir(filepath.Join(c.Root, d), 0o755); err != nil {
				return err
			}
		}
		c.report = nil
	}
	if c.Root == "host" {
		c.rootDir = "/"
	} else if st, err := os.Stat(c.Root); err == nil && st.IsDir() {
		if c.rootDir, err = filepath.Abs(c.Root); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// plan chooses the sides, the reference first.
func (c *Comparison) plan() {
	var all []*side
	if len(c.Command) == 0 || c.Root == "host" {
		all = append(all, bareSide())
	}
	all = append(all, engineSides()...)
	if c.Peers || len(c.Engines) > 0 {
		for _, p := range peerSides() {
			if !c.Peers && !slices.Contains(c.Engines, p.name) {
				continue
			}
			if p.why == "" && c.rootDir == "" {
				p.why = "takes a directory as its root; unpack the image first"
			}
			all = append(all, p)
		}
	}
	for _, s := range all {
		if c.wants(s.name) {
			c.sides = append(c.sides, s)
		}
	}
	for _, s := range c.sides {
		if s.name == "native" {
			c.report.Reference = s.name
		}
	}
	if c.report.Reference == "" && len(c.sides) > 0 {
		c.report.Reference = c.sides[0].name
	}
	if c.Again {
		for _, s := range c.sides {
			if s.name == c.report.Reference {
				c.sides = append(c.sides, twin(s))
				break
			}
		}
	}
	for _, s := range c.sides {
		if s.kind == kindEngine {
			s.version = c.Version
		}
		c.report.Sides = append(c.report.Sides, SideInfo{Name: s.name, Kind: s.kind, Version: s.version})
	}
}

func (c *Comparison) wants(name string) bool {
	if len(c.Engines) == 0 {
		return true
	}
	for _, e := range c.Engines {
		if e == name {
			return true
		}
	}
	return false
}

// probe lets every side run the smallest program once, so that one that cannot
// says why before the rounds begin.
func (c *Comparison) probe(ctx context.Context) {
	c.steps = len(c.sides)
	for _, s := range c.sides {
		if s.why != "" || ctx.Err() != nil {
			continue
		}
		c.step("can " + s.name + " run here")
		r, err := c.once(ctx, s, job{argv: []string{insideBundle + "/first"}, bound: true}, nil)
		if info := c.report.side(s.name); err == nil {
			info.CommandLine = r.argv
		} else if ctx.Err() == nil {
			s.why = err.Error()
		}
	}
}

func (c *Comparison) anyRuns() bool {
	for _, s := range c.sides {
		if s.why == "" {
			return true
		}
	}
	return false
}

func (c *Comparison) whys() string {
	text := ""
	if !slices.ContainsFunc(c.sides, func(s *side) bool { return s.why != c.sides[0].why }) {
		return c.sides[0].why
	}
	for _, s := range c.sides {
		text += "\n  " + s.name + ": " + s.why
	}
	return text
}

// step tells Progress what comes now.
func (c *Comparison) step(what string) {
	if c.Progress == nil {
		return
	}
	var left time.Duration
	if c.done > 0 {
		left = time.Since(c.began) / time.Duration(c.done) * time.Duration(max(0, c.steps-c.done))
	}
	c.Progress(what, c.done, c.steps, left)
	c.done++
}
