package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"hutch/profiles"
	"hutch/rootfs"
	"hutch/runner"
	"hutch/runner/native"
	"hutch/seccomp"
)

func runCommand() *cli.Command {
	q := &request{profile: "default"}
	table := slices.Concat(q.settings(), q.terminalSettings(), q.copies.settings(), settings())
	return &cli.Command{
		Name:      "run",
		Usage:     "run an application in a root file system",
		ArgsUsage: "ROOT [--] COMMAND [ARG...]",
		Description: `ROOT is "host" (this machine's own root, narrowed), a directory, a tar
(plain, gz, zst, xz or bz2; "-" for standard input) or a saved image, oci:DIR[:TAG],
oci-archive:FILE, docker-archive:FILE, an image of the store by its NAME[:TAG], or
HOST/NAME[:TAG] of a registry. An image brings its own command.

Exit status: the application's own; 128+N when signal N ended it; 124 at a
timeout; 125 when hutch failed; 126 when the command could not be executed;
127 when it was not found.`,
		Flags:        cliFlags(table),
		OnUsageError: usageError,
		Action:       func(c *cli.Context) error { return q.action(c.Args().Slice(), table) },
	}
}

// runFast parses the command line of hutch run by the same table, without the
// library, which takes a twentieth of a start to make its tree of commands.
// What is not plain — a mistake, a wish for help — it leaves to the library.
func runFast(args []string) (status int, ok bool) {
	q := &request{profile: "default"}
	table := slices.Concat(q.settings(), q.terminalSettings(), q.copies.settings(), settings())
	set := flag.NewFlagSet("run", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	given := flagNames(args)
	for i := range table {
		for _, name := range [...]string{table[i].name, table[i].alias} {
			if name != "" && slices.Contains(given, name) { // the others are not asked for
				set.Var(&table[i], name, "")
			}
		}
	}
	if set.Parse(args) != nil {
		return 0, false
	}
	return exitStatus(q.action(set.Args(), table)), true
}

// flagNames is the names of all that could be flags.
func flagNames(args []string) (names []string) {
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			name, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
			names = append(names, name)
		}
	}
	return names
}

// A request is what the command line of hutch run asks for.
type request struct {
	root     string
	ref      rootfs.Ref
	profile  string
	seccomp  string // a file that stands for the profile's system calls
	choice   engineChoice
	override runner.Override
	loaded   *profiles.Profile // once it is
	filter   seccomp.Filter
	dryRun   string
	resultTo string
	// showSchema prints the result's schema instead of running anything.
	showSchema bool
	result     *resultFile
	quiet      bool
	tty        string // "yes", "no" or as it comes out
	terminal   *terminal
	copies     copies
	engine     *native.Engine
	keep       string // a name; kept is that, taken
	kept       *rootfs.Keep
	diff       string // a file
	// disk and inodes say that an option or a profile names a cap, which then
	// holds for what is kept too.
	disk, inodes bool
	platform     string
	format       string   // --store-format
	explain      string   // a Spec's Explain
	command      []string // what a learning run ran
	plain        bool     // --plain-http
}

// settings are the flags that are about the run and not about the box.
func (q *request) settings() []setting {
	text := func(to *string) func(*runner.Override, string) error {
		return func(_ *runner.Override, v string) error {
			*to = v
			return nil
		}
	}
	return []setting{
		{name: "profile", alias: "p", usage: "`NAME` of a built-in profile, or a TOML file (default: default)", set: text(&q.profile)},
		{name: "seccomp", usage: "take the system calls from `FILE.json`, as Docker has it", set: text(&q.seccomp)},
		{name: "engine", usage: "run on `ENGINE`: native (namespaces), uml (a kernel as a process) or kvm (a full guest)", set: text(&q.choice.name)},
		{name: "accel", usage: "run a full guest with `ACCEL`: kvm, or tcg, which emulates", set: text(&q.choice.accel)},
		{name: "vcpus", usage: "give a full guest `N` processors", set: func(_ *runner.Override, v string) error {
			return number(func(*runner.Override) *int64 { return &q.choice.vcpus })(nil, v)
		}},
		{name: "kernel", usage: "boot the guest kernel `FILE`", set: text(&q.choice.kernel)},
		{name: "explain", usage: "say what was refused, to whom, and which line of a profile would allow it; --explain=all: also by mounts, Landlock, capabilities, network", on: true, or: runner.ExplainAll, set: func(_ *runner.Override, v string) error {
			if q.explain = runner.ExplainRefusals; v == runner.ExplainAll {
				q.explain = v
			}
			return nil
		}},
		{name: "result", usage: "write the result as JSON to `FILE`, \"-\" or fd:N", set: text(&q.resultTo)},
		{name: "keep", usage: "keep what is written to the root under `NAME`, for the next run with it", set: text(&q.keep)},
		{name: "diff", usage: "save what was written to the root as a layer in `FILE.tar` (.tar.gz)", set: text(&q.diff)},
		{name: "result-schema", usage: "show the JSON schema of the result, and run nothing", on: true, set: func(*runner.Override, string) error {
			q.showSchema = true
			return nil
		}},
		{name: "dry-run", usage: "show the `WHAT`: spec, plan or syscalls, and run nothing", set: text(&q.dryRun)},
		{name: "platform", usage: "take an image's variant for `OS/ARCH[/VARIANT]`", set: text(&q.platform)},
		{name: "store-format", usage: storeFormatUsage, set: text(&q.format)},
		{name: "plain-http", usage: "allow a registry without TLS that is not on this machine", on: true, set: func(*runner.Override, string) error {
			q.plain = true
			return nil
		}},
		{name: "quiet", alias: "q", usage: "show no progress, and not which limit ended the run", on: true, set: func(*runner.Override, string) error {
			q.quiet = true
			return nil
		}},
	}
}

