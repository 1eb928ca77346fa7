package native

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"hutch/runner/plan"
)

var atFDCWD = val(int64(unix.AT_FDCWD))

// one encodes a step. The calls of each kind stand together, in the order of
// the plan's paragraphs.
func (e *encoder) one(s *plan.Step) {
	switch s.Kind {
	case plan.DieWithParent:
		e.call(unix.SYS_PRCTL, val(unix.PR_SET_PDEATHSIG), val(unix.SIGKILL))
	case plan.CheckParent:
		pollfd := e.mem.ints(uint32(e.files.self), unix.POLLIN)
		e.call(unix.SYS_PPOLL, val(at(pollfd)), val(1), val(at(e.mem.words(0, 0))), val(0), val(0)).wantZero = true
	case plan.NewSession:
		e.call(unix.SYS_SETSID)
	case plan.NewKeyring:
		// A kernel without keyrings has none to protect.
		e.call(unix.SYS_KEYCTL, val(unix.KEYCTL_JOIN_SESSION_KEYRING), val(0)).or(unix.ENOSYS)
	case plan.Unshare:
		e.call(unix.SYS_UNSHARE, val(s.Bits))
	case plan.MapIDs:
		// Written by start, which alone knows the box's pid.
	case plan.TakeTree:
		e.takeTree(s)
	case plan.TakeImage:
		// Mounted by start, on nothing.
		e.call(unix.SYS_FCNTL, val(e.files.images[s.Name]), val(unix.F_DUPFD_CLOEXEC), val(3)).to(e, s.Name)
		if s.IDMapped {
			e.mapIDs(s, 0)
		}
	case plan.AwaitHutch:
		// EAGAIN: hutch was ready first.
		e.call(unix.SYS_FUTEX, val(address(&e.shared.ready)), val(0), val(0), val(0)).or(unix.EAGAIN)
	case plan.OwnFiles:
		e.call(unix.SYS_UNSHARE, val(unix.CLONE_FILES))
	case plan.Umask:
		e.call(unix.SYS_UMASK, val(s.Mode))
	case plan.Become:
		e.call(unix.SYS_SETGROUPS, val(0), val(0))
		e.setIDs(s)
	case plan.PrivateMounts:
		e.call(unix.SYS_MOUNT, val(0), e.str("/"), val(0), val(unix.MS_REC|unix.MS_PRIVATE), val(0))
	case plan.TakeProc:
		e.takeFS(s, "proc", unix.MOUNT_ATTR_NOEXEC)
	case plan.TakeTmpfs:
		options := []string{"mode", fmt.Sprintf("%o", s.Mode)}
		if s.Size > 0 {
			options = append(options, "size", fmt.Sprint(s.Size))
		}
		e.takeFS(s, "tmpfs", readOnly(s), options...)
	case plan.TakeDevpts:
		e.takeFS(s, "devpts", unix.MOUNT_ATTR_NOEXEC, "ptmxmode", "0666", "mode", "0620", "gid", fmt.Sprint(s.GID))
	case plan.OpenTerminal, plan.HandTerminal, plan.OwnTerminal, plan.OwnGroup:
		e.terminal(s)
	default:
		e.crossing(s)
	}
}

func readOnly(s *plan.Step) uint64 {
	if s.ReadOnly {
		return unix.MOUNT_ATTR_RDONLY
	}
	return 0
}

// attr is struct mount_attr, mount_setattr(2).
// Every tree is made private: a copy of a shared mount is its peer, and what
// the box mounts on it would appear on the host.
func (e *encoder) attr(set, userns uint64) []byte {
	return e.mem.words(set, 0, unix.MS_PRIVATE, userns)
}

const attrSize = 32

func (e *encoder) setAttr(tree arg, flags uint64, attr []byte) *op {
	return e.call(unix.SYS_MOUNT_SETATTR, tree, e.str(""), val(unix.AT_EMPTY_PATH|flags), val(at(attr)), val(attrSize))
}

func (e *encoder) takeTree(s *plan.Step) {
	var recursive uint64
	if s.Recursive {
		recursive = unix.AT_RECURSIVE
	}
	e.call(unix.SYS_OPEN_TREE, atFDCWD, e.str(s.Source), val(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|recursive)).to(e, s.Name)
	tree := e.slot(s.Name)
	if isDevice(s) {
		return // the one kind of tree whose nodes must work
	}
	e.setAttr(tree, recursive, e.attr(unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|readOnly(s), 0))
	if s.IDMapped {
		e.mapIDs(s, recursive)
	}
}

func (e *encoder) mapIDs(s *plan.Step, recursive uint64) {
	attr := e.attr(unix.MOUNT_ATTR_IDMAP, 0)
	e.userns = append(e.userns, attr)
	o := e.setAttr(e.slot(s.Name), recursive, attr)
	if s.ReadOnly && !isLayer(s) {
		// A file system that cannot map ids shows its files as nobody's: less
		// than was hoped, never more.
		o.or(unix.EINVAL)
	}
}

func isDevice(s *plan.Step) bool { return len(s.Name) > 4 && s.Name[:4] == "dev:" }
func isLayer(s *plan.Step) bool  { return len(s.Name) > 6 && s.Name[:6] == "layer:" }

// takeFS makes a new file system as a detached tree. Options come in pairs.
func (e *encoder) takeFS(s *plan.Step, fstype string, attrs uint64, options ...string) {
	e.call(unix.SYS_FSOPEN, e.str(fstype), val(unix.FSOPEN_CLOEXEC)).to(e, "context")
	fs := e.slot("context")
	for i := 0; i < len(options); i += 2 {
		e.call(unix.SYS_FSCONFIG, fs, val(unix.FSCONFIG_SET_STRING), e.str(options[i]), e.str(options[i+1]), val(0))
	}
	e.call(unix.SYS_FSCONFIG, fs, val(unix.FSCONFIG_CMD_CREATE), val(0), val(0), val(0))
	e.call(unix.SYS_FSMOUNT, fs, val(unix.FSMOUNT_CLOEXEC), val(unix.MOUNT_ATTR_NOSUID|nodev(fstype)|attrs)).to(e, s.Name)
}

func nodev(fstype string) uint64 {
	if fstype == "devpts" {
		return 0 // its terminals are devices
	}
	return unix.MOUNT_ATTR_NODEV
}

// mapTo tells the trees that want it which user namespace maps their ids.
func (e *encoder) mapTo(userns int) {
	for _, attr := range e.userns {
		binary.NativeEndian.PutUint64(attr[24:], uint64(userns))
	}
}

func (e *encoder) setIDs(s *plan.Step) {
	e.call(unix.SYS_SETRESGID, val(s.GID), val(s.GID), val(s.GID))
	e.call(unix.SYS_SETRESUID, val(s.UID), val(s.UID), val(s.UID))
}
