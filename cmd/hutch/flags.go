package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"hutch/profiles"
	"hutch/runner"
)

// To add a flag of hutch run:
//  1. a row in settings below, with the word that the profile uses;
//  2. the field in profiles.Profile and runner.Spec, and their line in Resolve;
//  3. a case in testdata/script/run.txtar.

// A setting is a flag that says what a profile's key of the same word says.
type setting struct {
	name  string
	alias string
	usage string
	list  bool   // may be given more than once
	on    bool   // takes no value
	or    string // a value that may follow all the same, after =
	set   func(o *runner.Override, value string) error

	given []string // the values, in order
}

// settings is every flag that overrides the profile.
func settings() []setting {
	return append(boxSettings(), limitSettings()...)
}

func boxSettings() []setting {
	return []setting{
		{name: "bind", list: true, usage: "show `SRC:DST[:ro|rw]` of the host inside, read-only unless rw", set: func(o *runner.Override, v string) error {
			m, err := absoluteBind(v)
			o.Settings.Filesystem.Bind = append(o.Settings.Filesystem.Bind, m)
			return err
		}},
		{name: "tmpfs", list: true, usage: "mount an empty file system in memory at `DST[:SIZE]`", set: func(o *runner.Override, v string) error {
			o.Settings.Filesystem.Tmpfs = append(o.Settings.Filesystem.Tmpfs, v)
			return nil
		}},
		{name: "hide", list: true, usage: "mask `PATH`", set: func(o *runner.Override, v string) error {
			o.Settings.Filesystem.Hidden = append(o.Settings.Filesystem.Hidden, v)
			return nil
		}},
		{name: "read-only", on: true, usage: "forbid writes to the root", set: func(o *runner.Override, _ string) error {
			yes := true
			o.Settings.Filesystem.ReadOnly = &yes
			return nil
		}},
		{name: "disk", usage: "cap what is written to the root at `SIZE`", set: size(func(o *runner.Override) *profiles.Size { return &o.Settings.Filesystem.Disk })},
		{name: "inodes", usage: "cap the number of files written at `N`", set: number(func(o *runner.Override) *int64 { return &o.Settings.Filesystem.Inodes })},
		{name: "net", usage: "`MODE` none (loopback only) or host", set: func(o *runner.Override, v string) error {
			o.Settings.Network.Mode = v
			return nil
		}},
		{name: "hostname", usage: "the box's host `NAME`", set: func(o *runner.Override, v string) error {
			o.Settings.Process.Hostname = v
			return nil
		}},
		{name: "user", alias: "u", usage: "run as `USER[:GROUP]` of the root, names or numbers", set: func(o *runner.Override, v string) error {
			o.Settings.Process.User = v
			return nil
		}},
		{name: "workdir", alias: "w", usage: "start in `DIR` of the root", set: func(o *runner.Override, v string) error {
			o.Settings.Process.Workdir = v
			return nil
		}},
		{name: "env", alias: "e", list: true, usage: "set `KEY=VALUE`, or pass KEY on", set: func(o *runner.Override, v string) error {
			return addEnv(o, v, "--env")
		}},
		{name: "env-file", list: true, usage: "set the KEY=VALUE lines of `FILE`", set: addEnvFile},
		{name: "entrypoint", usage: "run `PROGRAM` instead of the image's entrypoint and command; COMMAND is its arguments", set: func(o *runner.Override, v string) error {
			o.Entrypoint = v
			return nil
		}},
		{name: "stop-signal", usage: "send `SIGNAL` at a timeout (default: the image's, or SIGTERM)", set: func(o *runner.Override, v string) error {
			o.Settings.Process.StopSignal = v
			return nil
		}},
		{name: "no-init", on: true, usage: "run the application as process 1, without a reaper", set: func(o *runner.Override, _ string) error {
			no := false
			o.Settings.Process.Init = &no
			return nil
		}},
		{name: "cap-add", list: true, usage: "keep capability `NAME` too", set: func(o *runner.Override, v string) error {
			o.Settings.Capabilities.Add = append(o.Settings.Capabilities.Add, v)
			return nil
		}},
		{name: "cap-drop", list: true, usage: "drop capability `NAME`, or all", set: func(o *runner.Override, v string) error {
			o.Settings.Capabilities.Drop = append(o.Settings.Capabilities.Drop, v)
			return nil
		}},
		{name: "id-map", usage: "`MODE` single (one id), range (65536 ids) or auto", set: func(o *runner.Override, v string) error {
			o.IDMap = v
			return nil
		}},
	}
}

