package main

import (
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// Package os/signal hands each signal that it is asked for to a thread of its
// own and back: for seven of them a tenth of a whole start. All that is to be
// done is to send the signal on, which a handler may do (signal-safety(7)). It
// is pass, which the kernel calls through assembly, on whatever thread, with
// whatever Go that was doing interrupted: raw system calls, and no pointer
// written.

// toBox is what pass knows.
var toBox = struct {
	pidfd   int32  // of the box's first process, or -1 before it is there
	told    int32  // where the number of a signal is written for a box that is no process here, or -1
	pending uint32 // the signals that came before either was there, bit N is signal N
	late    int32  // a signal that came when the box was gone
}{-1, -1, 0, 0}

// lastWords is what is left to say when hutch ends by a signal in the middle of
// a start: a result, around the name of the signal, to fd, or to the file temp
// and from there to name. Nothing else of hutch may run then.
var lastWords struct {
	head, tail []byte
	temp, name *byte // nil, or end in a zero
	fd         int
	there      bool
}

// signalNames are the signals that end a start, as a result has them.
var signalNames = [...]struct {
	signal int32
	quoted string
}{
	{int32(unix.SIGINT), `"SIGINT"`},
	{int32(unix.SIGTERM), `"SIGTERM"`},
	{int32(unix.SIGQUIT), `"SIGQUIT"`},
	{int32(unix.SIGHUP), `"SIGHUP"`},
	{int32(unix.SIGUSR1), `"SIGUSR1"`},
	{int32(unix.SIGUSR2), `"SIGUSR2"`},
}

//go:nosplit
//go:norace
func sayLastWords(sig int32) {
	if !lastWords.there {
		return
	}
	name := `""`
	for i := range signalNames {
		if signalNames[i].signal == sig {
			name = signalNames[i].quoted
		}
	}
	fd := uintptr(lastWords.fd)
	if lastWords.temp != nil {
		const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_CLOEXEC
		var errno syscall.Errno
		fd, _, errno = syscall.RawSyscall6(unix.SYS_OPENAT, atCwd, uintptr(unsafe.Pointer(lastWords.temp)), flags, 0o600, 0, 0)
		if errno != 0 {
			return
		}
	}
	text := [...]unix.Iovec{
		{Base: unsafe.SliceData(lastWords.head), Len: uint64(len(lastWords.head))},
		{Base: unsafe.StringData(name), Len: uint64(len(name))},
		{Base: unsafe.SliceData(lastWords.tail), Len: uint64(len(lastWords.tail))},
	}
	n, _, errno := syscall.RawSyscall6(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&text)), uintptr(len(text)), 0, 0, 0)
	whole := errno == 0 && n == uintptr(len(lastWords.head)+len(name)+len(lastWords.tail))
	if lastWords.temp == nil {
		return
	}
	syscall.RawSyscall6(unix.SYS_CLOSE, fd, 0, 0, 0, 0, 0)
	temp, final := uintptr(unsafe.Pointer(lastWords.temp)), uintptr(unsafe.Pointer(lastWords.name))
	if whole {
		_, _, errno = syscall.RawSyscall6(unix.SYS_RENAMEAT2, atCwd, temp, atCwd, final, 0, 0)
	}
	if !whole || errno != 0 {
		syscall.RawSyscall6(unix.SYS_UNLINKAT, atCwd, temp, 0, 0, 0, 0)
	}
}

const atCwd = ^uintptr(99) // AT_FDCWD, -100

// pass is the handler.
//
//lint:ignore U1000 handler calls it, in entry_*.s
//go:nosplit
//go:norace
func pass(signal uintptr) {
	if sig := int32(signal); !send(sig) && sig != int32(unix.SIGWINCH) {
		keep(sig)
	}
}

// send says whether there is a box to send sig to.
//
//go:nosplit
//go:norace
func send(sig int32) bool {
	box, told := atomic.LoadInt32(&toBox.pidfd), atomic.LoadInt32(&toBox.told)
	switch {
	case box >= 0:
		if _, _, errno := syscall.RawSyscall6(unix.SYS_PIDFD_SEND_SIGNAL, uintptr(box), uintptr(sig), 0, 0, 0, 0); errno != 0 {
			atomic.StoreInt32(&toBox.late, sig)
		}
	case told >= 0:
		b := byte(sig)
		syscall.RawSyscall6(unix.SYS_WRITE, uintptr(told), uintptr(unsafe.Pointer(&b)), 1, 0, 0, 0)
	default:
		return false
	}
	return true
}

