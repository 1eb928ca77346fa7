package compare

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"hutch/seccomp"
)

// traceFilters stops a process for as long as it takes to ask the kernel for
// its filters, ptrace(2) PTRACE_SECCOMP_GET_FILTER: for that the caller must be
// root, and the kernel built with CONFIG_CHECKPOINT_RESTORE.
func traceFilters(pid int) (list []seccomp.Filter, err error) {
	ask := func(request, address, data uintptr) (int, unix.Errno) {
		n, _, errno := unix.Syscall6(unix.SYS_PTRACE, request, uintptr(pid), address, data, 0, 0)
		return int(n), errno
	}
	if _, errno := ask(unix.PTRACE_SEIZE, 0, 0); errno != 0 {
		return nil, fmt.Errorf("trace process %d: %w", pid, errno)
	}
	defer ask(unix.PTRACE_DETACH, 0, 0)
	if _, errno := ask(unix.PTRACE_INTERRUPT, 0, 0); errno != 0 {
		return nil, fmt.Errorf("stop process %d: %w", pid, errno)
	}
	if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != nil {
		return nil, fmt.Errorf("wait for process %d: %w", pid, err)
	}
	for i := uintptr(0); ; i++ {
		n, errno := ask(unix.PTRACE_SECCOMP_GET_FILTER, i, 0)
		if errors.Is(errno, unix.ENOENT) {
			return list, nil
		}
		if errno != 0 {
			return nil, fmt.Errorf("read the filters of process %d: %w", pid, errno)
		}
		const instruction = 8 // struct sock_filter
		filter := make(seccomp.Filter, n*instruction)
		if _, errno := ask(unix.PTRACE_SECCOMP_GET_FILTER, i, uintptr(unsafe.Pointer(&filter[0]))); errno != 0 {
			return nil, fmt.Errorf("read filter %d of process %d: %w", i, pid, errno)
		}
		list = append(list, filter)
	}
}
