package confine

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// olderCalls are what only this architecture still has.
var olderCalls = [...]uint32{}
