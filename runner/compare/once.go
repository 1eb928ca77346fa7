package compare

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// A ran is one run that ended well.
type ran struct {
	argv []string
	// first is until the first byte of output, whole until the end.
	first, whole time.Duration
	cpu          time.Duration // of all processes that were waited for
	exit         int
	output       hash.Hash
	bytes        int64
}

// once runs j on s to its end. A command that fails is no error when failing is
// not nil: that is told its status.
func (c *Comparison) once(ctx context.Context, s *side, j job, failing func(int)) (*ran, error) {
	argv, clean, err := s.command(c, j)
	if err != nil {
		return nil, err
	}
	defer clean()
	start, release, err := c.fence(s)
	if err != nil {
		return nil, err
	}
	defer release()
	ctx, cancel := context.WithTimeout(ctx, c.bounds().deadline)
	defer cancel()
	r := &ran{argv: argv, output: sha256.New()}
	cmd, stderr := prepare(ctx, argv)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := start(cmd); err != nil {
		return nil, err
	}
	in := bufio.NewReader(out)
	if _, err := in.Peek(1); err == nil {
		r.first = time.Since(began)
	}
	r.bytes, _ = io.Copy(r.output, in)
	err = cmd.Wait()
	r.whole = time.Since(began)
	r.exit = cmd.ProcessState.ExitCode()
	r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if failing != nil && err != nil && ctx.Err() == nil {
		failing(r.exit)
		return r, nil
	}
	return r, failure(ctx, err, stderr)
}

// prepare makes a process group of its own, all of which ends with ctx. hutch
// and its peers end what they started when they are told to.
func prepare(ctx context.Context, argv []string) (*exec.Cmd, *tail) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	stderr := &tail{}
	cmd.Stderr = stderr
	return cmd, stderr
}

// failure is err in the words of the program that failed.
func failure(ctx context.Context, err error, stderr *tail) error {
	if err == nil {
		return nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("did not end in time: %s", stderr.summary())
	}
	if said := stderr.summary(); said != "" {
		return errors.New(said)
	}
	return err
}

// A tail keeps the end of what a program says about its failure.
type tail struct{ buf []byte }

const tailSize = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if len(t.buf) > tailSize {
		t.buf = bytes.Clone(t.buf[len(t.buf)-tailSize:])
	}
	return len(p), nil
}

// summary is the first line of an error, and hutch's advice.
func (t *tail) summary() string {
	var line, hint string
	for l := range strings.Lines(string(t.buf)) {
		l = strings.TrimSpace(l)
		if h, ok := strings.CutPrefix(l, "hint: "); ok {
			hint = "; " + h
		} else if l != "" && line == "" {
			line = strings.TrimPrefix(l, "hutch: ")
		}
	}
	const longest = 300
	if s := line + hint; len(s) > longest {
		return s[:longest] + "…"
	}
	return line + hint
}

// digest is the sum of all that the command wrote.
func (r *ran) digest() string { return hex.EncodeToString(r.output.Sum(nil)) }

// runCommand runs the command in every round on every side.
func (c *Comparison) runCommand(ctx context.Context) {
	rows := []Row{
		{Name: "first output", Group: "command", Unit: "ms", About: "until the command's first byte of output"},
		{Name: "whole run", Group: "command", Unit: "ms", About: "until everything has ended"},
		{Name: "processor", Group: "command", Unit: "ms", About: "processor time of all processes on the host that were waited for"},
	}
	c.steps = c.done + (c.Rounds+1)*len(c.sides)
	for round := -1; round < c.Rounds; round++ { // the first only warms
		for _, s := range c.turn(round) {
			if s.why != "" || ctx.Err() != nil {
				continue
			}
			c.step(fmt.Sprintf("round %d of %d: %s", max(round+1, 1), c.Rounds, s.name))
			r, err := c.once(ctx, s, job{argv: c.Command}, func(int) {})
			if err != nil {
				if ctx.Err() == nil {
					s.why = err.Error()
				}
				continue
			}
			info := c.report.side(s.name)
			info.CommandLine = r.argv
			if round < 0 {
				info.Outcome = &Outcome{ExitCode: r.exit, OutputSHA256: r.digest(), OutputBytes: r.bytes}
				continue
			}
			if r.bytes > 0 {
				rows[0].add(s.name, ms(r.first))
			}
			rows[1].add(s.name, ms(r.whole))
			rows[2].add(s.name, ms(r.cpu))
		}
	}
	c.report.Rows = append(c.report.Rows, rows...)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// add keeps a sample of a side.
func (row *Row) add(side string, value float64) {
	c := row.cell(side)
	if c == nil {
		row.Cells = append(row.Cells, Cell{Side: side})
		c = &row.Cells[len(row.Cells)-1]
	}
	c.Samples = append(c.Samples, value)
}

// fail keeps why a side has no samples.
func (row *Row) fail(side, why string) {
	c := row.cell(side)
	if c == nil {
		row.Cells = append(row.Cells, Cell{Side: side})
		c = &row.Cells[len(row.Cells)-1]
	}
	c.Why = why
}
