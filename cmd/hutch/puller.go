package main

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"hutch/rootfs"
	"hutch/runner"
)

// embedded holds hutch-pull, compressed. Its pages are read when an image is
// fetched, and at no other time.
//
//go:embed embedded
var embedded embed.FS

// puller gives hutch-pull as a file in memory that can be executed,
// memfd_create(2).
func puller() (*os.File, error) {
	packed, err := embedded.Open("embedded/hutch-pull.gz")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &runner.Error{
			Stage: runner.StagePrepare, Step: "this hutch was built without hutch-pull, and cannot fetch images",
			Hint: "build it with make build",
		}
	}
	if err != nil {
		return nil, err
	}
	defer packed.Close()
	program, _, err := rootfs.Decompress(packed)
	if err != nil {
		return nil, fmt.Errorf("hutch-pull: %w", err)
	}
	defer program.Close()
	fd, err := unix.MemfdCreate("hutch-pull", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 all could be executed
		fd, err = unix.MemfdCreate("hutch-pull", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, &runner.Error{
			Stage: runner.StagePrepare, Step: "hutch-pull", Err: err,
			Hint: "fetching needs programs in memory; see the sysctl vm.memfd_noexec",
		}
	}
	f := os.NewFile(uintptr(fd), "hutch-pull")
	_, err = io.Copy(f, program)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("hutch-pull: %w", err)
	}
	return f, nil
}
