package main

import (
	"path/filepath"
	"slices"
	"strings"

	"hutch/runner"
	"hutch/runner/native"
	"hutch/runner/uml"
)

// To add an engine: its name in engineNames, its case in engine, and its
// column in the table of runner/README.md.

var engineNames = [...]string{"native", "uml"}

// An engineChoice is what the command line says of the engine.
type engineChoice struct {
	name   string
	kernel string
}

// check refuses what no engine has.
func (c *engineChoice) check() error {
	if c.name == "" {
		c.name = "native"
	}
	if !slices.Contains(engineNames[:], c.name) {
		return misuse("it is one of "+strings.Join(engineNames[:], ", "), "option --engine: no such engine %q", c.name)
	}
	if c.name == "native" && c.kernel != "" {
		return misuse("choose a guest with --engine uml", "option --kernel: the native engine runs on this machine's own kernel")
	}
	return nil
}

// engine is the engine that was chosen; box is that of its process's box.
func (c *engineChoice) engine(box *native.Engine) runner.Engine {
	if c.name == "uml" {
		manyThreads()
		return &uml.Engine{Box: box, Kernel: c.kernel, Cache: guestCache()}
	}
	return box
}

// guestCache is where what a guest boots from is kept.
func guestCache() string {
	if d := cacheDir(); d != "" {
		return filepath.Join(d, "guest")
	}
	return ""
}
