package compare

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"time"

	"hutch/runner/compare/work"
)

// grow starts more and more of each side at once: idle ones, whose memory and
// time are taken, and then has all of them work.
func (c *Comparison) grow(ctx context.Context) {
	for _, s := range c.sides {
		if s.why != "" || ctx.Err() != nil {
			continue
		}
		c.step("many at once: " + s.name)
		g := Growth{Side: s.name}
		b := c.bounds()
		// A quarter of what is free: the machine stays usable, and nothing swaps.
		budget := meminfo("MemAvailable:") / 4
		began := time.Now()
		for n := 1; n <= b.many; n = grown(n, b.many) {
			p, err := c.many(ctx, s, n, budget)
			if err != nil {
				g.Why = err.Error()
				break
			}
			g.Points = append(g.Points, p)
			if next := grown(n, b.many); p.MemoryBytes*float64(next) > budget {
				g.Why = fmt.Sprintf("%d would take %s, and a quarter of the free memory is %s", next, size(p.MemoryBytes*float64(next)), size(budget))
				break
			}
			if n < b.many && time.Since(began) > b.growthTime {
				g.Why = "the time for it was up"
				break
			}
		}
		if ctx.Err() == nil {
			c.report.Growth = append(c.report.Growth, g)
		}
	}
}

// grown is the next number after n on the way to most: twice as many, and that
// itself.
func grown(n, most int) int {
	if n < most {
		return min(2*n, most)
	}
	return 2 * n
}

// A crowd is N sessions at once.
type crowd []*session

func (o crowd) close() error {
	var first error
	for _, s := range o {
		if err := s.close(nil); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// many measures n of s at once.
func (c *Comparison) many(ctx context.Context, s *side, n int, budget float64) (GrowthPoint, error) {
	j := job{argv: c.serveCommand(), bound: true}
	all := make(crowd, 0, n)
	began := time.Now()
	var failed error
	for range n { // started one after the other, as a service would
		o, err := c.begin(ctx, s, j)
		if err != nil {
			failed = err
			break
		}
		all = append(all, o)
	}
	for _, o := range all {
		if failed == nil {
			failed = o.ready()
		}
	}
	p := GrowthPoint{N: n, StartSeconds: time.Since(began).Seconds()}
	if failed != nil {
		all.abandon()
		return p, failed
	}
	for _, o := range all {
		bytes, _ := pss(o.cmd.Process.Pid)
		p.MemoryBytes += bytes / float64(n)
	}
	if p.MemoryBytes*float64(n) <= budget {
		p.Work, failed = all.work()
	}
	if err := all.close(); failed == nil {
		failed = err
	}
	return p, failed
}

// begin starts a session without waiting for it.
func (c *Comparison) begin(ctx context.Context, s *side, j job) (*session, error) {
	argv, clean, err := s.command(c, j)
	if err != nil {
		return nil, err
	}
	start, release, err := c.fence(s)
	if err != nil {
		clean()
		return nil, err
	}
	o := &session{clean: func() { release(); clean() }}
	o.ctx, o.cancel = context.WithTimeout(ctx, c.bounds().deadline)
	o.cmd, o.stderr = prepare(o.ctx, argv)
	var out io.ReadCloser
	if o.in, err = o.cmd.StdinPipe(); err == nil {
		if out, err = o.cmd.StdoutPipe(); err == nil {
			err = start(o.cmd)
		}
	}
	if err != nil {
		o.cancel()
		o.clean()
		return nil, err
	}
	o.out = bufio.NewReader(out)
	return o, nil
}

// ready waits until the session has said so.
func (o *session) ready() error {
	if line, err := o.out.ReadString('\n'); line != "ready\n" {
		return fmt.Errorf("said %q where it should say ready: %w", line, failure(o.ctx, orExit(err, o.cmd), o.stderr))
	}
	return nil
}

// orExit is err, or what is known of the end of cmd.
func orExit(err error, cmd *exec.Cmd) error {
	if cmd.ProcessState != nil && !cmd.ProcessState.Success() {
		return fmt.Errorf("%s", cmd.ProcessState)
	}
	return err
}

// abandon ends all sessions, whatever they do.
func (o crowd) abandon() {
	for _, s := range o {
		s.close(context.Canceled)
	}
}

// work has all sessions compute at once, and adds up what they did: steps of
// the integer workload, a second.
func (o crowd) work() (float64, error) {
	for _, s := range o {
		if _, err := io.WriteString(s.in, "integer\n"); err != nil {
			return 0, err
		}
	}
	var sum float64
	for _, s := range o {
		var m work.Measure
		line, err := s.out.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &m)
		}
		if err != nil {
			return 0, err
		}
		if m.Value > 0 {
			sum += 1e9 / m.Value
		}
	}
	return sum, nil
}
