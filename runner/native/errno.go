package native

import "golang.org/x/sys/unix"

func errnoName(n uint16) string { return unix.ErrnoName(unix.Errno(n)) }
