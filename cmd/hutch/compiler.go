package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hutch/seccomp"
)

// compiler runs hutch-seccomp, see seccomp.Compiler.
type compiler struct{}

// Version is that of the libseccomp in it.
func (compiler) Version() string { return carriedVersion("hutch-seccomp") }

// A compilation is hutch-seccomp: it reads a pipe and writes files in memory,
// so that it never waits for hutch. Package os/exec would take as long as the
// compiler.
type compilation struct {
	pid            int
	request        *os.File
	filters, words *os.File
}

// Start starts it.
func (compiler) Start() (seccomp.Compilation, error) {
	program, err := carried("hutch-seccomp", "compile profiles of other people's making: it knows the built-in ones only")
	if err != nil {
		return nil, err
	}
	defer program.Close()
	c := &compilation{}
	if err := c.start(program); err != nil {
		c.close()
		return nil, fmt.Errorf("hutch-seccomp: %w", err)
	}
	return c, nil
}

func (c *compilation) start(program *os.File) error {
	for _, f := range [...]struct {
		to   **os.File
		name string
	}{{&c.filters, "filters"}, {&c.words, "words"}} {
		fd, err := unix.MemfdCreate(f.name, unix.MFD_CLOEXEC)
		if err != nil {
			return err
		}
		*f.to = os.NewFile(uintptr(fd), f.name)
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(p[0])
	c.request = os.NewFile(uintptr(p[1]), "request")
	return onOrdinaryThread(func() (err error) {
		c.pid, err = syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", program.Fd()), []string{"hutch-seccomp"}, &syscall.ProcAttr{
			Env: []string{}, Files: []uintptr{uintptr(p[0]), c.filters.Fd(), c.words.Fd()},
		})
		return err
	})
}

// Run says what is to be compiled and gives what was.
func (c *compilation) Run(request []byte) ([]byte, error) {
	defer c.close()
	_, err := c.request.Write(request)
	c.request.Close()
	status := c.wait()
	if status.Exited() && status.ExitStatus() == 0 && err == nil {
		return whole(c.filters)
	}
	if words, _ := whole(c.words); len(words) > 0 {
		return nil, errors.New(strings.TrimSpace(string(words)))
	}
	return nil, fmt.Errorf("hutch-seccomp: ended with wait status %#x", uint32(status))
}

// Cancel ends it: there is nothing to read.
func (c *compilation) Cancel() {
	c.request.Close()
	c.wait()
	c.close()
}

func (c *compilation) wait() (status unix.WaitStatus) {
	for {
		if _, err := unix.Wait4(c.pid, &status, 0, nil); err != unix.EINTR {
			return status
		}
	}
}

func (c *compilation) close() {
	for _, f := range [...]*os.File{c.request, c.filters, c.words} {
		f.Close() // nil and closed files say so, and no more
	}
}

// whole is all that is in a file, wherever somebody has read or written last.
func whole(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(f, 0, info.Size()))
}