func (q *request) action(args []string, table []setting) error {
	q.prepareEngine()
	if err := q.parse(args, table); err != nil {
		err = noDirectory(err)
		q.result.write(runner.Result{}, err) // the command line is told first of what is wrong
		return err
	}
	if q.resultTo == "" {
		q.engine.Uncounted()
	}
	if q.showSchema {
		_, err := show.WriteString(runner.ResultSchema)
		return err
	}
	result, err := q.run()
	err = noDirectory(err)
	if q.dryRun != "" {
		return err
	}
	if werr := q.result.write(result, err); werr != nil && err == nil {
		err = werr
	}
	if err != nil {
		return err
	}
	switch {
	case q.explain != "":
		explained(result.Denied, q.explain)
	case q.resultTo == "" && !q.quiet:
		sayLimit(&result)
	}
	return exit(result.ExitStatus())
}

// sayLimit says what ended the run, where nothing else tells: a full disk the
// application has met itself, and output has had its limit.
func sayLimit(r *runner.Result) {
	switch r.Cause {
	case runner.Timeout, runner.CPUTime, runner.OutOfMemory, runner.SeccompKilled:
		if r.Message != "" {
			_, _ = os.Stderr.WriteString("hutch: " + r.Message + "\n")
		}
	}
}

// newEngine is a native engine for a process that began as hutch does.
func newEngine() *native.Engine {
	e := native.New()
	e.OnThread(ordinaryThread)
	return e
}

func (q *request) prepareEngine() {
	q.engine = newEngine()
	q.engine.Adopt(adoptable)
	q.engine.AskSystemd(askScope)
}

// parse reads the whole command line before anything is done.
func (q *request) parse(args []string, table []setting) (err error) {
	if q.override, err = override(table); q.showSchema {
		return err
	}
	if q.dryRun == "" {
		// First of all: it tells of every other mistake too.
		var badResult error
		if q.result, badResult = openResult(q.resultTo); err == nil {
			err = badResult
		}
	}
	if err == nil && len(args) == 0 {
		err = misuse("write hutch run ROOT COMMAND, as in: hutch run host -- id", "no ROOT was given")
	}
	if err != nil {
		return err
	}
	switch q.dryRun {
	case "", "spec", "plan", "syscalls":
	default:
		return misuse("it is one of spec, plan, syscalls", "option --dry-run: no such view %q", q.dryRun)
	}
	if rootfs.Platform(q.platform).Check() != nil {
		return misuse("write OS/ARCHITECTURE[/VARIANT], as in linux/arm64", "option --platform: %q", q.platform)
	}
	if rootfs.Format(q.format).Check() != nil {
		return misuse("it is one of dir, erofs", "option --store-format: no such format %q", q.format)
	}
	if err := q.choice.check(); err != nil {
		return err
	}
	if q.result != nil {
		q.result.engine = q.choice.name
	}
	if err := q.parseDiff(); err != nil {
		return err
	}
	if err := q.copies.parse(); err != nil {
		return err
	}
	if q.dryRun == "" || q.tty != "" {
		q.askTerminal()
	}
	q.root = args[0]
	q.override.Command = args[1:]
	if len(args) > 1 && args[1] == "--" {
		q.override.Command = args[2:]
	}
	return nil
}

