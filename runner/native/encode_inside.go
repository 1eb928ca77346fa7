package native

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/runner/plan"
)

// crossing encodes the steps between the host's root and the box's.
func (e *encoder) crossing(s *plan.Step) {
	const flags = unix.MS_NOSUID | unix.MS_NODEV
	switch s.Kind {
	case plan.Stage:
		options := fmt.Sprintf("size=%d,nr_inodes=%d,mode=0755", s.Size, s.Inodes)
		e.call(unix.SYS_MOUNT, e.str("tmpfs"), e.str(s.Target), e.str("tmpfs"), val(flags), e.str(options))
		e.call(unix.SYS_CHDIR, e.str(s.Target))
	case plan.HandOver:
		e.handOver()
	case plan.StageDir:
		e.call(unix.SYS_MKDIRAT, atFDCWD, e.str(s.Target), val(s.Mode))
	case plan.TakeScratch:
		e.call(unix.SYS_OPEN_TREE, atFDCWD, e.str(s.Source), val(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)).to(e, s.Name)
		if s.ReadOnly {
			e.setAttr(e.slot(s.Name), 0, e.attr(unix.MOUNT_ATTR_RDONLY, 0))
		}
	case plan.StageLayer:
		e.call(unix.SYS_MOVE_MOUNT, e.slot(s.Name), e.str(""), atFDCWD, e.str(s.Target), val(unix.MOVE_MOUNT_F_EMPTY_PATH))
	case plan.KeepDirs:
		e.keepDirs(s.Target)
	case plan.MountOverlay:
		options := "userxattr,upperdir=" + s.Target + ",workdir=" + s.Data
		if s.Target != "upper" {
			// Without it the unmount waits until all that the host has written to
			// that file system is on the disk.
			options += ",volatile"
		}
		options += ",lowerdir=" + strings.Join(s.Words, ":")
		e.call(unix.SYS_MOUNT, e.str("overlay"), e.str("root"), e.str("overlay"), val(flags), e.str(options))
		e.call(unix.SYS_CHDIR, e.str("root"))
	case plan.MountRoot:
		e.call(unix.SYS_MOUNT, e.str("tmpfs"), e.str("root"), e.str("tmpfs"), val(flags), e.str("size=1m,mode=0755"))
		e.call(unix.SYS_CHDIR, e.str("root"))
	case plan.Pivot:
		// The old root ends on top of the new one, pivot_root(2).
		e.call(unix.SYS_PIVOT_ROOT, e.str("."), e.str("."))
	case plan.DetachHost:
		e.call(unix.SYS_UMOUNT2, e.str("."), val(unix.MNT_DETACH))
		e.call(unix.SYS_CHDIR, e.str("/"))
	default:
		e.inside(s)
	}
}

// keepDirs makes the two directories of an overlay that is kept. A volatile
// overlay refuses a work directory that one before it has marked, so the mark
// is taken away; all else in there the kernel itself cleans, overlayfs.rst.
func (e *encoder) keepDirs(in string) {
	e.call(unix.SYS_MKDIRAT, atFDCWD, e.str(in+"/upper"), val(0o755)).or(unix.EEXIST)
	e.call(unix.SYS_MKDIRAT, atFDCWD, e.str(in+"/work"), val(0o700)).or(unix.EEXIST)
	const mark = "/work/work/incompat"
	e.call(unix.SYS_UNLINKAT, atFDCWD, e.str(in+mark+"/volatile/dirty"), val(0)).or(unix.ENOENT)
	e.call(unix.SYS_UNLINKAT, atFDCWD, e.str(in+mark+"/volatile"), val(unix.AT_REMOVEDIR)).or(unix.ENOENT)
	e.call(unix.SYS_UNLINKAT, atFDCWD, e.str(in+mark), val(unix.AT_REMOVEDIR)).or(unix.ENOENT)
}

// Lookups of paths that an image may have shaped: never out of the root,
// never through a magic link of proc, openat2(2).
const (
	resolveIn     = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
	resolveStrict = resolveIn | unix.RESOLVE_NO_SYMLINKS
)

// open looks target up inside the root.
func (e *encoder) open(target string, flags, resolve uint64) *op {
	how := e.mem.words(flags|unix.O_PATH|unix.O_CLOEXEC, 0, resolve)
	return e.call(unix.SYS_OPENAT2, e.slot("root"), e.str("."+target), val(at(how)), val(24))
}

func resolve(target string) uint64 {
	for _, own := range [...]string{"/proc", "/dev"} {
		if target == own || strings.HasPrefix(target, own+"/") {
			return resolveStrict
		}
	}
	return resolveIn
}

// parent is the open directory that target is to be made in.
func (e *encoder) parent(target string) arg {
	if d := path.Dir(target); d != "/" {
		return e.slot("at:" + d)
	}
	return e.slot("root")
}

