package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"hutch/runner"
)

// A resultFile is where --result goes. It is tried before the run, so that
// one that cannot be written is an error before the start.
type resultFile struct {
	f *os.File
	// engine is the one that was asked for.
	engine string
	// name is that of a regular file, which appears whole or not at all; it is
	// made when the run is over, so that a hutch that is killed leaves none.
	name string
}

func openResult(arg string) (*resultFile, error) {
	switch {
	case arg == "":
		return nil, nil
	case arg == "-" && closedStreams[1]:
		return nil, misuse("name a file, or leave standard output open", "option --result: standard output is closed")
	case arg == "-":
		return &resultFile{f: os.Stdout}, nil
	case strings.HasPrefix(arg, "fd:"):
		return resultFD(arg)
	}
	fail := func(err error) (*resultFile, error) {
		return nil, &runner.Error{Stage: runner.StageResolve, Step: "result file " + arg, Err: bare(err), Hint: "name a file in a directory that exists and that you can write"}
	}
	info, err := os.Stat(arg)
	if err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(arg, os.O_WRONLY, 0)
		if err != nil {
			return fail(err)
		}
		return &resultFile{f: f}, nil
	}
	f, err := createBeside(arg)
	if err != nil {
		return fail(err)
	}
	f.Close()
	os.Remove(f.Name())
	return &resultFile{name: arg}, nil
}

// createBeside makes a file that can be renamed to name.
func createBeside(name string) (*os.File, error) {
	return os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
}

func resultFD(arg string) (*resultFile, error) {
	n, err := strconv.Atoi(arg[3:])
	if err != nil || n < 0 {
		return nil, misuse("write fd:N with the number of an open descriptor", "option --result: %q: expected a number", arg)
	}
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(n), syscall.F_GETFL, 0)
	if errno != 0 || flags&syscall.O_ACCMODE == syscall.O_RDONLY {
		return nil, misuse(fmt.Sprintf("open it for writing first, as in %d>result.json", n), "result descriptor %d is not open for writing", n)
	}
	return &resultFile{f: os.NewFile(uintptr(n), arg)}, nil
}

// write writes the result of a run, or of one that did not start.
func (r *resultFile) write(result runner.Result, failed error) error {
	if r == nil {
		return nil
	}
	switch {
	case failed != nil && result.Cause == "":
		result = runner.NotStartedResult(failed)
		result.Engine = r.engineName()
	case failed != nil: // the application ran; what came after it failed
		result.Message = failed.Error()
	}
	data, err := json.Marshal(result)
	if err == nil {
		err = r.put(append(data, '\n'))
	}
	if err != nil {
		return &runner.Error{Stage: runner.StageRun, Step: "write the result", Err: err, Hint: "the run itself is over; free some space and read its exit status"}
	}
	return nil
}

// engineName is that of the engine that is told of; it is native's up to where
// the command line names another.
func (r *resultFile) engineName() string {
	if r.engine == "" {
		return "native"
	}
	return r.engine
}

// leave has the result written also when a second signal ends hutch while a
// start hangs, on a dead file server say: what can then still run is a handler.
func (r *resultFile) leave() {
	result, _ := interrupted(r.engineName(), syscall.SIGTERM)
	data, err := json.Marshal(result)
	if err != nil {
		return
	}
	// The name of the signal, which only the handler knows, comes in between.
	head, tail, ok := strings.Cut(string(data), `"SIGTERM"`)
	if !ok {
		return
	}
	temp, fd := "", -1
	if r.name == "" {
		fd = int(r.f.Fd())
	} else {
		temp = filepath.Join(filepath.Dir(r.name), fmt.Sprintf(".%s.%d", filepath.Base(r.name), os.Getpid()))
	}
	leaveWords(fd, temp, r.name, head, tail+"\n")
}

func (r *resultFile) put(data []byte) error {
	if r.name == "" {
		_, err := r.f.Write(data)
		return err
	}
	f, err := createBeside(r.name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), r.name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
