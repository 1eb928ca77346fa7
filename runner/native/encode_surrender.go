package native

import (
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/runner/plan"
)

// surrender encodes the steps that give privilege up.
func (e *encoder) surrender(s *plan.Step) {
	switch s.Kind {
	case plan.JoinLimits:
		e.joinGroups()
	case plan.Undumpable:
		e.call(unix.SYS_PRCTL, val(unix.PR_SET_DUMPABLE), val(0))
	case plan.AwaitReaper:
		e.call(unix.SYS_FUTEX, val(address(e.running)), val(0), val(1), val(0)).or(unix.EAGAIN)
		// The kernel wakes one, and hutch waits for the same.
		e.call(unix.SYS_FUTEX, val(address(e.running)), val(1), val(1))
	case plan.Rlimit:
		limit := e.mem.words(uint64(s.Size), uint64(max(s.Size, s.Hard)))
		e.call(unix.SYS_PRLIMIT64, val(0), val(s.Bits), val(at(limit)), val(0))
	case plan.DropBounding:
		for c := range 64 {
			if s.Bits&(1<<c) != 0 {
				e.call(unix.SYS_PRCTL, val(unix.PR_CAPBSET_DROP), val(c))
			}
		}
	case plan.SetGroups:
		e.call(unix.SYS_SETGROUPS, val(len(s.Groups)), val(at(e.mem.ints(s.Groups...))))
	case plan.SetIDs:
		e.setIDs(s)
	case plan.SetCaps:
		e.setCaps(s.Bits)
	case plan.Workdir:
		e.open(s.Target, unix.O_DIRECTORY, resolveIn).to(e, "target")
		e.call(unix.SYS_FCHDIR, e.slot("target"))
	case plan.Stdio:
		if s.Name != "" {
			e.stdioOf(e.slot(s.Name))
		} else {
			e.stdio()
		}
	case plan.NoNewPrivs:
		e.call(unix.SYS_PRCTL, val(unix.PR_SET_NO_NEW_PRIVS), val(1), val(0), val(0), val(0))
	case plan.LandlockCreate:
		// Older kernels take the longer struct while what they lack is zero.
		attr := e.mem.words(s.Bits, 0, s.Scopes)
		e.call(unix.SYS_LANDLOCK_CREATE_RULESET, val(at(attr)), val(24), val(0)).to(e, "ruleset")
	case plan.LandlockAllow:
		// struct landlock_path_beneath_attr: rights, then the descriptor.
		rule := e.mem.words(s.Bits, 0)
		e.open(s.Target, 0, resolveIn).store = int32At(rule, 8)
		e.call(unix.SYS_LANDLOCK_ADD_RULE, e.slot("ruleset"), val(unix.LANDLOCK_RULE_PATH_BENEATH), val(at(rule)), val(0))
	case plan.NarrowCreate:
		attr := e.mem.words(s.Bits, s.Ports)
		e.call(unix.SYS_LANDLOCK_CREATE_RULESET, val(at(attr)), val(16), val(0)).to(e, "ruleset")
	case plan.NarrowPath:
		e.narrowPath(s)
	case plan.NarrowPort:
		// struct landlock_net_port_attr: rights, then the port.
		rule := e.mem.words(s.Bits, uint64(s.Port))
		e.call(unix.SYS_LANDLOCK_ADD_RULE, e.slot("ruleset"), val(landlockPort), val(at(rule)), val(0))
	case plan.LandlockSelf, plan.NarrowSelf:
		e.call(unix.SYS_LANDLOCK_RESTRICT_SELF, e.slot("ruleset"), val(0))
	case plan.CloseFiles:
		if s.Name == "listener" {
			e.keepListenerSocket()
			return
		}
		e.call(unix.SYS_CLOSE_RANGE, val(3), val(^uint32(0)), val(0))
	case plan.ResetSignals:
		// What the caller ignores (nohup, a shell's background job) the
		// application does not; the kernel refuses two of them, and keeps them so.
		action := val(at(e.mem.words(0, 0, 0, 0)))
		for sig := 1; sig <= 64; sig++ {
			e.call(unix.SYS_RT_SIGACTION, val(sig), action, val(0), val(8)).or(unix.EINVAL)
		}
		e.call(unix.SYS_RT_SIGPROCMASK, val(sigSetmask), val(at(e.mem.words(0))), val(0), val(8))
	case plan.InstallSeccomp:
		if s.Name == "listener" {
			e.installListener()
			return
		}
		fprog := e.mem.words(0, uint64(e.mem.bytes(s.Bytes)))
		binary.NativeEndian.PutUint16(fprog, uint16(len(s.Bytes)/8))
		e.call(unix.SYS_SECCOMP, val(unix.SECCOMP_SET_MODE_FILTER), val(0), val(at(fprog)))
	case plan.Execute:
		e.execute(s)
	case plan.ReaperFiles:
		e.call(unix.SYS_FCNTL, val(e.files.status), val(unix.F_DUPFD_CLOEXEC), val(3)).to(e, "status")
		last := 0
		if s.Name != "" && e.files.lock > 0 {
			last = 1
			e.call(unix.SYS_FCNTL, val(e.files.lock), val(unix.F_DUPFD_CLOEXEC), val(3)).to(e, "lock")
			e.call(unix.SYS_DUP3, e.slot("lock"), val(1), val(0))
		}
		e.call(unix.SYS_DUP3, e.slot("status"), val(0), val(0))
		e.call(unix.SYS_CLOSE_RANGE, val(last+1), val(^uint32(0)), val(unix.CLOSE_RANGE_CLOEXEC))
	case plan.BecomeReaper:
		e.call(unix.SYS_EXECVEAT, val(e.files.reaper), e.str(""), val(e.mem.vector(append([]string{"hutch-init"}, s.Words...))), val(e.mem.vector(nil)), val(unix.AT_EMPTY_PATH))
	default:
		panic("native: no encoding for " + string(s.Kind)) // a test encodes every kind
	}
}

