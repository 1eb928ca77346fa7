package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

//go:embed testdata/filter.c
var filterSource string

// filterLoop compares a call under the filter of the default profile with the
// same under one that allows all.
func filterLoop(call string, n int) func(*bench, int) (samples, error) {
	return func(b *bench, runs int) (samples, error) {
		program, text, err := b.filterProgram()
		if err != nil {
			return samples{}, err
		}
		count := strconv.Itoa(n)
		ours := command{name: "filter", argv: []string{program, call, count, text}}
		theirs := command{name: "filter", argv: []string{program, call, count, "-"}}
		s, err := b.pairs(runs, printedNumber, ours, theirs)
		s.peerName = "allow all"
		return s, err
	}
}

// filterProgram builds the program and writes the filter that a run would use.
func (b *bench) filterProgram() (program, text string, err error) {
	run, err := b.hutchRun("/bin/true")
	if err != nil {
		return "", "", err
	}
	run.argv = slices.Insert(run.argv, 2, "--dry-run=spec")
	stdout, _, err := output(run)
	if err != nil {
		return "", "", err
	}
	var spec struct{ Seccomp struct{ Filter []byte } }
	if err := json.Unmarshal(stdout, &spec); err != nil {
		return "", "", err
	}
	if len(spec.Seccomp.Filter) == 0 {
		return "", "", fmt.Errorf("%s: the spec holds no filter", run.name)
	}
	program, text = filepath.Join(b.temp, "filter"), filepath.Join(b.temp, "filter.bpf")
	if err := os.WriteFile(text, spec.Seccomp.Filter, 0o644); err != nil {
		return "", "", err
	}
	return program, text, compileC(filterSource, program)
}

// profileBuiltin is what a program of its own says, which calls what a run does.
func profileBuiltin(b *bench, runs int) (s samples, err error) {
	program := filepath.Join(b.temp, "profile")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", program, "./cmd/bench/testdata/profile")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return s, fmt.Errorf("go build of the profile program: %w: %s", err, out)
	}
	for range runs {
		time.Sleep(b.pause)
		n, err := printedNumber(command{name: "profile", argv: []string{program, "default"}})
		if err != nil {
			return s, err
		}
		s.add(n, 0)
	}
	return s, nil
}

// prepareRun is how long hutch itself says that it prepares a run with a
// built-in profile.
func prepareRun(b *bench, runs int) (s samples, err error) {
	run, err := b.hutchRun("/bin/true")
	if err != nil {
		return s, err
	}
	run.argv = slices.Insert(run.argv, 2, "--profile", "default", "--result", "-")
	for range runs {
		time.Sleep(b.pause)
		stdout, _, err := output(run)
		if err != nil {
			return s, err
		}
		var told struct {
			Timing struct {
				PrepareSeconds *float64 `json:"prepare_seconds"`
			} `json:"timing"`
		}
		if err := json.Unmarshal(stdout, &told); err != nil {
			return s, err
		}
		if told.Timing.PrepareSeconds == nil {
			return s, fmt.Errorf("%s: the result has no timing.prepare_seconds", run.name)
		}
		s.add(1000**told.Timing.PrepareSeconds, 0)
	}
	return s, nil
}

// profileCached starts with a user's profile that was compiled before, and
// with the built-in one that it extends.
func profileCached(b *bench, runs int) (samples, error) {
	return b.profileStart(runs, func(file string, _ int) error { return writeProfile(file, 1) })
}

// profileFirst starts with a user's profile that no run has seen.
func profileFirst(b *bench, runs int) (samples, error) {
	return b.profileStart(runs, writeProfile)
}

// profileStart starts with the profile that write makes before every run.
func (b *bench) profileStart(runs int, write func(file string, n int) error) (samples, error) {
	file := filepath.Join(b.temp, "user.toml")
	theirs, err := b.hutchRun("/bin/true")
	if err != nil {
		return samples{}, err
	}
	// Nobody will use these profiles again.
	had := cachedFilters()
	defer func() {
		for _, f := range cachedFilters() {
			if !slices.Contains(had, f) {
				_ = os.Remove(f)
			}
		}
	}()
	n := os.Getpid() << 16
	ours := theirs
	ours.argv = slices.Insert(slices.Clone(theirs.argv), 2, "--profile", file)
	ours.before = func() error {
		n++
		return write(file, n)
	}
	s, err := b.pairs(runs, b.wallMilliseconds, ours, theirs)
	s.peerName = "built-in profile"
	return s, err
}

// cachedFilters lists what hutch keeps of users' profiles, and their filters.
func cachedFilters() (list []string) {
	dirs := []string{"/var/cache/hutch"}
	if dir, err := os.UserCacheDir(); err == nil {
		dirs = append(dirs, filepath.Join(dir, "hutch"))
	}
	for _, dir := range dirs {
		for _, kind := range []string{"*.bpf", "*.profile"} {
			more, _ := filepath.Glob(filepath.Join(dir, kind))
			list = append(list, more...)
		}
	}
	return list
}

// writeProfile writes a profile whose filter depends on n.
func writeProfile(file string, n int) error {
	text := fmt.Sprintf(`version = 1
extends = ["default"]

[[seccomp.rules]]
calls = ["ioctl"]
action = "errno"
errno = "ENOTTY"
args = [{ index = 1, op = "masked_eq", mask = 0xffffffff, value = %d }]
`, n&0xffffffff)
	return os.WriteFile(file, []byte(text), 0o644)
}
