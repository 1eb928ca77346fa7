package runner

import (
	"fmt"
	"slices"
	"strconv"
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
			limit("file-size", "SIGXFSZ", MoreBytes("limits.file_size", l.FileSizeBytes))
		}
	case OutOfMemory:
		limit("memory", "SIGKILL", MoreBytes("limits.memory", l.MemoryBytes))
	case CPUTime:
		limit("cpu-time", "SIGKILL", fmt.Sprintf("limits.cpu_time = %q  # it was %v", (2*l.CPUTime).String(), l.CPUTime))
	case Timeout:
		limit("timeout", "SIGTERM", fmt.Sprintf("limits.timeout = %q  # it was %v", (2*l.Timeout).String(), l.Timeout))
	case OutputLimit:
		limit("output-limit", "SIGKILL", MoreBytes("limits.output_limit", l.OutputBytes))
	case DiskLimit:
		limit("disk", "ENOSPC", MoreBytes("filesystem.disk", s.Root.Disk))
	}
}

// MoreBytes is the line of a profile that doubles a limit of n bytes.
func MoreBytes(key string, n int64) string {
	return fmt.Sprintf("%s = %q  # it was %s", key, inUnits(2*n), inUnits(n))
}

// inUnits is n bytes as a profile has them, in the largest unit that is exact.
func inUnits(n int64) string {
	unit := ""
	for _, u := range [...]string{"K", "M", "G"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, u
	}
	return strconv.FormatInt(n, 10) + unit
}