// setCaps fills permitted and effective and empties inheritable, and with it
// the ambient set, capabilities(7).
func (e *encoder) setCaps(bits uint64) {
	header := e.mem.ints(unix.LINUX_CAPABILITY_VERSION_3, 0)
	lo, hi := uint32(bits), uint32(bits>>32)
	data := e.mem.ints(lo, lo, 0, hi, hi, 0)
	e.call(unix.SYS_CAPSET, val(at(header)), val(at(data)))
}

// stdio goes through high numbers first, so that no stream overwrites another
// that has yet to be moved.
func (e *encoder) stdio() {
	for i, name := range [...]string{"stdin", "stdout", "stderr"} {
		e.call(unix.SYS_FCNTL, val(e.files.stdio[i]), val(unix.F_DUPFD_CLOEXEC), val(3)).to(e, name)
	}
	for i, name := range [...]string{"stdin", "stdout", "stderr"} {
		e.call(unix.SYS_DUP3, e.slot(name), val(i), val(0))
	}
}

// execute tries each directory of PATH, as execvp(3) does. Why the last one
// failed is found out afterwards, in hutch.
func (e *encoder) execute(s *plan.Step) {
	argv, envp := e.mem.vector(s.Words), e.mem.vector(s.Env)
	candidates := []string{s.Source}
	if s.Source == "" {
		candidates = Candidates(s.Words[0], s.Env)
	}
	for i, c := range candidates {
		o := e.call(unix.SYS_EXECVE, e.str(c), val(argv), val(envp))
		if i < len(candidates)-1 {
			o.or(unix.ENOENT, unix.EACCES, unix.ENOTDIR)
		}
	}
}

// Candidates are the paths at which a command may be found.
func Candidates(command string, env []string) []string {
	if strings.Contains(command, "/") {
		return []string{command}
	}
	var out []string
	for _, v := range env {
		list, ok := strings.CutPrefix(v, "PATH=")
		if !ok {
			continue
		}
		for dir := range strings.SplitSeq(list, ":") {
			if dir == "" {
				dir = "."
			}
			out = append(out, strings.TrimSuffix(dir, "/")+"/"+command)
		}
	}
	if len(out) == 0 {
		out = []string{"/" + command}
	}
	return out
}
