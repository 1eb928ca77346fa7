package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// bareSource is the least that a static Go program with cgo is: nothing of ours.
const bareSource = "package main\n\nimport \"C\"\n\nfunc main() {}\n"

// bare builds the bare program with the flags that hutch is built with.
func (b *bench) bare() (command, error) {
	dir := filepath.Join(b.temp, "bare")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return command{}, err
	}
	for name, text := range map[string]string{"main.go": bareSource, "go.mod": "module bare\n\ngo 1.26\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return command{}, err
		}
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", "netgo,osusergo",
		"-ldflags", `-s -w -linkmode external -extldflags "-static"`, "-o", "bare", ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=1", "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return command{}, fmt.Errorf("go build of the bare program: %w: %s", err, out)
	}
	return command{name: "bare program", argv: []string{filepath.Join(dir, "bare")}}, nil
}

// packageInit compares the time in package initializers, as the runtime itself
// reports it with GODEBUG=inittrace=1.
func packageInit(b *bench, runs int) (samples, error) { return b.againstBare(runs, initMilliseconds) }

// versionWall compares the shortest way through the command line, all included.
func versionWall(b *bench, runs int) (samples, error) { return b.againstBare(runs, b.wallMilliseconds) }

func (b *bench) againstBare(runs int, measure func(command) (float64, error)) (samples, error) {
	theirs, err := b.bare()
	if err != nil {
		return samples{}, err
	}
	ours := command{name: "hutch --version", argv: []string{b.hutch, "--version"}}
	s, err := b.pairs(runs, measure, ours, theirs)
	s.peerName = "bare static cgo Go"
	return s, err
}

func initMilliseconds(c command) (float64, error) {
	c.env = []string{"GODEBUG=inittrace=1"}
	_, stderr, err := output(c)
	if err != nil {
		return 0, err
	}
	return sumInit(stderr)
}

// sumInit adds up the clock times of lines such as
// "init internal/bytealg @0.008 ms, 0.002 ms clock, 0 bytes, 0 allocs".
// See the GODEBUG paragraph of package runtime.
func sumInit(trace []byte) (milliseconds float64, err error) {
	found := false
	for lines := bufio.NewScanner(bytes.NewReader(trace)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 7 || fields[0] != "init" || fields[6] != "clock," {
			continue
		}
		clock, err := strconv.ParseFloat(fields[4], 64)
		if err != nil {
			return 0, fmt.Errorf("inittrace line %q: %w", lines.Text(), err)
		}
		milliseconds += clock
		found = true
	}
	if !found {
		return 0, fmt.Errorf("no line of inittrace in %q", trace)
	}
	return milliseconds, nil
}
