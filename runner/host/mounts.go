package host

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// overlayOps mounts an overlay over nothing but tmpfs, in a mount namespace
// that ends with its process. Nothing of it can reach this machine's mounts:
// the tree is made private first.
func overlayOps(options string) *opList {
	l := new(opList)
	l.mount("make the mounts private", "none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	l.mount("mount a tmpfs", "none", "/tmp", "tmpfs", 0, "")
	for _, d := range [...]string{"l", "u", "w", "m"} {
		l.mkdir("/tmp/" + d)
	}
	l.mount("mount the overlay", "none", "/tmp/m", "overlay", 0, "lowerdir=/tmp/l,upperdir=/tmp/u,workdir=/tmp/w"+options)
	return l
}

// runOps runs ops in new namespaces and names the step that failed.
func runOps(flags uintptr, l *opList) error {
	c, err := newChild(flags, l.ops)
	if err != nil {
		return err
	}
	defer c.end()
	if flags&unix.CLONE_NEWUSER != 0 {
		if err := c.mapSelf(); err != nil {
			return err
		}
	}
	i, err := c.run()
	runtime.KeepAlive(l)
	if err != nil && i < len(l.ops) {
		return fmt.Errorf("%s: %w", l.ops[i].name, err)
	}
	return err
}

// Overlay is whether this process may mount an overlay itself, without a user
// namespace.
func Overlay() Fact {
	f := Fact{Name: nameOverlay}
	err := runOps(unix.CLONE_NEWNS, overlayOps(""))
	switch {
	case err == nil:
		f.Have = true
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		f.Reason = "this user may not mount: " + err.Error()
		f.Remedy = "none is needed where overlays work in a user namespace; else run hutch as root"
	default:
		f.Reason, f.Remedy = overlayMissing(err)
	}
	return f
}

// OverlayInUserns is whether an overlay can be mounted in a user namespace
// (since Linux 5.11), which rootless boxes need.
func OverlayInUserns() Fact {
	f := Fact{Name: nameOverlayUserns}
	err := runOps(unix.CLONE_NEWUSER|unix.CLONE_NEWNS, overlayOps(",userxattr"))
	switch {
	case err == nil:
		f.Have = true
	case !UserNamespaces().Have:
		f.Reason, f.Remedy = "there are no user namespaces: "+err.Error(), "see "+nameUserns
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL):
		f.Reason = "the kernel does not allow it: " + err.Error()
		f.Remedy = "use Linux 5.11 or newer, a read-only root, or run hutch as root"
	default:
		f.Reason, f.Remedy = overlayMissing(err)
	}
	return f
}

func overlayMissing(err error) (reason, remedy string) {
	if errors.Is(err, unix.ENODEV) {
		return "the kernel has no overlay file system", "as root: modprobe overlay"
	}
	return err.Error(), "use a read-only root"
}

// IDMappedMounts is whether the file system of / can be mounted with its owners
// mapped. Other file systems may differ: see IDMappable.
func IDMappedMounts() Fact {
	f := Fact{Name: nameIDMapped, Value: "/"}
	var e *IDMapError
	switch err := IDMappable("/"); {
	case err == nil:
		f.Have = true
	case errors.As(err, &e):
		f.Reason, f.Remedy = e.Reason, e.Remedy
	default:
		f.Reason, f.Remedy = err.Error(), "see the error"
	}
	return f
}

// An IDMapError says why a directory cannot be mounted with its owners mapped.
type IDMapError struct {
	Path, Reason, Remedy string
	Err                  error
}

func (e *IDMapError) Error() string {
	return fmt.Sprintf("id-map %s: %s: %v (%s)", e.Path, e.Reason, e.Err, e.Remedy)
}

func (e *IDMapError) Unwrap() error { return e.Err }

// IDMappable tries to mount the directory path with its owners mapped
// (mount_setattr(2), MOUNT_ATTR_IDMAP), on a detached copy that is attached
// nowhere. The error is nil or an *IDMapError.
func IDMappable(path string) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return idMapError(path, "copy the mount", err)
	}
	defer unix.Close(tree)
	ns, err := someUserNamespace()
	if err != nil {
		return idMapError(path, "make a user namespace", err)
	}
	defer ns.Close()
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return idMapError(path, "map its owners", err)
	}
	return nil
}

// someUserNamespace is one with a mapping; the open file keeps it alive after
// its process has gone.
func someUserNamespace() (*os.File, error) {
	c, err := newChild(unix.CLONE_NEWUSER, nil)
	if err != nil {
		return nil, err
	}
	defer c.end()
	if err := c.mapSelf(); err != nil {
		return nil, err
	}
	return os.Open("/proc/" + strconv.Itoa(c.pid) + "/ns/user")
}

func idMapError(path, step string, err error) error {
	e := &IDMapError{Path: path, Err: fmt.Errorf("%s: %w", step, err)}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		e.Reason, e.Remedy = "there is no such directory", "check the path"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		e.Reason = "only root may, on a mount of the first user namespace"
		e.Remedy = "run hutch as root, or rootless with the unpacked root owned by this user"
	case errors.Is(err, unix.EINVAL):
		e.Reason = "its file system (" + fsName(path) + ") cannot be id-mapped by this kernel"
		e.Remedy = "put it on ext4, xfs, btrfs or tmpfs (Linux 6.3)"
	case errors.Is(err, unix.ENOSYS):
		e.Reason, e.Remedy = "the kernel is older than 5.12, or a filter hides mount_setattr", "use a newer kernel"
	default:
		e.Reason, e.Remedy = "the kernel refused", "use another file system"
	}
	return e
}

// fsName names a file system for a message.
func fsName(path string) string {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return "unknown"
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay"
	case unix.NFS_SUPER_MAGIC:
		return "nfs"
	case unix.FUSE_SUPER_MAGIC:
		return "fuse"
	case unix.PROC_SUPER_MAGIC:
		return "proc"
	case unix.SYSFS_MAGIC:
		return "sysfs"
	case unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC:
		return "cgroup"
	case unix.V9FS_MAGIC:
		return "9p"
	}
	return fmt.Sprintf("type %#x", uint32(st.Type))
}
