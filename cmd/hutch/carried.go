package main

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/rootfs"
	"hutch/runner"
)

// embedded holds the programs that hutch carries inside itself, for what needs
// libraries that would cost every start: hutch-pull and hutch-guest, compressed,
// and hutch-seccomp and hutch-scope, not, for unpacking them would take longer than
// running them. Their pages are read when one is run, and at no other time.
//
//go:embed embedded
var embedded embed.FS

// lacking is the error of a hutch that does not carry name, and for that reason
// cannot do what.
func lacking(name, what string) error {
	return &runner.Error{
		Stage: runner.StagePrepare, Step: fmt.Sprintf("this hutch was built without %s, and cannot %s", name, what),
		Hint: "build it with make build",
	}
}

// carried gives one of these as a file in memory that can be executed,
// memfd_create(2). What says what hutch cannot do without it.
func carried(name, what string) (*os.File, error) {
	program, err := openCarried(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, lacking(name, what)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer program.Close()
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 all could be executed
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, &runner.Error{
			Stage: runner.StagePrepare, Step: name, Err: err,
			Hint: "this needs programs in memory; see the sysctl vm.memfd_noexec",
		}
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{program}, make([]byte, 1<<16))
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// openCarried opens the bytes of a carried program.
func openCarried(name string) (io.ReadCloser, error) {
	if f, err := embedded.Open("embedded/" + name); err == nil {
		return f, nil
	}
	packed, err := embedded.Open("embedded/" + name + ".gz")
	if err != nil {
		return nil, err
	}
	program, _, err := rootfs.Decompress(packed)
	if err != nil {
		packed.Close()
		return nil, err
	}
	return program, nil
}

// puller gives hutch-pull.
func puller() (*os.File, error) { return carried("hutch-pull", "fetch images") }

// guestProgram opens hutch-guest, which is put into the initial root of guests.
func guestProgram() (io.ReadCloser, error) {
	f, err := openCarried("hutch-guest")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, lacking("hutch-guest", "start a guest")
	}
	return f, err
}

// carriedVersion is what the build has written down of a carried program, or "none".
func carriedVersion(name string) string {
	data, err := embedded.ReadFile("embedded/" + name + ".version")
	if err != nil {
		return "none"
	}
	return strings.TrimSpace(string(data))
}
