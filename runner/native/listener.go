package native

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/plan"
	"hutch/seccomp"
)

// A filter that listens holds up each call that it refuses until hutch has
// answered, seccomp_unotify(2). The listener exists only once the filter is on,
// and the filter may allow nothing that could send it. So it lets one call of
// sendmsg pass, by a secret in arguments that the kernel does not use.

// A listeningFilter is a filter and its secret.
type listeningFilter struct {
	filter seccomp.Filter
	token  seccomp.Token
	flags  uint64
}

// watched are the calls that a learning run records although they are allowed.
// To add one: its name here, and its case in learner.call or pathCallOf.
var watched = [...]string{
	"open", "openat", "openat2", "creat", "truncate", "execve", "execveat", "connect", "bind",
	"mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat", "link", "linkat",
	"unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2",
}

// watchedBy are the calls that wait although they are allowed.
func watchedBy(s *runner.Spec) []string {
	switch s.Explain {
	case runner.ExplainRefusals:
		return nil
	case runner.ExplainAll:
		if s.Limits.FileSizeBytes > 0 {
			return slices.Concat(foreseeable[:], growing[:])
		}
		return foreseeable[:]
	}
	return watched[:]
}

// newListeningFilter makes the filter for a run that is explained.
func newListeningFilter(s *runner.Spec) (*listeningFilter, error) {
	l := &listeningFilter{flags: unix.SECCOMP_FILTER_FLAG_NEW_LISTENER}
	var random [16]byte
	if _, err := unix.Getrandom(random[:], 0); err != nil {
		return nil, err
	}
	for i := range l.token {
		l.token[i] = binary.NativeEndian.Uint32(random[4*i:])
	}
	var watch []int
	for _, name := range watchedBy(s) {
		if nr, ok := seccomp.Number(seccomp.Native(), name); ok {
			watch = append(watch, nr)
		}
	}
	// Without a filter the kernel only says whether it knows the flag: since
	// Linux 5.19 a signal does not have a call counted twice.
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, 0); errno == unix.EFAULT {
		l.flags |= unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	}
	var err error
	l.filter, err = seccomp.Filter(s.Seccomp.Filter).Listen(l.token, watch)
	return l, err
}

// listen prepares a run that is explained: the filter, the socket through which
// its listener comes, and who waits for it.
func (b *box) listen(f *files) error {
	if b.spec.Explain == "" {
		return nil
	}
	fail := func(err error) error {
		return &runner.Error{Stage: runner.StageStart, Step: "explain refusals", Err: err, Hint: "leave --explain out"}
	}
	var err error
	if f.listen, err = newListeningFilter(b.spec); err != nil {
		return fail(err)
	}
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	f.listener = b.keep(p[1])
	b.watch = newWatcher(b.spec, b.plan, p[0])
	return nil
}

// listenerSocket is the descriptor of that socket when all others are closed.
const listenerSocket = 3

// keepListenerSocket closes all but the streams and that socket, which execve
// closes.
func (e *encoder) keepListenerSocket() {
	// EINVAL: it has that number already.
	e.call(unix.SYS_DUP3, val(e.files.listener), val(listenerSocket), val(unix.O_CLOEXEC)).or(unix.EINVAL)
	e.call(unix.SYS_CLOSE_RANGE, val(listenerSocket+1), val(^uint32(0)), val(0))
}

// installListener installs the filter and sends its listener, which execve
// closes here. Everything that the filter refuses from now on waits for hutch.
func (e *encoder) installListener() {
	const cmsgLen, cmsgSpace = 20, 24 // of one int
	l := e.files.listen
	fprog := e.mem.words(0, uint64(e.mem.bytes(l.filter)))
	binary.NativeEndian.PutUint16(fprog, uint16(l.filter.Len()))
	control := e.mem.words(cmsgLen, unix.SOL_SOCKET|unix.SCM_RIGHTS<<32, 0)
	iov := e.mem.words(uint64(e.mem.bytes([]byte{0})), 1)
	msg := e.mem.words(0, 0, uint64(at(iov)), 1, uint64(at(control)), cmsgSpace, 0)
	e.call(unix.SYS_SECCOMP, val(unix.SECCOMP_SET_MODE_FILTER), val(l.flags), val(at(fprog))).store = int32At(control, 16)
	e.call(unix.SYS_SENDMSG, val(listenerSocket), val(at(msg)), val(0),
		val(uint64(l.token[0])|uint64(l.token[1])<<32), val(uint64(l.token[2])|uint64(l.token[3])<<32))
}

// listenerRoom is what the arena needs for it beside the filter.
func listenerRoom(s *plan.Step) int {
	if s.Name == "listener" && s.Kind == plan.InstallSeccomp {
		return 4096
	}
	return 0
}
