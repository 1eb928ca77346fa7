package native

import (
	"os"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/plan"
)

const pipefsMagic = 0x50495045 // linux/magic.h

// ownPipes gives the application the pipes that are its standard streams.
// What it has open it may use in any case; but programs that log to
// /dev/stdout open it anew, as its owner. As an ordinary user the owner is
// mapped already.
func (b *box) ownPipes(stdio runner.Stdio) {
	if !b.ids.privileged {
		return
	}
	uid, gid := hostID(b.ids.uid, b.user[0]), hostID(b.ids.gid, b.user[1])
	for _, f := range []*os.File{stdio.In, stdio.Out, stdio.Err} {
		fd := int(f.Fd())
		var fs unix.Statfs_t
		// Not a FIFO that has a name, which is others' too.
		if unix.Fstatfs(fd, &fs) == nil && fs.Type == pipefsMagic {
			unix.Fchown(fd, int(uid), int(gid))
		}
	}
}

// hostID is the host's id for one of the box's, which is mapped.
func hostID(m []plan.IDMap, id uint32) uint32 {
	for _, r := range m {
		if id >= r.Inside && id-r.Inside < r.Count {
			return r.Outside + id - r.Inside
		}
	}
	return id
}