// keep has sig wait for the box. That may have come since pass looked for it,
// and forward have sent on what waited: so who has added to that looks again.
//
//go:nosplit
//go:norace
func keep(sig int32) {
	before := atomic.OrUint32(&toBox.pending, 1<<sig)
	if atomic.LoadInt32(&toBox.pidfd) >= 0 || atomic.LoadInt32(&toBox.told) >= 0 {
		sendPending()
		return
	}
	if before != 0 {
		// Asked twice while the box is still being made: a start that hangs, on
		// a dead file server say, can be ended. The box dies with hutch.
		sayLastWords(sig)
		dieOf(sig)
	}
}

// sendPending sends on what waits for the box, each signal once, whoever else
// does the same.
//
//go:nosplit
//go:norace
func sendPending() {
	waiting := atomic.SwapUint32(&toBox.pending, 0)
	for sig := int32(1); waiting != 0; sig++ {
		if waiting&(1<<sig) != 0 {
			waiting &^= 1 << sig
			send(sig)
		}
	}
}

// dieOf ends hutch by sig. The first process of a PID namespace, as hutch is in
// many a container, does not get signals that it has no handler for,
// pid_namespaces(7): what it ends with then is what a shell would say.
//
//go:nosplit
//go:norace
func dieOf(sig int32) {
	var usual sigaction
	syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&usual)), 0, 8, 0, 0)
	tid, _, _ := syscall.RawSyscall6(unix.SYS_GETTID, 0, 0, 0, 0, 0, 0)
	syscall.RawSyscall6(unix.SYS_TGKILL, rawPid(), tid, uintptr(sig), 0, 0, 0)
	this := uint64(1) << (sig - 1)
	const unblock = 1
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unblock, uintptr(unsafe.Pointer(&this)), 0, 8, 0, 0)
	syscall.RawSyscall6(unix.SYS_EXIT_GROUP, 128+uintptr(sig), 0, 0, 0, 0, 0)
}

// sigaction is struct sigaction of rt_sigaction(2), the kernel's.
type sigaction struct {
	handler, flags, restorer, mask uintptr
}

// usualAction has sig do what it usually does, and returns what it did.
func usualAction(sig syscall.Signal) (old sigaction) {
	var usual sigaction
	syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&usual)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	return old
}

// setAction undoes usualAction.
func setAction(sig syscall.Signal, action sigaction) {
	syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
}

// handlerAddress is what the kernel is to call, and what that returns to.
func handlerAddress() (handler, restorer uintptr)

// listen keeps the signals that an application may be sent by signalling
// hutch, from before the box is there. What was ignored stays so, see
// ignoreAgain: nohup(1) ignores SIGHUP for us. The stack and the restart are what the Go runtime asks
// of every handler that is not its own (package os/signal, "Go programs that
// use cgo").
func listen(terminal bool) {
	list := []syscall.Signal{
		unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH,
	}
	if terminal {
		list = list[:len(list)-1] // that one is then for the terminal of the box
	}
	// The runtime catches SIGCHLD for nobody: an end need not wait for that.
	usualAction(unix.SIGCHLD)
	const onStack, restart, withRestorer = 0x08000000, 0x10000000, 0x04000000
	now := sigaction{flags: onStack | restart}
	now.handler, now.restorer = handlerAddress()
	if now.restorer != 0 {
		now.flags |= withRestorer
	}
	for _, sig := range list {
		var old sigaction
		const ignore = 1
		_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&old)), 8, 0, 0)
		if errno == 0 && old.handler != ignore {
			syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&now)), 0, 8, 0, 0)
		}
	}
}

// leaveWords hands over the result to be written when a second signal ends a
// start, in two parts around the name of the signal.
func leaveWords(fd int, temp, name, head, tail string) {
	lastWords.fd = fd
	if temp != "" {
		lastWords.temp, lastWords.name = unsafe.SliceData([]byte(temp+"\x00")), unsafe.SliceData([]byte(name+"\x00"))
	}
	lastWords.head, lastWords.tail = []byte(head), []byte(tail)
	lastWords.there = true
}

// forward passes them on to box until hutch exits, also those that came
// before it was there.
func forward(box *runner.Sandbox) {
	if p, ok := box.Process.(interface{ Pidfd() int }); ok {
		atomic.StoreInt32(&toBox.pidfd, int32(p.Pidfd()))
		sendPending()
		return
	}
	r, w, err := os.Pipe()
	if err != nil {
		return
	}
	atomic.StoreInt32(&toBox.told, int32(w.Fd()))
	sendPending()
	go func() {
		for b := make([]byte, 1); ; {
			if n, err := r.Read(b); n == 0 || err != nil {
				w.Close() // not before: garbage would be closed
				return
			}
			box.Signal(syscall.Signal(b[0]))
		}
	}()
}
