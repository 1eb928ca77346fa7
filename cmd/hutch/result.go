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

// A resultFile is where --result goes. It is opened before the run, so that
// one that cannot be written is an error before the start.
type resultFile struct {
	f *os.File
	// rename is the final name of a regular file, which appears whole or not
	// at all.
	rename string
}

func openResult(arg string) (*resultFile, error) {
	switch {
	case arg == "":
		return nil, nil
	case arg == "-":
		return &resultFile{f: os.Stdout}, nil
	case strings.HasPrefix(arg, "fd:"):
		return resultFD(arg)
	}
	fail := func(err error) (*resultFile, error) {
		return nil, &runner.Error{Stage: runner.StageResolve, Step: "result file", Err: err, Hint: "name a file in a directory that you can write"}
	}
	info, err := os.Stat(arg)
	if err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(arg, os.O_WRONLY, 0)
		if err != nil {
			return fail(err)
		}
		return &resultFile{f: f}, nil
	}
	f, err := os.CreateTemp(filepath.Dir(arg), "."+filepath.Base(arg)+".*")
	if err != nil {
		return fail(err)
	}
	return &resultFile{f: f, rename: arg}, nil
}

func resultFD(arg string) (*resultFile, error) {
	n, err := strconv.Atoi(arg[3:])
	if err != nil || n < 0 {
		return nil, misuse("write fd:N with the number of an open descriptor", "result %q", arg)
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
	if failed != nil {
		result = runner.NotStartedResult(failed)
	}
	data, err := json.Marshal(result)
	if err == nil {
		_, err = r.f.Write(append(data, '\n'))
	}
	if r.rename != "" {
		if cerr := r.f.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			err = os.Rename(r.f.Name(), r.rename)
		}
		if err != nil {
			os.Remove(r.f.Name())
		}
	}
	if err != nil {
		return &runner.Error{Stage: runner.StageRun, Step: "write the result", Err: err, Hint: "the run itself is over; free some space and read its exit status"}
	}
	return nil
}
