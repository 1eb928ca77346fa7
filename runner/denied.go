package runner

import (
	"fmt"
	"slices"
)

// explainEnd adds to the refusals of a run that is explained what ended it: the
// filter by killing, or a limit. Both are told by the kernel's record of the
// end, not by what the application says.
func explainEnd(r *Result, s *Spec) {
	if s.Explain == "" {
		return
	}
	at := 0.0
	if r.Usage.WallSeconds != nil {
		at = *r.Usage.WallSeconds
	}
	limit := func(name, errno, line string) {
		r.Denied = append(r.Denied, Denial{What: "limit", Name: name, Count: 1, FirstSeconds: at, Errno: errno, Hint: line})
	}
	switch l := s.Limits; r.Cause {
	case SeccompKilled:
		r.Denied = append(r.Denied, Denial{
			What: "kill", Name: "a call that the filter kills for", Count: 1, FirstSeconds: at, Errno: "SIGSYS",
			Hint:    `seccomp.architectures = ["x86"]  # for a program of 32 bits; else look for action = "kill"`,
			Warning: "the calls of another architecture pass by what the profile says of arguments in memory",
		})
	case Signaled:
		// Who ignores the signal sees EFBIG, and ExplainAll has told of it.
		if known := func(d Denial) bool { return d.Name == "file-size" }; r.Signal == "SIGXFSZ" && l.FileSizeBytes > 0 && !slices.ContainsFunc(r.Denied, known) {
			limit("file-size", "SIGXFSZ", fmt.Sprintf("limits.file_size = \"%d\"  # it was %d", 2*l.FileSizeBytes, l.FileSizeBytes))
		}
	case OutOfMemory:
		limit("memory", "SIGKILL", fmt.Sprintf("limits.memory = \"%d\"  # it was %d", 2*l.MemoryBytes, l.MemoryBytes))
	case CPUTime:
		limit("cpu-time", "SIGKILL", fmt.Sprintf("limits.cpu_time = %q  # it was %v", (2*l.CPUTime).String(), l.CPUTime))
	case Timeout:
		limit("timeout", "SIGTERM", fmt.Sprintf("limits.timeout = %q  # it was %v", (2*l.Timeout).String(), l.Timeout))
	case OutputLimit:
		limit("output-limit", "SIGKILL", fmt.Sprintf("limits.output_limit = \"%d\"  # it was %d", 2*l.OutputBytes, l.OutputBytes))
	case DiskLimit:
		limit("disk", "ENOSPC", fmt.Sprintf("filesystem.disk = \"%d\"  # it was %d", 2*s.Root.Disk, s.Root.Disk))
	}
}
