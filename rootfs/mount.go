package rootfs

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A layer that is an EROFS image is mounted on nothing, fsmount(2): the mount
// is in no namespace of the host's, nobody finds it by a path, and it is gone
// with the last descriptor, or with the box that it was moved into. So a killed
// hutch leaves none.

// views are the layers that views of this process look into, by their paths.
// A box takes over the mount that is there: making one costs a start as much
// as an overlay does, and letting go of one that was placed nowhere waits for
// other processors.
var views struct {
	sync.Mutex
	trees map[string]int
}

// TakeLayer gives a mount of the layer at path, which is the caller's to close
// and which nobody else has. Its errors are those of MountLayer.
func TakeLayer(path string) (tree int, err error) {
	views.Lock()
	tree, ok := views.trees[path]
	delete(views.trees, path)
	views.Unlock()
	if ok {
		return tree, nil
	}
	return MountLayer(path)
}

// openLower opens a layer, to look names up in it.
func openLower(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if !errors.Is(err, unix.ENOTDIR) || !strings.HasSuffix(path, LayerImage) {
		return fd, err
	}
	views.Lock()
	defer views.Unlock()
	tree, ok := views.trees[path]
	if !ok {
		if tree, err = MountLayer(path); err != nil {
			return -1, err
		}
		if views.trees == nil {
			views.trees = map[string]int{}
		}
		views.trees[path] = tree
	}
	return unix.FcntlInt(uintptr(tree), unix.F_DUPFD_CLOEXEC, 3)
}

// closeViews lets go of what views of these layers have mounted.
func closeViews(lowers []string) {
	for _, l := range lowers {
		if !strings.HasSuffix(l, LayerImage) {
			continue
		}
		views.Lock()
		if tree, ok := views.trees[l]; ok {
			unix.Close(tree)
			delete(views.trees, l)
		}
		views.Unlock()
	}
}

// MountLayer mounts the EROFS image in a file, read-only, on nothing. An
// error says what to do.
func MountLayer(path string) (tree int, err error) {
	file, err := openImage(path)
	if err != nil {
		return -1, fmt.Errorf("mount the EROFS image %s: %w; hutch image verify tells whether it is damaged", path, err)
	}
	defer unix.Close(file)
	// What was looked at is what is mounted, whatever has its name by now.
	tree, err = mountErofs("/proc/self/fd/" + strconv.Itoa(file))
	if errors.Is(err, unix.ENOTBLK) { // before Linux 6.12, without CONFIG_EROFS_FS_BACKED_BY_FILE, or in tmpfs
		tree, err = mountLoop(file)
	}
	if err == nil {
		return tree, nil
	}
	const instead = "keep directories with --store-format dir"
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return -1, fmt.Errorf("only root may mount an EROFS image: %w; run hutch as root, or %s", err, instead)
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENOSYS):
		return -1, fmt.Errorf("this kernel mounts no EROFS image: %w; it needs CONFIG_EROFS_FS, or %s", err, instead)
	case errors.Is(err, errLoop):
		return -1, fmt.Errorf("this kernel mounts no EROFS image from a file: %w; it needs Linux 6.12 with CONFIG_EROFS_FS_BACKED_BY_FILE or a free loop device, or %s", err, instead)
	}
	return -1, fmt.Errorf("mount the EROFS image %s: %w; hutch image verify tells whether it is damaged", path, err)
}

var errLoop = errors.New("loop device")

// openImage opens an image that nobody but the caller can have made or can
// change: the kernel's driver trusts what it reads.
func openImage(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	switch {
	case err != nil:
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = errors.New("is not a regular file")
	case int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0:
		err = fmt.Errorf("others may write to it (owner %d, mode %o)", st.Uid, st.Mode&0o7777)
	default:
		return fd, nil
	}
	unix.Close(fd)
	return -1, err
}

// mountLoop mounts through a loop device, which is gone with the mount.
func mountLoop(file int) (int, error) {
	device, name, err := LoopDevice(file, unix.LO_FLAGS_READ_ONLY|unix.LO_FLAGS_DIRECT_IO)
	if errors.Is(err, unix.EINVAL) { // the file's own file system has no direct I/O
		device, name, err = LoopDevice(file, unix.LO_FLAGS_READ_ONLY)
	}
	if err != nil {
		return -1, fmt.Errorf("%w: %w", errLoop, err)
	}
	defer unix.Close(device) // the mount holds it from here on
	return mountErofs(name)
}

func mountErofs(source string) (int, error) {
	fs, err := unix.Fsopen("erofs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", source); err != nil {
		return -1, err
	}
	if err := unix.FsconfigSetFlag(fs, "ro"); err != nil {
		return -1, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_RDONLY)
}

// LoopDevice ties a free loop device to a file, loop(4), until its last user
// is gone. Another process may take the same free one first.
func LoopDevice(file int, flags uint32) (device int, name string, err error) {
	control, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, "", err
	}
	defer unix.Close(control)
	mode := os.O_RDWR
	if flags&unix.LO_FLAGS_READ_ONLY != 0 {
		mode = os.O_RDONLY
	}
	for range 64 {
		n, err := unix.IoctlRetInt(control, unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return -1, "", err
		}
		name := "/dev/loop" + strconv.Itoa(n)
		device, err := unix.Open(name, mode|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, "", err
		}
		config := unix.LoopConfig{Fd: uint32(file)}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | flags
		if err = unix.IoctlLoopConfigure(device, &config); err == nil {
			return device, name, nil
		}
		unix.Close(device)
		if !errors.Is(err, unix.EBUSY) {
			return -1, "", err
		}
	}
	return -1, "", unix.EBUSY
}
