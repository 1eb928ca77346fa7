package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hutch/profiles"
	"hutch/runner"
	"hutch/seccomp"
)

// A lesson is what hutch profile learn is asked for.
type lesson struct {
	request
	mode  string
	out   string
	merge bool
}

func profileLearn() *cli.Command {
	l := &lesson{request: request{profile: "base"}, mode: runner.LearnObserve}
	text := func(to *string) func(*runner.Override, string) error {
		return func(_ *runner.Override, v string) error {
			*to = v
			return nil
		}
	}
	table := append([]setting{
		{name: "output", alias: "o", usage: "write the profile to `FILE`, not to standard output", set: text(&l.out)},
		{name: "mode", usage: "`MODE` observe (what base refuses is allowed) or enforce (it is refused)", set: text(&l.mode)},
		{name: "merge", on: true, usage: "keep what the profile in FILE allows already", set: func(*runner.Override, string) error {
			l.merge = true
			return nil
		}},
		{name: "engine", usage: "native is the only one that learns", set: text(&l.choice.name)},
	}, settings()...)
	return &cli.Command{
		Name:      "learn",
		Usage:     "write a profile from what an application does",
		ArgsUsage: "ROOT [--] COMMAND [ARG...]",
		Description: `Runs the application under the built-in profile "base", records what that
refuses, and writes a profile that extends it by that much. Options of hutch
run that name a bind, a limit and so on go into the profile too.`,
		Flags:        cliFlags(table),
		OnUsageError: usageError,
		Action:       func(c *cli.Context) error { return l.learn(c.Args().Slice(), table) },
	}
}

func (l *lesson) learn(args []string, table []setting) error {
	l.prepareEngine()
	if err := l.parse(args, table); err != nil {
		return err
	}
	switch {
	case l.mode != runner.LearnObserve && l.mode != runner.LearnEnforce:
		return misuse("it is one of observe, enforce", "option --mode: no such mode %q", l.mode)
	case l.merge && l.out == "":
		return misuse("name the profile to merge into: -o FILE --merge", "option --merge needs -o")
	case l.choice.name != "" && l.choice.name != "native":
		return misuse("leave --engine out", "profile learn runs on the engine native, not on %q", l.choice.name)
	}
	l.explain = l.mode
	// What is there already is read first: a mistake in it is told before a run.
	old, err := l.old()
	if err != nil {
		return err
	}
	out, err := openResult(l.out)
	if err != nil {
		return &runner.Error{Stage: runner.StageResolve, Step: "write " + l.out, Err: errors.Unwrap(err), Hint: runner.Hint(err)}
	}
	l.command = l.override.Command
	result, err := l.run()
	if err != nil {
		return err
	}
	learned := learnedProfile(&l.override.Settings, result)
	notes := narrowTo(&learned.Landlock, result.Used)
	if old != nil {
		mergeLearned(learned, old)
	}
	if err := l.write(out, learned, result, notes); err != nil {
		return err
	}
	return exit(result.ExitStatus())
}

