package runner

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validate checks what can be checked without looking at the machine. The
// first thing found wrong is returned as an *Error.
func (s *Spec) Validate() error {
	for _, check := range []func(*Spec) error{
		checkVersion, checkCommand, checkEnv, checkStopSignal, checkPaths, checkMounts, checkCopies, checkDevices,
		checkHostname, checkWords, checkLimits, checkCapabilities, checkSeccomp, checkLandlock,
	} {
		if err := check(s); err != nil {
			return err
		}
	}
	return nil
}

func invalid(hint, format string, args ...any) error {
	return &Error{Stage: StageResolve, Step: fmt.Sprintf(format, args...), Hint: hint}
}

func checkVersion(s *Spec) error {
	if s.Version != SpecVersion {
		return invalid("use the hutch that wrote it", "spec has version %d, expected %d", s.Version, SpecVersion)
	}
	return nil
}

func checkCommand(s *Spec) error {
	if len(s.Command) == 0 {
		return invalid("write it after the root: hutch run ROOT COMMAND", "no command was given and the image names none")
	}
	if s.Command[0] == "" {
		return invalid("write the program's name or path", "the command is an empty word")
	}
	for _, a := range s.Command {
		if strings.ContainsRune(a, 0) {
			return invalid("execve(2) cannot pass it", "argument %q holds a zero byte", a)
		}
	}
	return nil
}

func checkEnv(s *Spec) error {
	for _, e := range s.Env {
		k, _, ok := strings.Cut(e, "=")
		if !ok || k == "" || strings.ContainsRune(e, 0) {
			return invalid("write KEY=VALUE", "environment entry %q", e)
		}
	}
	return nil
}

// checkPath wants a clean absolute path, so that no ".." is left to resolve.
func checkPath(what, p string) error {
	if !path.IsAbs(p) {
		return invalid("write an absolute path inside the root, as in /work", "%s %q is not absolute", what, p)
	}
	for _, part := range strings.Split(p, "/") {
		if part == ".." {
			return invalid("write the path without ..", "%s %q leaves its parent", what, p)
		}
	}
	if strings.ContainsRune(p, 0) || len(p) > 4095 {
		return invalid("paths have no zero byte and at most 4095 bytes, path_resolution(7)", "%s %q", what, p)
	}
	return nil
}

func checkStopSignal(s *Spec) error {
	if _, ok := ParseSignal(s.StopSignal); !ok && s.StopSignal != "" {
		return invalid("write its name or number, as in SIGINT, QUIT or 3", "stop signal %q: there is no such signal", s.StopSignal)
	}
	return nil
}

func checkPaths(s *Spec) error {
	if err := checkPath("working directory", s.Workdir); err != nil {
		return err
	}
	for _, p := range append(append([]string(nil), s.Hidden...), s.Protected...) {
		if err := checkPath("path", p); err != nil {
			return err
		}
	}
	for _, p := range s.Root.Lowers {
		if err := checkPath("layer", p); err != nil {
			return err
		}
	}
	if s.Root.Kind == RootLayers && len(s.Root.Lowers) == 0 {
		return invalid("name a directory, a tar or host", "the root has no layers")
	}
	return checkUpper(s)
}

// checkUpper holds what is asked of the directory that takes the writes.
func checkUpper(s *Spec) error {
	r := s.Root
	if r.Keep == "" && !r.Diff {
		return nil
	}
	word := "keep"
	if r.Keep == "" {
		word = "diff"
	}
	switch {
	case r.Kind == RootHost:
		return invalid("give a directory, a tar or an image as ROOT", "%s needs a root of its own, and the host's is read-only", word)
	case r.ReadOnly:
		return invalid("leave one of them out", "%s and read-only exclude each other: nothing is written", word)
	case r.Keep != "":
		return checkPath("keep", r.Keep)
	}
	return nil
}

func checkCopies(s *Spec) error {
	for _, c := range s.CopyIn {
		if err := checkCopy("copy-in", c, c.Target); err != nil {
			return err
		}
	}
	for _, c := range s.CopyOut {
		if err := checkCopy("copy-out", c, c.Source); err != nil {
			return err
		}
	}
	return nil
}

