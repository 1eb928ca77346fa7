package native

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/runner/plan"
)

// rights are what the box's Landlock rules handle and allow, landlock(7).
type rights struct {
	handled uint64
	rules   []plan.Step
}

func rightsOf(p *plan.Plan) (r rights) {
	for _, s := range p.Steps {
		switch s.Kind {
		case plan.LandlockCreate:
			r.handled = s.Bits
		case plan.LandlockAllow:
			r.rules = append(r.rules, s)
		}
	}
	return r
}

// refuses says whether no rule above a path gives a right. A rule's target may
// be a link to the path's own name, so each is looked up.
func (r *rights) refuses(p *process, name string, right uint64) bool {
	if right == 0 || r.handled&right == 0 {
		return false
	}
	for _, s := range r.rules {
		if s.Bits&right == 0 {
			continue
		}
		f, err := p.find(s.Target, false)
		if err != nil {
			return false
		}
		at := f.name
		f.close()
		if below(name, at) {
			return false
		}
	}
	return true
}

// rightOf is what Landlock wants of a directory for a call on a name in it; 0
// where that is more than one thing.
func rightOf(name string, a [6]uint64) uint64 {
	mode := a[1]
	switch name {
	case "open", "openat", "openat2", "creat":
		return unix.LANDLOCK_ACCESS_FS_MAKE_REG
	case "unlink", "unlinkat":
		return unix.LANDLOCK_ACCESS_FS_REMOVE_FILE // flags, and so directories, are not foreseen
	case "rmdir":
		return unix.LANDLOCK_ACCESS_FS_REMOVE_DIR
	case "mkdir", "mkdirat":
		return unix.LANDLOCK_ACCESS_FS_MAKE_DIR
	case "symlink", "symlinkat":
		return unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	case "mknodat":
		mode = a[2]
		fallthrough
	case "mknod":
		switch mode & unix.S_IFMT {
		case 0, unix.S_IFREG:
			return unix.LANDLOCK_ACCESS_FS_MAKE_REG
		case unix.S_IFIFO:
			return unix.LANDLOCK_ACCESS_FS_MAKE_FIFO
		case unix.S_IFSOCK:
			return unix.LANDLOCK_ACCESS_FS_MAKE_SOCK
		}
	}
	return 0
}

// landlocked is the refusal of a new name in a directory that the file's mode
// would have granted.
func (w *watcher) landlocked(p *process, parent *found, last string, right uint64) *refusal {
	if !p.may(parent, 3) || !p.reaches(parent) || !w.rights.refuses(p, parent.name, right) {
		return nil
	}
	name := path.Join(parent.name, last)
	r := &refusal{
		what: refusedPath, name: name, errno: unix.EACCES,
		hint: `filesystem.tmpfs = ["` + parent.name + `"]  # empty; or bind a directory there with :rw`,
	}
	if parent.name == "/dev" || strings.HasPrefix(parent.name, "/proc") {
		r.hint = "landlock.filesystem = false"
		r.warning = "the layer that holds where a mount is forgotten is gone for every path"
	}
	return r
}
