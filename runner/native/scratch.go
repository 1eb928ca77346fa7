package native

import (
	"golang.org/x/sys/unix"
)

// The box hands hutch a descriptor of its scratch file system, which holds all
// that the application writes. Nobody else can tell whether that was full when
// the box ended: the mount is in no namespace of hutch's, and gone with the
// box. The socket keeps the descriptor until Wait asks for it.

// handOver sends the working directory.
func (e *encoder) handOver() {
	msg, fd := e.message()
	e.call(unix.SYS_OPENAT, atFDCWD, e.str("."), val(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), val(0)).store = fd
	e.call(unix.SYS_SENDMSG, val(e.files.status), val(at(msg)), val(0))
}

// send sends what a slot holds.
func (e *encoder) send(name string) { e.sendTo(e.files.status, name) }

func (e *encoder) sendTo(socket int, name string) {
	msg, fd := e.message()
	e.call(unix.SYS_FCNTL, e.slot(name), val(unix.F_DUPFD_CLOEXEC), val(3)).store = fd
	e.call(unix.SYS_SENDMSG, val(socket), val(at(msg)), val(0))
}

// message is one for the status socket: struct msghdr, recvmsg(2), with one
// control message SCM_RIGHTS, unix(7), cmsg(3), and where its descriptor goes.
func (e *encoder) message() (msg []byte, fd *int32) {
	const cmsgLen, cmsgSpace = 20, 24 // of one int
	control := e.mem.words(cmsgLen, unix.SOL_SOCKET|unix.SCM_RIGHTS<<32, 0)
	iov := e.mem.words(uint64(e.mem.bytes([]byte{0})), 1)
	return e.mem.words(0, 0, uint64(at(iov)), 1, uint64(at(control)), cmsgSpace, 0), int32At(control, 16)
}

// scratchIsFull says whether the box's scratch file system had no block or no
// inode left when the application ended, and holds on to what was written where
// that is wanted. It reads the box's first message, unless settle has.
func (b *box) scratchIsFull() bool {
	switch {
	case b.settled:
		return b.full
	case b.terminal != nil:
		<-b.terminal.ended
		return b.isFull(b.terminal.scratch)
	}
	return b.isFull(receive(b.status))
}

func (b *box) isFull(scratch int) bool {
	if scratch < 0 {
		return false
	}
	defer unix.Close(scratch)
	b.takeUpper(scratch)
	return full(scratch)
}

// takeUpper opens what was written. The scratch file system and this name in
// it were never in the application's reach.
func (b *box) takeUpper(scratch int) {
	if !b.spec.Root.Diff || b.spec.Root.Keep != "" {
		return
	}
	fd, err := unix.Openat(scratch, "upper", unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == nil {
		b.upper = fd
	}
}

// received is the one descriptor of a message, -1 without.
func received(oob []byte) int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return -1
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1
	}
	return fds[0]
}

func full(scratch int) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(scratch, &fs) == nil && (fs.Bfree == 0 || fs.Ffree == 0)
}
