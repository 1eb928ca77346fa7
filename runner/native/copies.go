package native

import (
	"os"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// What is copied in and out goes through a copy of the box's whole tree of
// mounts, open_tree(2), that the box sends to hutch. It belongs to no mount
// namespace, so it stays when the box's own is gone, overlay and scratch in
// memory included, and it goes when hutch does, killed or not: nobody else has
// it.

// An Owner is the application's user as a Helper of the same Spec sees it. A
// helper with one id owns all that it makes, and One says so.
type Owner struct {
	UID, GID uint32
	One      bool
}

// Fill gives the engine what copies files into its next box, before the
// application starts, where the Spec has a CopyIn. The directory is the box's
// root, O_PATH, and is the engine's; its files are for a Helper to write.
func (e *Engine) Fill(fill func(root *os.File, owner Owner) error) { e.fill = fill }

// Tree is the root of a box that is gone, O_PATH, with all that was mounted
// there when the application started; nil unless its Spec copies. Its owners
// are those of the box's ids, so it is for a Helper to read. It is the
// caller's to close, which takes the mounts away.
func (b *box) Tree() *os.File {
	fd := b.kept
	if b.kept = -1; fd < 0 {
		return nil
	}
	return os.NewFile(uintptr(fd), "root of the box")
}

// Owner is who the box's application was.
func (b *box) Owner() Owner {
	if !b.ids.privileged && len(b.ids.uid) == 1 && b.ids.uid[0].Count == 1 {
		return Owner{One: true} // see Helper
	}
	return Owner{UID: b.user[0], GID: b.user[1]}
}

func (b *box) copying() bool { return len(b.spec.CopyIn)+len(b.spec.CopyOut) > 0 }

// openCopies makes a socket of its own: what comes on the status socket, and in
// which order, depends on the terminal and on how the box ends.
func (b *box) openCopies(f *files) error {
	if !b.copying() {
		return nil
	}
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	b.copies, f.copies = p[0], b.keep(p[1])
	return nil
}

// copyIn fills the box's root while the box waits, and lets it go on.
func (b *box) copyIn() error {
	if len(b.spec.CopyIn) == 0 {
		return nil
	}
	fail := func(err error) error {
		return &runner.Error{Stage: runner.StageStart, Step: "take the box's tree", Err: err}
	}
	if b.fill == nil {
		return fail(os.ErrInvalid)
	}
	// A box that fails never sends; hutch holds the other end itself.
	ready := []unix.PollFd{{Fd: int32(b.copies), Events: unix.POLLIN}, {Fd: b.pidfd, Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(ready, -1)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return fail(err)
		}
	}
	if ready[0].Revents&unix.POLLIN == 0 {
		return nil // started says what went wrong
	}
	if b.tree = receive(b.copies); b.tree < 0 {
		return fail(unix.EBADMSG)
	}
	again, err := unix.FcntlInt(uintptr(b.tree), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fail(err)
	}
	root := os.NewFile(uintptr(again), "root of the box")
	defer root.Close()
	// The helpers of fill are boxes too. This one sleeps, and has closed the
	// memory by itself where that must be.
	starting.Unlock()
	err = b.fill(root, b.Owner())
	starting.Lock()
	if err != nil {
		return err
	}
	b.enc.shared.copied = 1
	futexWake(&b.enc.shared.copied)
	return nil
}

// keepTree holds on to the tree of a box that has ended.
func (b *box) keepTree() {
	if len(b.spec.CopyOut) == 0 {
		return
	}
	if b.kept, b.tree = b.tree, -1; b.kept < 0 {
		b.kept = receive(b.copies)
	}
}
