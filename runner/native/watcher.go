package native

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/host"
	"hutch/runner/plan"
	"hutch/seccomp"
)

// A watcher answers for a filter that listens. It answers what the filter
// itself says of the call's numbers, which the kernel hands over by value; what
// it reads of the application's memory is for people and decides nothing, for
// the application can change it meanwhile.
//
// Should it end before the box, the kernel answers ENOSYS to what waits: the
// application never hangs.
type watcher struct {
	spec   *runner.Spec
	layers []layer // of Landlock
	filter seccomp.Interpreter
	socket int
	began  time.Time
	wakes  bool // receiving ends by itself when nobody has the filter any more
	done   chan struct{}

	denials []*runner.Denial
	index   map[string]*runner.Denial
	learner *learner // of a learning run
	lookups int      // of symbols
	text    int      // bytes in denials and their keys

	// Of a run of which everything is explained: the root of the box, what hides
	// something in it, by the number of the mount, and the abstract sockets that
	// are of the box.
	root          int
	rootID        fileID
	rootMount     uint64
	masks         map[uint64]string
	bound         map[string]struct{}
	unsure        bool // of those sockets: too many, or with odd names
	blind         bool // of what a rule of Landlock's allows
	readsNarrowed bool // not every file may be read
}

// mostDenials is how many different refusals are told apart: what an
// application does must not fill hutch's memory.
const (
	mostDenials = 1000
	mostLookups = 64
	mostText    = 4 << 20 // bytes of what is said of them
)

func newWatcher(s *runner.Spec, steps *plan.Plan, socket int) *watcher {
	w := &watcher{
		spec: s, layers: layersOf(steps), bound: map[string]struct{}{}, filter: seccomp.NewInterpreter(s.Seccomp.Filter), socket: socket, began: time.Now(), wakes: receivingEnds(), done: make(chan struct{}),
		index: map[string]*runner.Denial{}, learner: newLearner(s),
	}
	w.readsNarrowed = slices.ContainsFunc(w.layers, func(l layer) bool {
		return l.narrow && l.handled&(unix.LANDLOCK_ACCESS_FS_READ_FILE|unix.LANDLOCK_ACCESS_FS_READ_DIR) != 0
	})
	go w.run()
	return w
}

// receivingEnds says whether SECCOMP_IOCTL_NOTIF_RECV returns when the last
// process with the filter is gone: since Linux 6.11. Before, it sleeps for ever,
// and each call must be polled for.
func receivingEnds() bool {
	major, minor := host.KernelVersion()
	return major > 6 || major == 6 && minor >= 11
}

// run waits for the listener and then answers until nobody is left who has the
// filter.
func (w *watcher) run() {
	defer close(w.done)
	defer w.unsettle()
	var text [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, err := 0, 0, error(nil)
	for {
		if n, oobn, _, _, err = unix.Recvmsg(w.socket, text[:], oob, unix.MSG_CMSG_CLOEXEC); err != unix.EINTR {
			break
		}
	}
	unix.Close(w.socket)
	if err != nil || n == 0 {
		return // the application did not start
	}
	fd := received(oob[:oobn])
	if fd < 0 {
		return
	}
	defer unix.Close(fd)
	// Since Linux 6.6: the two never run at once, so they may share a processor.
	syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), ioctlSetFlags, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	for w.next(fd) {
	}
}

// ioctlSetFlags is SECCOMP_IOCTL_NOTIF_SET_FLAGS.
const ioctlSetFlags = 0x40082104

// next answers one call, and says whether more may come.
func (w *watcher) next(fd int) bool {
	if !w.wakes && polled(fd, -1)&unix.POLLIN == 0 { // all who had the filter are gone
		return false
	}
	var n notification
	switch n.receive(fd) {
	case 0:
	case unix.EINTR:
		return true
	case unix.ENOENT: // the caller was killed meanwhile, or it was the last
		return !w.wakes || polled(fd, 0)&unix.POLLHUP == 0
	default:
		return false
	}
	w.answer(fd, &n)
	return true
}

// polled is what poll(2) says of the listener within a time, -1 for any.
func polled(fd, milliseconds int) int16 {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(poll, milliseconds); err != unix.EINTR {
			return poll[0].Revents
		}
	}
}

// answer records the call and gives it the filter's own answer.
func (w *watcher) answer(fd int, n *notification) {
	d := seccomp.Data{Nr: n.nr, Arch: seccomp.Arch(n.arch), IP: n.ip, Args: n.args}
	action := w.filter.Run(&d)
	r := response{id: n.id}
	var used learned
	if learns(w.spec.Explain) && action.Errno() != unix.ENOSYS {
		used = w.learner.call(n) // what is refused too: the profile is to allow it
	}
	switch errno := action.Errno(); {
	case action.Kind() == seccomp.ActionAllow || action.Kind() == seccomp.ActionLog:
		if w.spec.Explain == runner.ExplainAll {
			w.foresee(fd, n)
		}
		r.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
	case action.Kind() == seccomp.ActionErrno && w.observed(n, errno):
		w.deny(fd, n, errno)
		r.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
	case action.Kind() == seccomp.ActionErrno && errno == 0:
		w.deny(fd, n, errno) // answered as if it had been done
	case action.Kind() == seccomp.ActionErrno:
		w.deny(fd, n, errno)
		r.err = -int32(errno)
	default:
		w.deny(fd, n, unix.ENOSYS) // what the kernel answers without a listener
		r.err = -int32(unix.ENOSYS)
	}
	// What the kernel takes an answer for was still waiting: what was read of that
	// process was the caller's.
	if r.send(fd) == 0 {
		w.learner.keep(used)
	}
}