func limitSettings() []setting {
	return []setting{
		{name: "memory", alias: "m", usage: "limit memory to `SIZE`", set: size(func(o *runner.Override) *profiles.Size { return &o.Settings.Limits.Memory })},
		{name: "swap", usage: "limit swap to `SIZE` on top of memory, 0 (none) by default", set: sizeOrNone(func(o *runner.Override) **profiles.Size { return &o.Settings.Limits.Swap })},
		{name: "cpus", usage: "limit processor time to `N` processors' worth", set: func(o *runner.Override, v string) error {
			n, err := strconv.ParseFloat(v, 64)
			if err != nil || !(n > 0) { // not even NaN
				return misuse("write a number of processors, as in 1.5", "option --cpus: %q: expected a number above 0", v)
			}
			o.Settings.Limits.CPUs = n
			return nil
		}},
		{name: "cpu-weight", usage: "share `N` of busy processors, 1 to 10000, 100 by default", set: number(func(o *runner.Override) *int64 { return &o.Settings.Limits.CPUWeight })},
		{name: "cpuset", usage: "run on processors `LIST` only, as in 0-1,3", set: func(o *runner.Override, v string) error {
			o.Settings.Limits.CPUSet = v
			return nil
		}},
		{name: "pids", usage: "limit the number of processes to `N`", set: number(func(o *runner.Override) *int64 { return &o.Settings.Limits.Processes })},
		{name: "io-read", list: true, usage: "limit reading from disks to `[DEV:]SIZE` a second, each or one", set: rates(func(o *runner.Override) *[]string { return &o.Settings.Limits.IORead })},
		{name: "io-write", list: true, usage: "limit writing to disks to `[DEV:]SIZE` a second", set: rates(func(o *runner.Override) *[]string { return &o.Settings.Limits.IOWrite })},
		{name: "io-read-ops", list: true, usage: "limit reads from disks to `[DEV:]N` a second", set: rates(func(o *runner.Override) *[]string { return &o.Settings.Limits.IOReadOps })},
		{name: "io-write-ops", list: true, usage: "limit writes to disks to `[DEV:]N` a second", set: rates(func(o *runner.Override) *[]string { return &o.Settings.Limits.IOWriteOps })},
		{name: "open-files", usage: "limit open files of a process to `N`", set: number(func(o *runner.Override) *int64 { return &o.Settings.Limits.OpenFiles })},
		{name: "file-size", usage: "limit a file's size to `SIZE`", set: size(func(o *runner.Override) *profiles.Size { return &o.Settings.Limits.FileSize })},
		{name: "core-size", usage: "limit a core file's size to `SIZE`, 0 for none", set: sizeOrNone(func(o *runner.Override) **profiles.Size { return &o.Settings.Limits.CoreSize })},
		{name: "output-limit", usage: "stop the run after `SIZE` of standard output and error", set: size(func(o *runner.Override) *profiles.Size { return &o.Settings.Limits.Output })},
		{name: "cpu-time", usage: "stop the run after `DURATION` of processor time, of all its processes", set: duration(func(o *runner.Override) *profiles.Duration { return &o.Settings.Limits.CPUTime })},
		{name: "timeout", usage: "stop the run after `DURATION`", set: duration(func(o *runner.Override) *profiles.Duration { return &o.Settings.Limits.Timeout })},
		{name: "grace", usage: "`DURATION` between SIGTERM and the end at a timeout", set: duration(func(o *runner.Override) *profiles.Duration { return &o.Settings.Limits.Grace })},
	}
}

