package native

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A notification is struct seccomp_notif, seccomp_unotify(2).
type notification struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// A response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

func (n *notification) receive(fd int) syscall.Errno {
	*n = notification{} // the kernel wants zeros
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(n)))
	return errno
}

// send never waits, so the scheduler need not be told of it.
func (r *response) send(fd int) syscall.Errno {
	_, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(r)))
	return errno
}

// valid says whether the call still waits: whether what was read of the process
// with that number was the caller's.
func (n *notification) valid(fd int) bool {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_ID_VALID, uintptr(unsafe.Pointer(&n.id)))
	return errno == 0
}
