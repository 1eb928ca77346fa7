package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hutch/rootfs"
)

// A decoder is a running hutch-decompress; see rootfs.Decoder.
type decoder struct {
	cmd   exec.Cmd
	fed   chan error // what went wrong with the source, or nil, when it has been read or is not wanted
	out   *os.File
	words firstWords
	end   error // what is left to say when all has been read
}

// decode starts hutch-decompress on r.
func decode(format string, r io.Reader) (io.ReadCloser, error) {
	program, err := carried("hutch-decompress", "unpack what is compressed as ."+format)
	if err != nil {
		return nil, err
	}
	defer program.Close()
	manyThreads() // to feed it and to read from it
	stdin, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	out, stdout, err := os.Pipe()
	if err != nil {
		to.Close()
		return nil, err
	}
	defer stdout.Close()
	// Fewer switches between the two; the caller's pipes may be used up.
	_, _ = unix.FcntlInt(stdout.Fd(), unix.F_SETPIPE_SZ, 1<<20)
	d := &decoder{fed: make(chan error, 1), out: out}
	d.cmd = exec.Cmd{
		Path: fmt.Sprintf("/proc/self/fd/%d", program.Fd()), Args: []string{"hutch-decompress", format}, Env: []string{},
		Stdin: stdin, Stdout: stdout, Stderr: &d.words,
		// Ctrl-C is for hutch, which ends this one by closing its pipes.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		// Something of its making may hold on to standard error.
		WaitDelay: lastMoments,
	}
	if err := onOrdinaryThread(d.cmd.Start); err != nil {
		to.Close()
		out.Close()
		return nil, fmt.Errorf("hutch-decompress: %w", err)
	}
	// Nobody waits for this: reading the archive may hang where it comes from.
	go func() {
		_, err := io.Copy(struct{ io.Writer }{to}, r)
		if errors.Is(err, unix.EPIPE) {
			err = nil // what follows the stream, or the end of hutch-decompress, which says why
		}
		d.fed <- err
		to.Close()
	}()
	return d, nil
}

func (d *decoder) Read(p []byte) (int, error) {
	if d.end != nil {
		return 0, d.end
	}
	n, err := d.out.Read(p)
	if errors.Is(err, io.EOF) {
		d.end = d.finish()
		err = d.end
	}
	return n, err
}

// finish says how it ended: io.EOF if well.
func (d *decoder) finish() error {
	// It has closed its output, and has nothing left to do.
	tooLong := time.AfterFunc(lastMoments, d.kill)
	err := d.cmd.Wait()
	tooLong.Stop()
	words := errors.New(strings.TrimSpace(d.words.String()))
	switch d.cmd.ProcessState.ExitCode() {
	case 0:
		return io.EOF
	case rootfs.StatusDamaged:
		return words
	case rootfs.StatusCutShort:
		if err := <-d.fed; err != nil {
			return err
		}
		return io.ErrUnexpectedEOF
	case rootfs.StatusDemand:
		return &rootfs.DemandError{Words: words.Error()}
	}
	return fmt.Errorf("hutch-decompress: %w: %w", err, words)
}

// Close ends it, where it has not ended by itself.
func (d *decoder) Close() error {
	d.out.Close()
	if d.end == nil {
		d.end = io.ErrClosedPipe
		d.kill()
		d.cmd.Wait()
	}
	return nil
}

// lastMoments is how long a decoder takes at most to end when it is done.
const lastMoments = 5 * time.Second

// kill ends it with what it may have started.
func (d *decoder) kill() { _ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL) }

// firstWords keeps the beginning of what is said on standard error. A decoder
// that a hostile archive has taken over may never stop.
type firstWords struct{ buf bytes.Buffer }

const mostWords = 4 << 10

func (w *firstWords) Write(p []byte) (int, error) {
	w.buf.Write(p[:min(len(p), max(0, mostWords-w.buf.Len()))])
	return len(p), nil
}

func (w *firstWords) String() string { return w.buf.String() }