func checkCopy(what string, c Copy, inside string) error {
	if c.Source == "" || c.Target == "" {
		return invalid("write SRC:DST", "%s from %q to %q", what, c.Source, c.Target)
	}
	if strings.ContainsRune(c.Source+c.Target, 0) {
		return invalid("paths have no zero byte, path_resolution(7)", "%s from %q to %q", what, c.Source, c.Target)
	}
	return checkPath(what+" path", inside)
}

func checkDevices(s *Spec) error {
	for _, d := range s.Devices {
		if !path.IsAbs(d.Source) || strings.ContainsRune(d.Source, 0) {
			return invalid("write an absolute path of the host", "source %q of a device", d.Source)
		}
		if d.Name == "" || d.Name == "." || d.Name == ".." || strings.ContainsAny(d.Name, "/\x00") || len(d.Name) > 255 {
			return invalid("write one name, as in kvm for /dev/kvm", "name %q of a device", d.Name)
		}
	}
	return nil
}

func checkMounts(s *Spec) error {
	for _, m := range s.Mounts {
		if m.Type != MountBind && m.Type != MountTmpfs {
			return invalid("it is one of: bind, tmpfs", "mount type %q", m.Type)
		}
		if m.Size < 0 {
			return invalid("leave it out for no limit", "%s size is below zero", m.Type)
		}
		what := m.Type + " target"
		if err := checkPath(what, m.Target); err != nil {
			return err
		}
		if path.Clean(m.Target) == "/" {
			return invalid("use it as ROOT instead", "%s %q would cover the root", what, m.Target)
		}
		if reserved(path.Clean(m.Target)) {
			return invalid("choose a target outside /proc and /dev", "%s %q lies in a place that the box keeps for itself", what, m.Target)
		}
		if m.Type == MountBind {
			if err := checkPath("bind source", m.Source); err != nil {
				return err
			}
		}
	}
	return nil
}

func reserved(target string) bool {
	return target == "/proc" || strings.HasPrefix(target, "/proc/") || target == "/dev" ||
		(strings.HasPrefix(target, "/dev/") && target != "/dev/shm" && !strings.HasPrefix(target, "/dev/shm/"))
}

func checkHostname(s *Spec) error {
	if len(s.Hostname) > 64 || s.Hostname == "" {
		return invalid("sethostname(2) takes 1 to 64 bytes", "hostname %q", s.Hostname)
	}
	for _, r := range s.Hostname {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._", r) {
			return invalid("use letters, digits, dots and hyphens", "hostname %q holds %q", s.Hostname, r)
		}
	}
	return nil
}

// checkWords holds the fields that take one of a few words.
func checkWords(s *Spec) error {
	wants := []string{string(Prefer), string(Require), string(Omit)}
	for _, w := range []struct {
		what, is string
		among    []string
	}{
		{"root kind", s.Root.Kind, []string{RootHost, RootLayers}},
		{"network", s.Network, []string{NetworkNone, NetworkHost}},
		{"id map", s.IDMap, []string{IDMapAuto, IDMapSingle, IDMapRange}},
		{"landlock filesystem", string(s.Landlock.Filesystem), wants},
		{"landlock scopes", string(s.Landlock.Scopes), wants},
	} {
		if !slices.Contains(w.among, w.is) {
			return invalid("it is one of: "+strings.Join(w.among, ", "), "%s %q", w.what, w.is)
		}
	}
	return nil
}

// maxFilter is BPF_MAXINSNS, the longest filter that the kernel takes.
const maxFilter = 4096

func checkSeccomp(s *Spec) error {
	switch s.Explain {
	case "":
	case ExplainRefusals, ExplainAll, LearnEnforce, LearnObserve:
		if len(s.Seccomp.Filter) == 0 {
			return invalid("give the run a profile with system calls", "explain: there is no filter whose refusals could be explained")
		}
	default:
		return invalid("it is one of refusals, all, enforce, observe", "explain: no such way: %q", s.Explain)
	}
	if n := len(s.Seccomp.Filter); n%8 != 0 || n/8 > maxFilter {
		return invalid("it is an array of struct sock_filter, at most 4096, seccomp(2)", "seccomp filter of %d bytes", n)
	}
	return nil
}

