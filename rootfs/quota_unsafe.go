package rootfs

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// projectAttr is struct fsxattr, ioctl_fs.h.
type projectAttr struct {
	flags, extent, extents, project, cow uint32
	_                                    [8]byte
}

// diskQuota is struct if_dqblk, linux/quota.h.
type diskQuota struct {
	blockHard, blockSoft, space  uint64
	inodeHard, inodeSoft, inodes uint64
	blockTime, inodeTime         uint64
	valid                        uint32
	_                            uint32
}

const (
	fsGetXattr = 0x801c581f // FS_IOC_FSGETXATTR
	fsSetXattr = 0x401c5820 // FS_IOC_FSSETXATTR
)

func getProject(fd int) (a projectAttr, err error) {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fsGetXattr, uintptr(unsafe.Pointer(&a)))
	if errno != 0 {
		err = errno
	}
	return a, err
}

func setProject(fd int, a *projectAttr) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fsSetXattr, uintptr(unsafe.Pointer(a))); errno != 0 {
		return errno
	}
	return nil
}

// quotactl is quotactl_fd(2), which needs no device's name.
func quotactl(fd int, command, id uint32, q *diskQuota) error {
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, uintptr(fd), uintptr(command<<8|prjQuota), uintptr(id), uintptr(unsafe.Pointer(q)), 0, 0)
	switch errno {
	case 0:
		return nil
	case syscall.ESRCH, syscall.ENOSYS, syscall.ENOTSUP, syscall.EINVAL, syscall.ENOTTY:
		return fmt.Errorf("%w (%w)", errNoQuota, errno)
	}
	return errno
}
