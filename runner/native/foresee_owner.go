package native

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// idsGranted says whether every id that is asked for is one that the caller may
// take as it is, setresuid(2); also where the kernel answers EINVAL.
func idsGranted(name string, a [6]uint64, have [4]uint32, ids idRanges) bool {
	own, asked := have[:3], a[:3]
	switch {
	case !strings.HasPrefix(name, "setre"):
		own, asked = []uint32{have[0], have[2]}, a[:1] // setuid takes no -1
	case !strings.HasPrefix(name, "setres"):
		asked = a[:2]
	}
	granted := true
	for i, v := range asked {
		id, ok := ids.outside(uint32(v))
		switch {
		case uint32(v) == ^uint32(0) && len(asked) > 1:
			continue
		case !ok:
			return true
		case len(asked) == 2 && i == 0:
			granted = granted && (id == have[0] || id == have[1])
		default:
			granted = granted && slices.Contains(own, id)
		}
	}
	return granted
}

// ownerRefusal is of what only the owner of a file may change, or another owner
// or group of it, chown(2).
func (w *watcher) ownerRefusal(p *process, name string, a [6]uint64) *refusal {
	owner, group := noID, noID
	switch name {
	case "chown", "lchown", "fchown":
		owner, group = uint32(a[1]), uint32(a[2])
	case "fchownat":
		owner, group = uint32(a[2]), uint32(a[3])
	case "chmod", "fchmod", "fchmodat", "fchmodat2":
	default:
		return nil
	}
	f := w.changed(p, name, a)
	if f == nil {
		return nil
	}
	defer f.close()
	switch {
	case f.readOnly():
		if strings.HasPrefix(name, "f") && !strings.HasSuffix(name, "at") && !strings.HasSuffix(name, "at2") {
			return w.readOnly(f.name) // by a path it was told already
		}
		return nil
	case owner == noID && group == noID:
		if strings.Contains(name, "chown") || p.uids[3] == f.stat.Uid {
			return nil
		}
		return w.owns(p, f, unix.CAP_FOWNER, "fowner")
	}
	return w.chownRefusal(p, f, owner, group)
}

// changed is the file whose owner or mode a call changes, nil where the kernel
// has an answer of its own.
func (w *watcher) changed(p *process, name string, a [6]uint64) *found {
	if name == "fchown" || name == "fchmod" {
		f, d, err := p.descriptor(int32(a[0]))
		if err != nil {
			return nil
		}
		if d.flags&unix.O_PATH != 0 || !strings.HasPrefix(f.name, "/") {
			f.close()
			return nil
		}
		return f
	}
	c, ok := pathCallOf(p, name, a)
	if !ok {
		return nil
	}
	f, err := p.find(p.path(c.directory, c.address), c.nofollow)
	if err != nil {
		return nil
	}
	if !p.reaches(f) {
		f.close()
		return nil
	}
	return f
}

// noID leaves an owner or a group as it is.
const noID = ^uint32(0)

func (w *watcher) chownRefusal(p *process, f *found, owner, group uint32) *refusal {
	mine := p.uids[3] == f.stat.Uid
	if owner != noID {
		id, ok := p.uidMap.outside(owner)
		if !ok {
			return nil // EINVAL
		}
		if owner = id; !mine || id != f.stat.Uid {
			mine = false
		}
	}
	if group != noID {
		id, ok := p.gidMap.outside(group)
		if !ok {
			return nil
		}
		mine = mine && (id == f.stat.Gid || id == p.gids[3] || slices.Contains(p.groups, id))
	}
	if mine {
		return nil
	}
	return w.owns(p, f, unix.CAP_CHOWN, "chown")
}

// owns is the refusal for want of a capability over a file: it counts only
// where the file's owner and group are of the box.
func (w *watcher) owns(p *process, f *found, number int, capability string) *refusal {
	if !p.uidMap.maps(f.stat.Uid) || !p.gidMap.maps(f.stat.Gid) {
		r := w.lacking(p, capability)
		r.hint = "none: the file's owner is not one of the box's users"
		return r
	}
	return w.wants(p, number, capability)
}