// The least that an overlay can be made in, and the least memory in which the
// start itself succeeds.
const (
	leastDisk   = 64 << 10
	leastInodes = 32
)

func checkLimits(s *Spec) error {
	l := s.Limits
	if s.Root.Disk < leastDisk {
		return invalid(fmt.Sprintf("the least that works is %dK", leastDisk>>10), "disk of %d bytes is too small", s.Root.Disk)
	}
	if s.Root.Inodes < leastInodes {
		return invalid(fmt.Sprintf("the least that works is %d", leastInodes), "%d inodes are too few", s.Root.Inodes)
	}
	for _, n := range []struct {
		what string
		n    int64
	}{
		{"memory", l.MemoryBytes},
		{"processes", l.Processes},
		{"open files", l.OpenFiles},
		{"file size", l.FileSizeBytes},
		{"output", l.OutputBytes},
		{"CPU weight", l.CPUWeight},
		{"timeout", int64(l.Timeout)},
		{"grace", int64(l.Grace)},
		{"CPU time", int64(l.CPUTime)},
		{"core size", value(l.CoreSizeBytes)},
		{"swap", value(l.SwapBytes)},
	} {
		if n.n < 0 {
			return invalid("leave it out for no limit", "%s is below zero", n.what)
		}
	}
	for _, least := range l.least(s.Init) {
		if least.is > 0 && least.is < least.want {
			return invalid("the least that works is "+least.text, "%s is too small to start with", least.what)
		}
	}
	if l.CPUWeight > 10000 {
		return invalid("it is 1 to 10000, and everybody has 100", "CPU weight %d", l.CPUWeight)
	}
	if l.CPUs < 0 || l.CPUs > 1<<16 {
		return invalid("write a number of processors, as in 1.5", "cpus %v", l.CPUs)
	}
	for _, io := range l.IO {
		if min(io.ReadBytes, io.WriteBytes, io.ReadOps, io.WriteOps) < 0 || io.ReadBytes|io.WriteBytes|io.ReadOps|io.WriteOps == 0 {
			return invalid("write a rate above 0, each second, as in 10M or /dev/vda:10M", "io limit of device %q", io.Device)
		}
	}
	return nil
}

// A leastLimit is the least of a limit with which the start itself succeeds.
type leastLimit struct {
	what     string
	is, want int64
	text     string
}

// least lists them. To add one, a line here and a script that tries it.
func (l *Limits) least(init bool) []leastLimit {
	processes := int64(1)
	if init {
		processes = 2 // the reaper is one
	}
	return []leastLimit{
		{fmt.Sprintf("memory of %d bytes", l.MemoryBytes), l.MemoryBytes, 512 << 10, "512K"},
		{fmt.Sprintf("a limit of %d processes", l.Processes), l.Processes, processes, strconv.FormatInt(processes, 10)},
		{fmt.Sprintf("a limit of %d open files", l.OpenFiles), l.OpenFiles, 8, "8"},
		{fmt.Sprintf("CPU time of %v", l.CPUTime), int64(l.CPUTime), int64(10 * time.Millisecond), "10ms"},
		{fmt.Sprintf("a CPU limit of %v", l.CPUs), int64(l.CPUs * 1000), 10, "0.01"},
	}
}

// value is *n, or 0 where there is none.
func value(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

func checkCapabilities(s *Spec) error {
	for _, c := range s.Capabilities {
		if _, ok := CapabilityNumber(c); !ok {
			return invalid("capabilities(7) lists them", "capability %q", c)
		}
	}
	return nil
}

func checkLandlock(s *Spec) error {
	for _, list := range []struct {
		key   string
		paths []string
	}{
		{"landlock.read", s.Landlock.Read},
		{"landlock.list", s.Landlock.List},
		{"landlock.write", s.Landlock.Write},
		{"landlock.execute", s.Landlock.Execute},
	} {
		for _, p := range list.paths {
			if err := checkPath(list.key, p); err != nil {
				return err
			}
		}
	}
	return nil
}
