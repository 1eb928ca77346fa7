package compare

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"hutch/runner/compare/work"
)

// runSuite runs the built-in workloads: each round is one start of the
// smallest program, and one session in which a side does every workload.
func (c *Comparison) runSuite(ctx context.Context) {
	rows := []Row{
		{Name: "start-first", Group: "start", Unit: "ms", About: "until the first instruction of the application"},
		{Name: "start-exit", Group: "start", Unit: "ms", About: "until a program that exits at once has ended and all is cleaned up"},
	}
	kinds := slices.DeleteFunc(work.Kinds(), func(k work.Kind) bool { return !c.takes(k.Name) })
	for _, k := range kinds {
		rows = append(rows, Row{Name: k.Name, Group: k.Group, Unit: k.Unit, About: k.About, Higher: k.Higher})
	}
	costs := map[string]*costs{}
	c.report.MoreRounds = c.More
	c.steps = c.done + (c.Rounds+1)*len(c.sides) + len(c.sides)
	for round := -1; round < max(c.Rounds, c.More); round++ { // the first only warms
		if round == c.Rounds {
			c.steps += (c.More - c.Rounds) * c.cheap()
		}
		for _, s := range c.turn(round) {
			if s.why != "" || ctx.Err() != nil || round >= c.Rounds && s.round > cheapRound {
				continue
			}
			c.step(fmt.Sprintf("round %d of %d: %s", max(round+1, 1), max(c.Rounds, round+1), s.name))
			began := time.Now()
			if c.takes("start-first") {
				c.startRound(ctx, s, rows[:2], round >= 0)
			}
			if len(kinds) > 0 && round >= 0 {
				c.session(ctx, s, rows[2:], costs)
			}
			if round < c.Rounds {
				s.round = time.Since(began)
			}
		}
	}
	if !c.takes("start-first") {
		rows = rows[2:]
	}
	for i := range rows {
		for j := range rows[i].Cells {
			cell := &rows[i].Cells[j]
			cell.Cost = costs[rows[i].Name+"\x00"+cell.Side].cost()
		}
	}
	c.report.Rows = append(c.report.Rows, rows...)
	if c.takes("locks") {
		c.overcommit(ctx)
	}
	if c.takes("many") {
		c.grow(ctx)
	}
}

// cheapRound is what a round of a side may take that does more of them: boxes
// do, guests do not.
const cheapRound = 1500 * time.Millisecond

// cheap counts these sides.
func (c *Comparison) cheap() (n int) {
	for _, s := range c.sides {
		if s.why == "" && s.round <= cheapRound {
			n++
		}
	}
	return n
}

// turn is the order of the sides in a round: every other round goes backwards,
// so that none is always measured behind the same one.
func (c *Comparison) turn(round int) []*side {
	if round%2 == 0 {
		return c.sides
	}
	back := slices.Clone(c.sides)
	slices.Reverse(back)
	return back
}

// takes says whether the workload called name is wanted.
func (c *Comparison) takes(name string) bool {
	return len(c.Only) == 0 || slices.Contains(c.Only, name)
}

// startRound measures one start.
func (c *Comparison) startRound(ctx context.Context, s *side, rows []Row, keep bool) {
	r, err := c.once(ctx, s, job{argv: []string{insideBundle + "/first"}, bound: true}, nil)
	switch {
	case ctx.Err() != nil || !keep:
	case err != nil:
		rows[0].fail(s.name, err.Error())
		rows[1].fail(s.name, err.Error())
	default:
		rows[0].add(s.name, ms(r.first))
		rows[1].add(s.name, ms(r.whole))
	}
}

// serveCommand is the command line of a session inside.
func (c *Comparison) serveCommand(extra ...string) []string {
	b := c.bounds()
	return append([]string{
		insideBundle + "/work", "work", "--small", insideBundle + "/first", "--dir", insideDir, "--disk", insideDisk,
		"--for", b.each.String(), "--files", strconv.Itoa(b.files), "--functions", strconv.Itoa(b.functions), "--bytes", strconv.FormatInt(b.bytes, 10),
	}, extra...)
}

// A session is a side that waits for workloads to be named.
type session struct {
	cmd    *exec.Cmd
	stderr *tail
	in     io.WriteCloser
	out    *bufio.Reader
	clean  func()
	ctx    context.Context
	cancel context.CancelFunc
}

