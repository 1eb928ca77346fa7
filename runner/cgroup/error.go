package cgroup

import "strings"

// An Error says which controller stands in the way of a limit, why, and what
// to do about it. It unwraps to the errno, if there was one.
type Error struct {
	Controller string // "memory", "cpu", "cpuset", "pids", "io", "freezer"; "" when it is none in particular
	Op         string // what was tried: "set memory.max to 4096"
	Reason     string // why it cannot be
	Remedy     string // what to delegate, and how
	Err        error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("cgroup")
	if e.Controller != "" {
		b.WriteString(" controller " + e.Controller)
	}
	if e.Op != "" {
		b.WriteString(": " + e.Op)
	}
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.Remedy != "" {
		b.WriteString(" (" + e.Remedy + ")")
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// Hint is the remedy, for those who print it apart.
func (e *Error) Hint() string { return e.Remedy }