// run prepares the root, resolves the Spec, and runs it.
func (q *request) run() (runner.Result, error) {
	began := time.Now()
	if q.result != nil && q.dryRun == "" {
		// From here on every end is told, also one that comes before the box.
		q.result.leave()
		q.listen()
	}
	root, sig, err := q.prepare()
	if sig != nil {
		return interrupted(q.choice.name, sig)
	}
	if err != nil {
		return runner.Result{}, err
	}
	defer root.Close()
	spec, err := q.resolve(root)
	if err != nil {
		return runner.Result{}, err
	}
	defer q.release()
	if err := q.copies.ask(&q.choice, q.engine, spec); err != nil {
		return runner.Result{}, err
	}
	if err := q.takeUpper(root, spec); err != nil {
		return runner.Result{}, err
	}
	if q.dryRun != "" {
		return runner.Result{}, dryRun(q.dryRun, spec, q.engine)
	}
	prepared := time.Since(began)
	engine, err := q.choice.engine(q.engine)
	if err != nil {
		return runner.Result{}, err
	}
	if spec.Explain != "" {
		manyThreads() // who answers refused calls must not wait for who waits for the box
	}
	ctx, guest := context.Background(), (*booting)(nil)
	if q.choice.name != "native" {
		ctx, guest = boot()
	}
	s := runner.NewSandbox(ctx, engine, spec)
	s.Stdin, s.Stdout, s.Stderr = os.Stdin, os.Stdout, os.Stderr
	// A signal that comes while the box is made waits for the application.
	q.listen()
	if spec.Terminal != nil {
		t, err := openTerminal(guest != nil)
		if err != nil {
			return runner.Result{}, err
		}
		q.terminal, s.Stdin = t, t
		defer func() { q.terminal.close() }()
	}
	if err := s.Start(); err != nil {
		if sig := guest.interrupted(); sig != 0 {
			return interrupted(q.choice.name, sig)
		}
		return runner.Result{}, err
	}
	if guest == nil {
		forward(s)
	} else if sig := guest.started(s); sig != 0 {
		_, _ = s.Wait() // its context has ended
		return interrupted(q.choice.name, sig)
	}
	if q.terminal != nil {
		q.terminal.follow(s)
	}
	slim()
	result, err := s.Wait()
	unwritten := s.Unwritten()
	result.Timing.PrepareSeconds = prepared.Seconds()
	if q.kept != nil && !q.kept.Capped {
		result.Enforced.Missing = append(result.Enforced.Missing, "disk")
	}
	if len(spec.CopyOut) > 0 {
		// Ctrl-C is hutch's again, and what it says begins at the left.
		q.terminal.close()
		q.terminal = nil
	}
	if len(spec.CopyOut) == 0 && q.diff == "" && (q.kept == nil || q.choice.name == "native") {
		return result, cmp.Or(err, unwritten)
	}
	after, stop := afterwards()
	defer stop()
	// Before the diff: it lets go of the box's file systems.
	if err == nil {
		err = q.copies.carryOut(after, spec, s.Process, &result)
	}
	if kerr := q.saveKept(after, spec, s.Process); err == nil {
		err = kerr
	} else if kerr != nil {
		err = keptAsBefore(err)
	}
	if derr := q.writeDiff(after, spec, s.Process); err == nil {
		err = derr
	}
	return result, cmp.Or(err, unwritten)
}

// interrupted is the result of a run that a signal ended before its start.
func interrupted(engine string, sig os.Signal) (runner.Result, error) {
	const why = "interrupted before the application started"
	r := runner.NotStartedResult(errors.New(why))
	r.Engine = engine
	n := sig.(syscall.Signal)
	r.SetSignal(int(n), unix.SignalName(n))
	return r, nil
}

func (q *request) resolve(root *rootfs.Root) (spec *runner.Spec, err error) {
	p, filter, err := q.loadProfile()
	if err != nil {
		return nil, err
	}
	for _, w := range p.Warnings {
		warn("%s", w)
	}
	defer func() {
		if spec != nil {
			spec.Explain = q.explain
		}
	}()
	q.disk = max(p.Filesystem.Disk, q.override.Settings.Filesystem.Disk) > 0
	q.inodes = max(p.Filesystem.Inodes, q.override.Settings.Filesystem.Inodes) > 0
	if spec, err = runner.Resolve(p, root, q.override); err != nil {
		return nil, err
	}
	if q.seccomp != "" {
		if spec.Seccomp, err = seccompFile(q.seccomp, spec.Capabilities); err != nil {
			return nil, err
		}
		return spec, spec.Validate()
	}
	spec.Seccomp = runner.Seccomp{Name: p.Name, Digest: filter.Digest(), Filter: filter}
	return spec, spec.Validate()
}

func dryRun(what string, spec *runner.Spec, engine *native.Engine) error {
	if what == "spec" {
		e := json.NewEncoder(show)
		e.SetIndent("", "  ")
		return e.Encode(spec)
	}
	if what == "syscalls" {
		return engine.WriteSyscalls(show, spec)
	}
	p, err := engine.Plan(spec)
	if err != nil {
		return err
	}
	_, err = p.WriteTo(show)
	return err
}

// notify is signal.Notify without what hutch was told to ignore: nohup(1)
// ignores SIGHUP for us, and listening would undo that.
func notify(c chan<- os.Signal, list ...os.Signal) {
	if list = slices.DeleteFunc(list, signal.Ignored); len(list) > 0 { // an empty list stands for all
		signal.Notify(c, list...)
	}
}

// notifyContext is signal.NotifyContext, likewise.
func notifyContext(list ...os.Signal) (context.Context, context.CancelFunc) {
	if list = slices.DeleteFunc(list, signal.Ignored); len(list) > 0 {
		return signal.NotifyContext(context.Background(), list...)
	}
	return context.WithCancel(context.Background())
}

func cacheDir() string {
	if os.Geteuid() == 0 {
		return "/var/cache/hutch"
	}
	if d, err := os.UserCacheDir(); err == nil {
		return d + "/hutch"
	}
	return ""
}