// old is the profile to merge into, nil without one.
func (l *lesson) old() (*profiles.Profile, error) {
	if !l.merge {
		return nil, nil
	}
	data, err := profiles.ReadFile(l.out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var p *profiles.Profile
	if err == nil {
		// Only what it says itself counts.
		p, err = profiles.Decode(l.out, data, func(string) (*profiles.Profile, error) {
			return &profiles.Profile{Version: profiles.Version, Seccomp: &seccomp.Policy{}}, nil
		})
	}
	if err != nil {
		return nil, profileError(err)
	}
	return p, nil
}

// learnedProfile is what the flags said, and what the run was refused.
func learnedProfile(flags *profiles.Profile, r runner.Result) *profiles.Profile {
	p := *flags
	p.Version, p.Extends = profiles.Version, []string{"base"}
	p.Seccomp = &seccomp.Policy{}
	for _, d := range r.Denied {
		if d.What != "syscall" || d.Errno == "ENOSYS" || !seccomp.Known(d.Name) {
			continue
		}
		addRule(p.Seccomp, seccomp.Allowance(d.Name, d.Number))
	}
	if !writesRoot(r.Used, &p) {
		yes := true
		p.Filesystem.ReadOnly = &yes
	}
	sortPolicy(p.Seccomp)
	return &p
}

// addRule adds what is not there yet.
func addRule(p *seccomp.Policy, r seccomp.Rule) {
	switch {
	case len(r.Args) == 0 && !slices.Contains(p.Allow, r.Calls[0]):
		p.Allow = append(p.Allow, r.Calls[0])
	case len(r.Args) > 0 && !slices.ContainsFunc(p.Rules, func(o seccomp.Rule) bool {
		return reflect.DeepEqual(o.Calls, r.Calls) && reflect.DeepEqual(o.Args, r.Args)
	}):
		r.Reason = r.Danger()
		p.Rules = append(p.Rules, r)
	}
}

func sortPolicy(p *seccomp.Policy) {
	slices.Sort(p.Allow)
	slices.SortFunc(p.Rules, func(a, b seccomp.Rule) int { return cmp.Compare(a.Line(), b.Line()) })
}

// mergeLearned adds what an earlier run allowed.
func mergeLearned(p, old *profiles.Profile) {
	if old.Seccomp != nil {
		for _, name := range old.Seccomp.Allow {
			addRule(p.Seccomp, seccomp.Rule{Calls: []string{name}, Action: "allow"})
		}
		for _, r := range old.Seccomp.Rules {
			r.Rank = 0
			if r.Action == "allow" && len(r.Calls) > 0 {
				addRule(p.Seccomp, r)
			}
		}
	}
	sortPolicy(p.Seccomp)
	mergeNarrowed(&p.Landlock, &old.Landlock)
	if old.Filesystem.ReadOnly == nil || !*old.Filesystem.ReadOnly {
		p.Filesystem.ReadOnly = nil
	}
	for _, b := range old.Filesystem.Bind {
		if !slices.Contains(p.Filesystem.Bind, b) {
			p.Filesystem.Bind = append(p.Filesystem.Bind, b)
		}
	}
}

// writesRoot says whether something was written that is lost with a read-only
// root: outside of what has a file system of its own.
func writesRoot(used []runner.Use, p *profiles.Profile) bool {
	own := []string{"/tmp", "/dev", "/proc"}
	for _, m := range p.Filesystem.Tmpfs {
		target, _, _ := strings.Cut(m, ":")
		own = append(own, target)
	}
	for _, m := range p.Filesystem.Bind {
		if parts := strings.Split(m, ":"); len(parts) > 1 {
			own = append(own, parts[1])
		}
	}
	for _, u := range used {
		if u.Kind == "write" && !slices.ContainsFunc(own, func(dir string) bool {
			return u.Name == dir || strings.HasPrefix(u.Name, dir+"/")
		}) {
			return true
		}
	}
	return false
}

// write writes the profile with what was seen as comments.
func (l *lesson) write(to *resultFile, p *profiles.Profile, r runner.Result, notes []string) error {
	var out bytes.Buffer
	comment := func(first, text string) {
		fmt.Fprintln(&out, wrap("# "+first, "#   ", oneLine(text), 80))
	}
	comment("", fmt.Sprintf("Learned by hutch profile learn --mode %s from a run of:", l.mode))
	comment("  ", strings.Join(l.command, " "))
	for _, kind := range []struct{ kind, words string }{{"connect", "connected to"}, {"bind", "listened on"}} {
		var names []string
		for _, u := range r.Used {
			if u.Kind == kind.kind {
				names = append(names, u.Name)
			}
		}
		if len(names) > 0 {
			slices.Sort(names)
			comment(kind.words+": ", strings.Join(names, " "))
		}
	}
	for _, note := range notes {
		comment("", note)
	}
	out.WriteString("\n")
	e := profiles.Encoder{Above: func(path string) string { return aboveLearned(p, path) }, Behind: func(path string) string {
		for i, name := range p.Seccomp.Allow {
			if path == fmt.Sprintf("seccomp.allow[%d]", i) {
				return seccomp.Rule{Calls: []string{name}}.Danger()
			}
		}
		return ""
	}}
	if err := e.Encode(&out, p); err != nil {
		return err
	}
	if to == nil {
		_, err := show.Write(out.Bytes())
		return err
	}
	if err := to.put(out.Bytes()); err != nil {
		return &runner.Error{Stage: runner.StageRun, Step: "write " + l.out, Err: bare(err), Hint: "name a file in a directory that exists and that you can write"}
	}
	return nil
}

// aboveLearned is what stands over a key.
func aboveLearned(p *profiles.Profile, path string) string {
	switch path {
	case "filesystem.read_only":
		return "Nothing was written outside of what has a file system of its own."
	case "seccomp.allow":
		return "What base refuses and the application was seen to call."
	}
	for _, n := range narrowedBy(&p.Landlock) {
		if path == "landlock."+n.key {
			return n.above
		}
	}
	return ""
}

// oneLine keeps an application's words inside a comment.
func oneLine(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(printable(s), "\n", " "), "\t", " ")
}
