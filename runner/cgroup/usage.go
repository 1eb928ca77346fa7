package cgroup

// Usage is what all processes that ever were in a group used together, also
// those that nobody waited for. nil: unknown, because the host lacks the
// controller, or nothing asked for it (Options.Usage).
type Usage struct {
	MemoryPeak    *int64   // bytes, page cache included
	User, System  *float64 // seconds of processor time
	ReadBytes     *int64   // from block devices
	WrittenBytes  *int64   // to block devices
	ProcessesPeak *int64   // processes and threads at one time
	// ProcessesRefused is how often a new one met the limit.
	ProcessesRefused *int64
	OOMKills         *int64  // processes killed for want of memory, by whatever limit
	Stalled          Stalled // waiting, v2 only
}

// Usage reads the counters. It is asked before Remove.
func (g *Group) Usage() (Usage, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var u Usage
	if g.closed {
		return u, &Error{Op: "read the usage of " + g.name, Reason: "the group is removed", Remedy: "read it before that"}
	}
	for i := range g.dirs {
		d := &g.dirs[i]
		for j := range controllers {
			if c := &controllers[j]; c.usage != nil && d.ctl.has(c.set) {
				c.usage(d, &u)
			}
		}
		if d.v2 && !d.ctl.has(cpu) {
			cpuUsage(d, &u) // v2 counts time without the controller
		}
		if d.v2 {
			stalledUsage(d, &u)
		}
	}
	return u, nil
}
