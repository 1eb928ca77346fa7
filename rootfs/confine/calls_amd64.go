package confine

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// olderCalls are what only this architecture still has.
var olderCalls = [...]uint32{unix.SYS_FORK, unix.SYS_VFORK}