// put moves a detached tree to where an open descriptor points.
func (e *encoder) put(tree, to arg) *op {
	return e.call(unix.SYS_MOVE_MOUNT, tree, e.str(""), to, e.str(""), val(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH))
}

// clone copies an attached tree into a detached one.
func (e *encoder) clone(tree arg, flags uint64) {
	e.call(unix.SYS_OPEN_TREE, tree, e.str(""), val(unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|flags)).to(e, "copy")
}

// inside encodes the steps that furnish the root.
func (e *encoder) inside(s *plan.Step) {
	base := path.Base(s.Target)
	switch s.Kind {
	case plan.OpenRoot:
		e.call(unix.SYS_OPENAT, atFDCWD, e.str("/"), val(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), val(0)).to(e, s.Name)
	case plan.MakeDir:
		e.call(unix.SYS_MKDIRAT, e.parent(s.Target), e.str(base), val(s.Mode)).or(unix.EEXIST)
		e.open(s.Target, unix.O_DIRECTORY, resolve(s.Target)).to(e, "at:"+s.Target)
	case plan.MakeFile:
		e.call(unix.SYS_MKNODAT, e.parent(s.Target), e.str(base), val(unix.S_IFREG|s.Mode), val(0)).or(unix.EEXIST)
		e.open(s.Target, 0, resolve(s.Target)).to(e, "at:"+s.Target)
	case plan.MakeLink:
		e.call(unix.SYS_SYMLINKAT, e.str(s.Data), e.parent(s.Target), e.str(base)).or(unix.EEXIST)
	case plan.Place:
		e.put(e.slot(s.Name), e.slot("at:"+s.Target))
		// What is placed below goes into the new mount, not under it.
		e.alias("at:"+s.Target, s.Name)
	case plan.PlaceDevice:
		e.call(unix.SYS_MKNODAT, e.slot("at:/dev"), e.str(s.Target), val(unix.S_IFREG), val(0))
		e.call(unix.SYS_MOVE_MOUNT, e.slot(s.Name), e.str(""), e.slot("at:/dev"), e.str(s.Target), val(unix.MOVE_MOUNT_F_EMPTY_PATH))
	case plan.Mask:
		e.mask(s)
	case plan.Protect:
		e.open(s.Target, 0, resolve(s.Target)).to(e, "target").orSkip(3, unix.ENOENT)
		e.clone(e.slot("target"), unix.AT_RECURSIVE)
		e.setAttr(e.slot("copy"), unix.AT_RECURSIVE, e.attr(unix.MOUNT_ATTR_RDONLY, 0))
		e.put(e.slot("copy"), e.slot("target"))
	case plan.WriteProc:
		e.call(unix.SYS_OPENAT, e.slot("proc"), e.str(s.Target), val(unix.O_WRONLY|unix.O_CLOEXEC), val(0)).to(e, "target").orSkip(1, unix.ENOENT)
		e.call(unix.SYS_WRITE, e.slot("target"), e.str(s.Data), val(len(s.Data)))
	case plan.Hostname:
		e.call(unix.SYS_SETHOSTNAME, e.str(s.Data), val(len(s.Data)))
	case plan.LoopbackUp:
		e.loopback()
	case plan.HandRoot:
		e.call(unix.SYS_OPEN_TREE, e.slot("root"), e.str(""), val(unix.AT_EMPTY_PATH|unix.AT_RECURSIVE|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)).to(e, "tree")
		e.sendTo(e.files.copies, "tree")
	case plan.AwaitCopies:
		// EAGAIN: hutch was done first.
		e.call(unix.SYS_FUTEX, val(address(&e.shared.copied)), val(0), val(0), val(0)).or(unix.EAGAIN)
	case plan.ReadOnlyRoot:
		e.setAttr(e.slot("root"), 0, e.attr(unix.MOUNT_ATTR_RDONLY, 0))
	default:
		e.surrender(s)
	}
}

// mask covers a directory with an empty one, a file with the null device.
func (e *encoder) mask(s *plan.Step) {
	if s.Dir {
		e.open(s.Target, 0, resolve(s.Target)).to(e, "target").orSkip(1, unix.ENOENT)
		e.put(e.slot("empty:"+s.Target), e.slot("target"))
		return
	}
	e.open(s.Target, 0, resolve(s.Target)).to(e, "target").orSkip(2, unix.ENOENT)
	e.clone(e.slot("dev:null"), 0)
	e.put(e.slot("copy"), e.slot("target"))
}

// loopback sets lo's flags, netdevice(7): struct ifreq is a name of 16 bytes
// and the flags.
func (e *encoder) loopback() {
	ifreq := e.mem.room(40)
	copy(ifreq, "lo")
	ifreq[16] = unix.IFF_UP | unix.IFF_RUNNING
	e.call(unix.SYS_SOCKET, val(unix.AF_INET), val(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), val(0)).to(e, "target")
	e.call(unix.SYS_IOCTL, e.slot("target"), val(unix.SIOCSIFFLAGS), val(at(ifreq)))
}
