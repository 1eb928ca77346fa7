package guest

import (
	"os"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// own is a copy of the streams, which the caller may close as soon as the
// application has been started.
func own(s runner.Stdio) (copies runner.Stdio, err error) {
	for _, f := range []struct {
		from *os.File
		to   **os.File
	}{{s.In, &copies.In}, {s.Out, &copies.Out}, {s.Err, &copies.Err}} {
		fd, err := unix.FcntlInt(f.from.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			closeStdio(copies)
			return runner.Stdio{}, &runner.Error{Stage: runner.StageStart, Step: "copy a standard stream", Err: err}
		}
		*f.to = os.NewFile(uintptr(fd), f.from.Name())
	}
	return copies, nil
}

func closeStdio(s runner.Stdio) {
	for _, f := range []*os.File{s.In, s.Out, s.Err} {
		if f != nil {
			f.Close()
		}
	}
}
