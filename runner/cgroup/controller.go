package cgroup

import "strings"

// set is a set of controllers.
type set uint

const (
	memory set = 1 << iota
	cpu
	cpuacct // v1 only: on v2 every group counts its time
	cpuset
	pids
	blockio
	freezer // v1 only: on v2 every group can be frozen and killed
)

// countsOnly are the controllers that v2 needs no name for.
const countsOnly = cpuacct | freezer

func (s set) has(t set) bool { return s&t == t && t != 0 }

// A controller knows the files of one kind of limit, on both versions.
type controller struct {
	set    set
	v1, v2 string                           // its names; "": no such controller there
	wanted func(*Limits) bool               // does a limit need it; nil: never
	setV1  func(*Limits) ([]setting, error) // what to write, in order; nil: nothing
	setV2  func(*Limits) ([]setting, error) // the same on v2
	usage  func(d *dir, u *Usage)           // fill in what the group used; nil: nothing to read
}

// To add a controller: a bit above, a file of its own with its functions, and
// a row here. Groups are made in this order and removed in the reverse one.
var controllers = [...]controller{
	{memory, "memory", "memory", memoryWanted, memoryV1, memoryV2, memoryUsage},
	{cpu, "cpu", "cpu", cpuWanted, cpuV1, cpuV2, cpuUsage},
	{cpuacct, "cpuacct", "", nil, nil, nil, cpuacctUsage},
	{cpuset, "cpuset", "cpuset", cpusetWanted, cpusetV1, cpusetV2, nil},
	{pids, "pids", "pids", pidsWanted, pidsBoth, pidsBoth, pidsUsage},
	{blockio, "blkio", "io", ioWanted, ioV1, ioV2, ioUsage},
	{freezer, "freezer", "", nil, nil, nil, nil},
}

// controllers are those that l needs.
func (l *Limits) controllers() set {
	var s set
	for i := range controllers {
		if c := &controllers[i]; c.wanted != nil && c.wanted(l) {
			s |= c.set
		}
	}
	return s
}

// parseSet reads names between separators: "cpu,cpuacct" or "cpu memory".
// Unknown names are passed over.
func parseSet(text string, v2 bool) set {
	var s set
	for name := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' }) {
		for i := range controllers {
			if c := &controllers[i]; v2 && c.v2 == name || !v2 && c.v1 == name {
				s |= c.set
			}
		}
	}
	return s
}

// names writes the set with the given prefix before each name: "+cpu +memory".
func (s set) names(prefix, sep string, v2 bool) string {
	var b strings.Builder
	for i := range controllers {
		name := controllers[i].v1
		if v2 {
			name = controllers[i].v2
		}
		if !s.has(controllers[i].set) || name == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(sep)
		}
		b.WriteString(prefix + name)
	}
	return b.String()
}

// first is the name of one controller of the set, for errors.
func (s set) first() string {
	for i := range controllers {
		if s.has(controllers[i].set) {
			if controllers[i].v2 != "" {
				return controllers[i].v2
			}
			return controllers[i].v1
		}
	}
	return ""
}
