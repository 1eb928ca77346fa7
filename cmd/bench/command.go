package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// A command is one whole process, measured from before its fork to its end.
type command struct {
	name string // for errors
	argv []string
	env  []string // added to ours
	// before and after run outside the measured time; nil for nothing.
	before, after func() error
}

// A missingPeer is a program that the machine lacks.
type missingPeer struct{ name, install string }

func (m missingPeer) Error() string {
	return fmt.Sprintf("%s is missing: %s", m.name, m.install)
}

// peer looks a peer up and returns its path and its name with the version.
func peer(program, debianPackage string, versionArgs ...string) (path, name string, err error) {
	path, err = exec.LookPath(program)
	if err != nil {
		return "", "", missingPeer{program, "apt-get install " + debianPackage}
	}
	out, err := exec.Command(path, versionArgs...).Output()
	if err != nil {
		return "", "", fmt.Errorf("%s %s: %w", program, strings.Join(versionArgs, " "), err)
	}
	return path, program + " " + version(string(out)), nil
}

// version is the first word of the first line that has a digit and a dot.
func version(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	for word := range strings.FieldsSeq(line) {
		if strings.Contains(word, ".") && strings.ContainsAny(word, "0123456789") {
			return strings.TrimRight(word, ",;")
		}
	}
	return "?"
}

// pairs runs ours and the peer in turn, after two pairs that are thrown away,
// and keeps what measure makes of each. No garbage collection of our own runs
// in between.
func (b *bench) pairs(runs int, measure func(command) (float64, error), ours, peer command) (s samples, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	warmUp := min(2, runs)
	for i := -warmUp; i < runs; i++ {
		runtime.GC()
		a, err := b.sample(measure, ours)
		if err != nil {
			return s, err
		}
		p, err := b.sample(measure, peer)
		if err != nil {
			return s, err
		}
		if i >= 0 {
			s.add(a, p)
		}
	}
	return s, nil
}

func (b *bench) sample(measure func(command) (float64, error), c command) (value float64, err error) {
	if c.before != nil {
		if err := c.before(); err != nil {
			return 0, err
		}
	}
	time.Sleep(b.pause)
	if value, err = measure(c); err != nil {
		return 0, err
	}
	if c.after != nil {
		err = c.after()
	}
	return value, err
}

// wall is the wall time of c in seconds, on the monotonic clock.
func (b *bench) wall(c command) (float64, error) {
	stderr, err := os.Create(filepath.Join(b.temp, "stderr"))
	if err != nil {
		return 0, err
	}
	defer stderr.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	attr := &os.ProcAttr{Env: append(os.Environ(), c.env...), Files: []*os.File{null, null, stderr}}
	begin := time.Now()
	p, err := os.StartProcess(c.argv[0], c.argv, attr)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.name, err)
	}
	state, err := p.Wait()
	seconds := time.Since(begin).Seconds()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.name, err)
	}
	if !state.Success() {
		text, _ := os.ReadFile(stderr.Name())
		return 0, exitError(c, state, text)
	}
	return seconds, nil
}

func (b *bench) wallMilliseconds(c command) (float64, error) {
	s, err := b.wall(c)
	return s * 1e3, err
}

// output runs c unmeasured and returns what it wrote.
func output(c command) (stdout, stderr []byte, err error) {
	var out, errs bytes.Buffer
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState != nil {
			err = exitError(c, cmd.ProcessState, errs.Bytes())
		}
		return nil, nil, err
	}
	return out.Bytes(), errs.Bytes(), nil
}

// exitError says how c ended and the last line that it wrote about it.
func exitError(c command, state *os.ProcessState, stderr []byte) error {
	lines := strings.Split(strings.TrimSpace(string(stderr)), "\n")
	how := fmt.Sprintf("exited %d", state.ExitCode())
	if state.ExitCode() < 0 {
		how = state.String()
	}
	return fmt.Errorf("%s %s: %s", c.name, how, lines[len(lines)-1])
}
