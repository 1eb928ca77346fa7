package native

import (
	"encoding/binary"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/plan"
)

// terminal encodes the steps about the box's own terminal, ioctl_tty(2).
func (e *encoder) terminal(s *plan.Step) {
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
	switch s.Kind {
	case plan.OpenTerminal:
		e.call(unix.SYS_OPENAT, e.slot(s.Name), e.str("ptmx"), val(flags), val(0)).to(e, "master")
		e.call(unix.SYS_IOCTL, e.slot("master"), val(unix.TIOCSPTLCK), val(at(e.mem.ints(0))))
		e.call(unix.SYS_IOCTL, e.slot("master"), val(unix.TIOCGPTPEER), val(flags)).to(e, "terminal")
		e.call(unix.SYS_FCHOWN, e.slot("terminal"), val(s.UID), val(s.GID))
		e.call(unix.SYS_IOCTL, e.slot("terminal"), val(unix.TIOCSWINSZ), val(at(e.mem.bytes16(s.Words))))
	case plan.HandTerminal:
		e.send("master")
	case plan.OwnTerminal:
		e.call(unix.SYS_IOCTL, e.slot("terminal"), val(unix.TIOCSCTTY), val(0))
	case plan.OwnGroup:
		// Every signal is blocked, so also SIGTTOU, which this would bring.
		e.call(unix.SYS_SETPGID, val(0), val(0))
		e.call(unix.SYS_IOCTL, e.slot("terminal"), val(unix.TIOCSPGRP), val(at(e.mem.ints(application))))
	}
}

// application is the id of the application inside: the first process that
// process 1 starts.
const application = 2

// bytes16 is an array of four 16-bit numbers of which the words are the first,
// struct winsize.
func (a *arena) bytes16(words []string) []byte {
	b := a.room(8)
	for i, w := range words {
		n, _ := strconv.Atoi(w) // written by the plan
		binary.NativeEndian.PutUint16(b[2*i:], uint16(n))
	}
	return b
}

// stdioOf makes one descriptor all three standard streams.
func (e *encoder) stdioOf(fd arg) {
	for i := range 3 {
		e.call(unix.SYS_DUP3, fd, val(i), val(0))
	}
}

// A terminal is hutch's side of the box's own.
type terminal struct {
	master *os.File
	taken  bool // by who closes it
	// stopped is told when the application has stopped: it waits for SIGCONT.
	stopped chan struct{}
	// ended is closed when nobody of the box can say any more.
	ended chan struct{}
	// scratch and last are what scratchIsFull and Wait would read themselves.
	scratch int
	last    []byte
}

// MakesTerminal says that a Process of this engine has a Terminal where the
// Spec asks for one.
func (*Engine) MakesTerminal() {}

// openTerminal takes the master that the box has sent, and listens to what
// else it says.
func (b *box) openTerminal() error {
	fd := receive(b.status)
	if fd < 0 {
		return &runner.Error{Stage: runner.StageStart, Step: "take the box's terminal", Err: unix.EBADMSG}
	}
	// Non-blocking, so that Go waits for it and a close ends the wait.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return &runner.Error{Stage: runner.StageStart, Step: "take the box's terminal", Err: err}
	}
	b.terminal = &terminal{
		master: os.NewFile(uintptr(fd), "terminal"), stopped: make(chan struct{}, 1), ended: make(chan struct{}), scratch: -1,
	}
	go b.terminal.listen(b.status)
	return nil
}

// listen reads the descriptor of the scratch file system and then the words of
// the reaper, wait statuses, until the box has ended.
func (t *terminal) listen(status int) {
	defer close(t.ended)
	t.scratch = receive(status)
	var word [4]byte
	for readAll(status, word[:]) {
		if unix.WaitStatus(binary.NativeEndian.Uint32(word[:])).Stopped() {
			select {
			case t.stopped <- struct{}{}:
			default: // not yet seen
			}
			continue
		}
		t.last = append([]byte(nil), word[:]...)
	}
}

// Terminal is the master of the box's own terminal, nil without one, to be
// closed by the caller. A read of it ends with EIO when the box has ended.
func (b *box) Terminal() *os.File {
	if b.terminal == nil {
		return nil
	}
	b.terminal.taken = true
	return b.terminal.master
}

// Stopped is told each time that the application stops, by Ctrl-Z say. Signal
// with SIGCONT has it go on.
func (b *box) Stopped() <-chan struct{} {
	if b.terminal == nil {
		return nil
	}
	return b.terminal.stopped
}

// Resize tells the application the size of its terminal.
func (b *box) Resize(s runner.Size) error {
	if b.terminal == nil {
		return os.ErrInvalid
	}
	raw, err := b.terminal.master.SyscallConn()
	if err != nil {
		return err
	}
	var errno error
	err = raw.Control(func(fd uintptr) {
		errno = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: s.Rows, Col: s.Columns})
	})
	if err == nil {
		err = errno
	}
	return err
}

// receive waits for a message with a descriptor, and returns that, or -1.
func receive(socket int) int {
	var text [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	for {
		n, oobn, _, _, err := unix.Recvmsg(socket, text[:], oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return -1
		}
		return received(oob[:oobn])
	}
}