// open starts a session and waits until it is ready.
func (c *Comparison) open(ctx context.Context, s *side, j job) (*session, error) {
	o, err := c.begin(ctx, s, j)
	if err != nil {
		return nil, err
	}
	if line, err := o.out.ReadString('\n'); line != "ready\n" {
		return nil, o.close(fmt.Errorf("said %q where it should say ready: %w", line, err))
	}
	return o, nil
}

// ask has the session do what is named, and decodes its answer.
func (o *session) ask(what string, answer any) error {
	if _, err := io.WriteString(o.in, what+"\n"); err != nil {
		return err
	}
	line, err := o.out.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, answer)
}

// close ends the session, and puts err, where there is one, in the words of
// the program that failed.
func (o *session) close(err error) error {
	o.in.Close()
	if err != nil && o.ctx.Err() == nil {
		time.Sleep(50 * time.Millisecond) // what failed may still be saying why
	}
	if err != nil {
		o.cancel()
	}
	werr := o.cmd.Wait()
	failed := failure(o.ctx, err, o.stderr)
	if err == nil && werr != nil {
		failed = failure(o.ctx, werr, o.stderr)
	}
	o.cancel()
	o.clean()
	return failed
}

// session has s do every workload of rows once.
func (c *Comparison) session(ctx context.Context, s *side, rows []Row, all map[string]*costs) {
	o, err := c.open(ctx, s, job{argv: c.serveCommand(), bound: true})
	if err != nil {
		if ctx.Err() == nil {
			for i := range rows {
				rows[i].fail(s.name, err.Error())
			}
		}
		return
	}
	if info := c.report.side(s.name); info.Inside == nil {
		if err = o.ask("inside", &info.Inside); err == nil {
			c.look(info, o.cmd.Process.Pid)
			c.disclose(ctx, s, info)
		}
	}
	for i := 0; i < len(rows) && err == nil; i++ {
		var m work.Measure
		before := c.readCost(o.cmd.Process.Pid)
		if err = o.ask(rows[i].Name, &m); err != nil {
			break
		}
		after := c.readCost(o.cmd.Process.Pid)
		switch {
		case m.Why != "":
			rows[i].fail(s.name, m.Why)
		default:
			rows[i].add(s.name, m.Value)
			key := rows[i].Name + "\x00" + s.name
			if all[key] == nil {
				all[key] = &costs{}
			}
			all[key].add(before, after, m.Steal)
		}
	}
	if err = o.close(err); err != nil && ctx.Err() == nil {
		for i := range rows {
			if rows[i].cell(s.name) == nil {
				rows[i].fail(s.name, err.Error())
			}
		}
	}
}

// overcommit has twice as many threads as the host has processors contend for
// a lock, in a box, and in a guest with as many processors of its own.
func (c *Comparison) overcommit(ctx context.Context) {
	threads := 2 * c.report.Machine.Processors
	var rows []Row
	for _, k := range work.LockKinds() {
		rows = append(rows, Row{
			Name: k.Name, Group: "overcommit", Unit: k.Unit,
			About: fmt.Sprintf("a critical section, %d threads on %d processors", threads, c.report.Machine.Processors),
		})
	}
	j := job{argv: c.serveCommand("--threads", strconv.Itoa(threads)), bound: true, vcpus: threads}
	all := map[string]*costs{}
	for round := range min(c.Rounds, 5) {
		for _, s := range c.sides {
			if s.why != "" || ctx.Err() != nil {
				continue
			}
			if round == 0 {
				c.step("overcommit: " + s.name)
			}
			o, err := c.open(ctx, s, j)
			for i := 0; i < len(rows) && err == nil; i++ {
				var m work.Measure
				before := c.readCost(o.cmd.Process.Pid)
				if err = o.ask(rows[i].Name, &m); err == nil && m.Why == "" {
					rows[i].add(s.name, m.Value)
					key := rows[i].Name + s.name
					if all[key] == nil {
						all[key] = &costs{}
					}
					all[key].add(before, c.readCost(o.cmd.Process.Pid), m.Steal)
				} else if err == nil {
					err = errors.New(m.Why)
				}
			}
			if o != nil {
				err = o.close(err)
			}
			if err != nil && ctx.Err() == nil {
				for i := range rows {
					rows[i].fail(s.name, err.Error())
				}
			}
		}
	}
	for i := range rows {
		for j := range rows[i].Cells {
			rows[i].Cells[j].Cost = all[rows[i].Name+rows[i].Cells[j].Side].cost()
		}
	}
	c.report.Rows = append(c.report.Rows, rows...)
}
