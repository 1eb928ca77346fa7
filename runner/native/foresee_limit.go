package native

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// descriptorRefusal is of one more open file than limits.open_files allows.
func (w *watcher) descriptorRefusal(p *process, name string) *refusal {
	most := w.spec.Limits.OpenFiles
	switch name {
	case "open", "openat", "openat2", "creat", "socket":
	default:
		return nil
	}
	// The lowest free number is taken, so while the last one is free there is one.
	if most <= 0 || p.link("fd/"+strconv.FormatInt(most-1, 10)) == "" {
		return nil
	}
	var limit unix.Rlimit
	if unix.Prlimit(int(p.pid), unix.RLIMIT_NOFILE, nil, &limit) != nil || limit.Cur != uint64(most) {
		return nil // its own
	}
	list, err := os.ReadDir(proc(p.pid, "fd"))
	below := int64(0)
	for _, e := range list {
		if n, err := strconv.ParseInt(e.Name(), 10, 64); err == nil && n < most {
			below++
		}
	}
	if err != nil || below < most {
		return nil
	}
	now := strconv.FormatInt(most, 10)
	return &refusal{what: refusedLimit, name: "open-files", errno: unix.EMFILE, hint: "limits.open_files = " + strconv.FormatInt(2*most, 10) + "  # it was " + now}
}

// growthRefusal is of a file that limits.file_size lets grow no more: up to there
// less is written than was asked for, and beyond it nothing, write(2).
func (w *watcher) growthRefusal(p *process, name string, a [6]uint64) *refusal {
	most := uint64(w.spec.Limits.FileSizeBytes)
	switch name {
	case "write", "writev", "pwrite64", "pwritev", "ftruncate":
	default:
		return nil
	}
	var limit unix.Rlimit
	if most == 0 || unix.Prlimit(int(p.pid), unix.RLIMIT_FSIZE, nil, &limit) != nil || limit.Cur != most {
		return nil
	}
	f, d, err := p.descriptor(int32(a[0]))
	if err != nil {
		return nil
	}
	defer f.close()
	at := d.position
	switch {
	case !f.is(unix.S_IFREG), d.flags&unix.O_ACCMODE == unix.O_RDONLY, d.flags&unix.O_PATH != 0:
		return nil
	case name == "ftruncate":
		if at = 0; int64(a[1]) >= 0 && a[1] > f.stat.Size {
			at = a[1] - 1 // what would be its last byte
		}
	case a[2] == 0 || int64(a[2]) < 0: // nothing is written
		return nil
	case d.flags&unix.O_APPEND != 0:
		at = f.stat.Size
	case name == "pwrite64" || name == "pwritev":
		at = a[3]
	}
	if at < most || int64(at) < 0 {
		return nil
	}
	return &refusal{what: refusedLimit, name: "file-size", errno: unix.EFBIG, hint: runner.MoreBytes("limits.file_size", int64(most))}
}
