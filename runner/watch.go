package runner

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A CPUClock is a Process that knows the processor time of all the processes
// that ever were in its box. Known is false where nothing counts it.
type CPUClock interface {
	CPUTime() (used time.Duration, known bool)
}

// end notes the limit that ends the run. The first one counts.
func (s *Sandbox) end(c Cause) {
	if s.ended != "" {
		return
	}
	l := s.Spec.Limits
	s.ended = c
	switch c {
	case Timeout:
		s.why = fmt.Sprintf("the run was stopped after its timeout of %v", l.Timeout)
	case CPUTime:
		s.why = fmt.Sprintf("the run was stopped when it had used its processor time of %v", l.CPUTime)
	case OutputLimit:
		s.why = fmt.Sprintf("the run was stopped when it had written more than %d bytes of output; the rest was dropped", l.OutputBytes)
	}
}

// watch ends the run when a limit that no kernel holds is reached: wall time by
// SIGTERM and, after the grace period, the end of the whole box; processor time
// and output by that end at once.
func (s *Sandbox) watch() {
	s.stop = make(chan struct{})
	l := s.Spec.Limits
	clock, _ := s.Process.(CPUClock)
	if l.CPUTime == 0 {
		clock = nil
	}
	if s.ctx.Done() == nil && l.Timeout == 0 && s.output == nil && clock == nil {
		return
	}
	s.watched.Go(func() { s.watchLimits(clock) })
}

func (s *Sandbox) watchLimits(clock CPUClock) {
	var timeout, grace, tick <-chan time.Time
	var over <-chan struct{}
	if l := s.Spec.Limits.Timeout; l > 0 {
		timeout = time.After(l)
	}
	if s.output != nil {
		over = s.output.Over()
	}
	tick = s.tick(clock)
	for {
		select {
		case <-s.stop:
			return
		case <-timeout:
			s.end(Timeout)
			s.Process.Signal(s.stopSignal())
			timeout, grace = nil, time.After(s.Spec.Limits.Grace)
			continue
		case <-tick:
			if tick = s.tick(clock); tick != nil || s.ended != CPUTime {
				continue
			}
		case <-over:
			s.end(OutputLimit)
		case <-grace:
		case <-s.ctx.Done():
		}
		s.Process.Kill()
		return
	}
}

// leastTick bounds how often the clock is read, and with it how far a run goes
// beyond its limit: by that much on each processor.
const leastTick = 5 * time.Millisecond

// tick says when to look at the clock again: not before the limit could be
// reached with every processor at work. It is nil where there is no clock, and
// when the limit is reached.
func (s *Sandbox) tick(clock CPUClock) <-chan time.Time {
	if clock == nil {
		return nil
	}
	used, known := clock.CPUTime()
	if !known {
		return nil
	}
	left := s.Spec.Limits.CPUTime - used
	if left <= 0 {
		s.end(CPUTime)
		return nil
	}
	return time.After(max(left/time.Duration(processors()), leastTick))
}

// processors is how many this machine may have at work for a box. Neither the
// caller's mask bounds that nor what the Go runtime was started with.
func processors() int {
	const unknown = 64
	list, err := os.ReadFile("/sys/devices/system/cpu/online") // "0-3,8"
	if err != nil {
		return unknown
	}
	text := strings.TrimSpace(string(list))
	last, err := strconv.Atoi(text[strings.LastIndexAny(text, "-,")+1:])
	if err != nil {
		return unknown
	}
	return last + 1
}

// stopSignal is SIGTERM when the Spec says nothing; Validate has seen the rest.
func (s *Sandbox) stopSignal() os.Signal {
	if sig, ok := ParseSignal(s.Spec.StopSignal); ok {
		return sig
	}
	return syscall.SIGTERM
}