func size(field func(*runner.Override) *profiles.Size) func(*runner.Override, string) error {
	return func(o *runner.Override, v string) error {
		n, err := profiles.ParseSize(v)
		if err == nil && n <= 0 {
			err = fmt.Errorf("size %q: expected more than nothing", v)
		}
		*field(o) = profiles.Size(n)
		return err
	}
}

// sizeOrNone is size where 0 says something.
func sizeOrNone(field func(*runner.Override) **profiles.Size) func(*runner.Override, string) error {
	return func(o *runner.Override, v string) error {
		n, err := profiles.ParseSize(v)
		*field(o) = &n
		return err
	}
}

func rates(field func(*runner.Override) *[]string) func(*runner.Override, string) error {
	return func(o *runner.Override, v string) error {
		*field(o) = append(*field(o), v)
		return nil
	}
}

func duration(field func(*runner.Override) *profiles.Duration) func(*runner.Override, string) error {
	return func(o *runner.Override, v string) error {
		n, err := profiles.ParseDuration(v)
		if err == nil && n <= 0 {
			err = fmt.Errorf("duration %q: expected more than nothing", v)
		}
		*field(o) = profiles.Duration(n)
		return err
	}
}

func number(field func(*runner.Override) *int64) func(*runner.Override, string) error {
	return func(o *runner.Override, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("%q: is more than %d", v, int64(math.MaxInt64))
		}
		if err != nil || n <= 0 {
			return fmt.Errorf("%q: expected a whole number above 0", v)
		}
		*field(o) = n
		return nil
	}
}

// absoluteBind makes the source absolute, so that the Spec says all.
func absoluteBind(v string) (string, error) {
	if _, err := runner.ParseBind(v); err != nil {
		return "", err
	}
	src, rest, _ := strings.Cut(v, ":")
	abs, err := filepath.Abs(src)
	return abs + ":" + rest, err
}

// addEnv takes KEY=VALUE, or KEY to pass the caller's value on.
func addEnv(o *runner.Override, v, where string) error {
	k, _, ok := strings.Cut(v, "=")
	if k == "" || strings.ContainsRune(v, 0) {
		return misuse("write KEY=VALUE, or KEY to pass it on", "%s %q is not a variable", where, v)
	}
	if !ok {
		value, set := os.LookupEnv(k)
		if !set {
			return nil
		}
		v = k + "=" + value
	}
	o.Env = append(o.Env, v)
	return nil
}

const maxEnvFile = 1 << 20

func addEnvFile(o *runner.Override, name string) error {
	// A FIFO that nobody writes to must not hold the open up.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return misuse("name a file that exists and that you can read", "env file %s: %s", name, bare(err))
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxEnvFile {
		return misuse("give a file of KEY=VALUE lines of at most 1 MiB", "env file %s: is not a text file of that size", name)
	}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxEnvFile)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := addEnv(o, line, fmt.Sprintf("%s:%d:", name, n)); err != nil {
			return err
		}
	}
	return lines.Err()
}

// bare takes the operation and the path off an error of package os, where the
// message names the object already.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// cliFlags makes the library's flags out of the table.
func cliFlags(table []setting) []cli.Flag {
	flags := make([]cli.Flag, 0, 2*len(table))
	for i := range table {
		flags = append(flags, &table[i])
		if table[i].alias != "" {
			flags = append(flags, short{&table[i]})
		}
	}
	return flags
}

// override gathers what the flags say.
func override(table []setting) (runner.Override, error) {
	var o runner.Override
	for i := range table {
		for _, v := range table[i].given {
			// An unset variable of a script must not do away with a limit.
			if v == "" {
				return o, misuse("give it a value, or leave the option out", "option --%s: the value is empty", table[i].name)
			}
			if err := table[i].set(&o, v); err != nil {
				if runner.Hint(err) == "" {
					err = &runner.Error{Stage: runner.StageResolve, Step: "option --" + table[i].name, Err: err, Hint: "hutch run --help says what it takes"}
				}
				return o, err
			}
		}
	}
	return o, nil
}