func learns(explain string) bool {
	return explain == runner.LearnObserve || explain == runner.LearnEnforce
}

// observed says whether a refused call is allowed because this is a run that
// observes. ENOSYS stays: libraries are led to another way by it, which is the
// one to learn. So do the ioctls of a terminal that is not the box's own.
func (w *watcher) observed(n *notification, errno syscall.Errno) bool {
	name := seccomp.Name(seccomp.Arch(n.arch), int(n.nr))
	return w.spec.Explain == runner.LearnObserve && errno != unix.ENOSYS && name != "" && name != "ioctl"
}

// deny counts a refusal of the filter's.
func (w *watcher) deny(fd int, n *notification, errno syscall.Errno) {
	name := seccomp.Name(seccomp.Arch(n.arch), int(n.nr))
	if name == "" {
		name = seccomp.Arch(n.arch).String() + " call " + strconv.Itoa(int(n.nr))
	}
	rule := seccomp.Allowance(name, n.args)
	w.record(fd, n, runner.Denial{
		What: "syscall", Name: name, Args: seccomp.Explain(name, n.args, memory(n.pid)), Errno: unix.ErrnoName(errno),
		Hint: rule.Line(), Warning: rule.Danger(), Number: n.args,
	})
}

// denyRefusal counts what is not the filter's to refuse.
func (w *watcher) denyRefusal(fd int, n *notification, name string, r *refusal) {
	w.record(fd, n, runner.Denial{
		What: r.what, Name: r.name, Args: []string{name}, Errno: unix.ErrnoName(r.errno), Hint: r.hint, Warning: r.warning, Number: n.args,
	})
}

// record counts a refusal, and the first time completes what was said of it.
func (w *watcher) record(fd int, n *notification, d runner.Denial) {
	program, _ := os.Readlink(proc(n.pid, "exe"))
	if !n.valid(fd) {
		if d.What != "syscall" {
			return
		}
		d.Args, program = nil, "" // they were read of another process
	}
	key := strings.Join(append([]string{d.What, d.Name, program, d.Errno}, d.Args...), "\x00")
	if same := w.index[key]; same != nil {
		same.Count++
		return
	}
	if len(w.denials) >= mostDenials || w.text >= mostText {
		if d.What != "syscall" { // of files and addresses there is no end of names
			return
		}
		if same := w.index[d.Name]; same != nil {
			same.Count++
			return
		}
		if len(w.denials) >= 2*mostDenials {
			return
		}
		key, d.Args = d.Name, nil
	}
	w.text += len(key) + len(d.Name) + len(d.Hint) + len(strings.Join(d.Args, ""))
	d.Count, d.FirstSeconds, d.Program = 1, time.Since(w.began).Seconds(), program
	if w.lookups++; w.lookups <= mostLookups {
		d.Caller = caller(n)
	}
	w.index[key] = &d
	w.denials = append(w.denials, &d)
}

// tell writes what was recorded into the result. A nil watcher saw nothing.
func (w *watcher) tell(r *runner.Result) {
	if w == nil {
		return
	}
	<-w.done // every process of the box is gone, and with the last one the filter
	r.Denied = []runner.Denial{}
	for _, d := range w.denials {
		r.Denied = append(r.Denied, *d)
	}
	for u := range w.learner.uses {
		r.Used = append(r.Used, u)
	}
	w.learner.close()
}

func proc(pid uint32, name string) string {
	return "/proc/" + strconv.FormatUint(uint64(pid), 10) + "/" + name
}

// memory reads a process's memory a page at a time, so that what can be read
// before one that cannot is.
func memory(pid uint32) seccomp.Memory {
	return func(address uint64, n int) []byte {
		const page = 4096
		var out []byte
		for n > 0 && address != 0 {
			part := min(n, page-int(address%page))
			buf := make([]byte, part)
			local := []unix.Iovec{{Base: &buf[0]}}
			local[0].SetLen(part)
			got, err := unix.ProcessVMReadv(int(pid), local, []unix.RemoteIovec{{Base: uintptr(address), Len: part}}, 0)
			if err == unix.ENOSYS { // a kernel without CONFIG_CROSS_MEMORY_ATTACH
				got, err = readMemory(pid, address, buf)
			}
			if err != nil || got <= 0 {
				break
			}
			out = append(out, buf[:got]...)
			address, n = address+uint64(got), n-got
		}
		return out
	}
}

// readMemory reads by proc_pid_mem(5), with the same rights.
func readMemory(pid uint32, address uint64, buf []byte) (int, error) {
	fd, err := unix.Open(proc(pid, "mem"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return unix.Pread(fd, buf, int64(address))
}
