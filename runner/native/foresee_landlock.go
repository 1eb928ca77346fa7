package native

import (
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"hutch/runner/plan"
)

// A layer is one of the box's rulesets, landlock(7): what no rule on the way to
// a file gives is refused.
type layer struct {
	narrow  bool // the profile's lists; else the box's own
	handled uint64
	ports   uint64
	scopes  uint64
	anchors []anchor
	open    []plan.Step // ports
}

// An anchor is a rule: rights below a file. The kernel ties them to the file and
// not to its name, so it is found once and kept.
type anchor struct {
	target string
	fd     int
	id     fileID
	bits   uint64
}

func layersOf(p *plan.Plan) (layers []layer) {
	for _, s := range p.Steps {
		switch s.Kind {
		case plan.LandlockCreate:
			layers = append(layers, layer{handled: s.Bits, scopes: s.Scopes})
		case plan.NarrowCreate:
			layers = append(layers, layer{narrow: true, handled: s.Bits, ports: s.Ports})
		case plan.LandlockAllow, plan.NarrowPath:
			l := &layers[len(layers)-1]
			l.anchors = append(l.anchors, anchor{target: s.Target, bits: s.Bits})
		case plan.NarrowPort:
			l := &layers[len(layers)-1]
			l.open = append(l.open, s)
		}
	}
	return layers
}

// settle finds what the rules name and what is hidden, before the application
// can change any of it.
func (w *watcher) settle(p *process) {
	w.masks = map[uint64]string{}
	for _, name := range w.spec.Hidden {
		if f, err := p.look(name, false); err == nil {
			if f.stat.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 { // else the box has left it out
				w.masks[f.stat.Mnt_id] = name
			}
			f.close()
		}
	}
	for i := range w.layers {
		for j := range w.layers[i].anchors {
			a := &w.layers[i].anchors[j]
			f, err := p.look(a.target, false)
			if err != nil { // it cannot be known what it allows
				w.blind = true
				continue
			}
			a.fd, a.id = f.fd, identify(&f.stat)
		}
	}
}

// unsettle closes what settle keeps.
func (w *watcher) unsettle() {
	if w.root > 0 {
		unix.Close(w.root)
	}
	for _, l := range w.layers {
		for _, a := range l.anchors {
			if a.fd > 0 {
				unix.Close(a.fd)
			}
		}
	}
}

// grants are the rights of a layer on a file, by the way that leads to it.
func (l *layer) grants(way []unix.Statx_t) (bits uint64) {
	for _, a := range l.anchors {
		for i := range way {
			if a.fd > 0 && identify(&way[i]) == a.id {
				bits |= a.bits
			}
		}
	}
	return bits
}

// lacks is the first layer that does not give all of some rights, and which of
// them; nil for none.
func (w *watcher) lacks(p *process, f *found, want uint64) (*layer, uint64) {
	way := p.way(f)
	if way == nil || w.blind {
		return nil, 0
	}
	for i := range w.layers {
		l := &w.layers[i]
		if left := want & l.handled &^ l.grants(way); left != 0 {
			return l, left
		}
	}
	return nil, 0
}

// landlocked is the refusal of rights on a file, or on a directory for a name in
// it; nil for none. The caller has seen that the modes allow it.
func (w *watcher) landlocked(p *process, at *found, name string, want uint64) *refusal {
	l, left := w.lacks(p, at, want)
	if l == nil || !p.reaches(at) {
		return nil
	}
	return l.refusal(at.name, name, left)
}

// refusal says what gives the rights on a place.
func (l *layer) refusal(at, name string, lack uint64) *refusal {
	r := &refusal{what: refusedPath, name: name, errno: unix.EACCES}
	switch {
	case l.narrow:
		r.hint = missingIn(at, lack)
	case strings.HasPrefix(at, "/dev") || strings.HasPrefix(at, "/proc"):
		r.hint = "landlock.filesystem = false"
		r.warning = "the layer that holds where a mount is forgotten is gone for every path"
	default:
		r.hint = line("filesystem.tmpfs", at, "empty; or bind a directory there with :rw")
	}
	return r
}

// missingIn names the list of the profile that a path is missing in.
func missingIn(at string, lack uint64) string {
	key := "write"
	switch {
	case lack&unix.LANDLOCK_ACCESS_FS_EXECUTE != 0:
		key = "execute"
	case lack&unix.LANDLOCK_ACCESS_FS_READ_FILE != 0:
		key = "read"
	case lack&unix.LANDLOCK_ACCESS_FS_READ_DIR != 0:
		key = "list"
	}
	if !utf8.ValidString(at) {
		return unnamed("landlock." + key)
	}
	return "add " + tomlString(at) + " to landlock." + key
}

// rightOf is what Landlock wants of a directory for a call on a name in it.
func rightOf(name string, a [6]uint64) uint64 {
	switch name {
	case "open", "openat", "openat2", "creat":
		return unix.LANDLOCK_ACCESS_FS_MAKE_REG
	case "unlinkat":
		if a[2]&unix.AT_REMOVEDIR != 0 {
			return unix.LANDLOCK_ACCESS_FS_REMOVE_DIR
		}
		return unix.LANDLOCK_ACCESS_FS_REMOVE_FILE
	case "unlink":
		return unix.LANDLOCK_ACCESS_FS_REMOVE_FILE
	case "rmdir":
		return unix.LANDLOCK_ACCESS_FS_REMOVE_DIR
	case "mkdir", "mkdirat":
		return unix.LANDLOCK_ACCESS_FS_MAKE_DIR
	case "symlink", "symlinkat":
		return unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	case "mknod":
		return makes(uint16(a[1]))
	case "mknodat":
		return makes(uint16(a[2]))
	}
	return 0
}

// makes is the right to make a name for a file of a type.
func makes(mode uint16) uint64 {
	switch mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	case unix.S_IFDIR:
		return unix.LANDLOCK_ACCESS_FS_MAKE_DIR
	case unix.S_IFCHR:
		return unix.LANDLOCK_ACCESS_FS_MAKE_CHAR
	case unix.S_IFBLK:
		return unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK
	case unix.S_IFIFO:
		return unix.LANDLOCK_ACCESS_FS_MAKE_FIFO
	case unix.S_IFSOCK:
		return unix.LANDLOCK_ACCESS_FS_MAKE_SOCK
	}
	return unix.LANDLOCK_ACCESS_FS_MAKE_REG
}

// takes is the right to take a name of a file away.
func takes(mode uint16) uint64 {
	if mode&unix.S_IFMT == unix.S_IFDIR {
		return unix.LANDLOCK_ACCESS_FS_REMOVE_DIR
	}
	return unix.LANDLOCK_ACCESS_FS_REMOVE_FILE
}

// fileRights is what Landlock wants of a file that is opened or cut.
func fileRights(c *pathCall, f *found) (want uint64) {
	if c.intent == truncate {
		return unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	mode := c.flags & unix.O_ACCMODE
	if mode != unix.O_WRONLY {
		want = unix.LANDLOCK_ACCESS_FS_READ_FILE
		if f.is(unix.S_IFDIR) {
			want = unix.LANDLOCK_ACCESS_FS_READ_DIR
		}
	}
	if mode != unix.O_RDONLY {
		want |= unix.LANDLOCK_ACCESS_FS_WRITE_FILE
	}
	if c.flags&unix.O_TRUNC != 0 && f.is(unix.S_IFREG) {
		want |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	return want
}

// landlockedFile is about a file that exists and whose mode grants what is asked.
func (w *watcher) landlockedFile(p *process, c pathCall, f *found) *refusal {
	switch {
	case c.intent == truncate:
		if !f.is(unix.S_IFREG) || !p.may(f, 2) {
			return nil
		}
	case c.intent != opens, c.flags&unix.O_PATH != 0, c.flags&(unix.O_CREAT|unix.O_EXCL) == unix.O_CREAT|unix.O_EXCL,
		!p.may(f, openMode(c.flags)):
		return nil
	case f.is(unix.S_IFDIR):
		if c.flags&(unix.O_ACCMODE|unix.O_CREAT|unix.O_TRUNC) != 0 {
			return nil
		}
	case !f.is(unix.S_IFREG) && !f.is(unix.S_IFCHR), c.flags&unix.O_DIRECTORY != 0:
		return nil
	}
	return w.landlocked(p, f, f.name, fileRights(&c, f))
}

// A mover is a name that is moved or linked: the directory, and the file that is
// there, nil for none.
type mover struct{ parent, file *found }

func (m *mover) close() {
	for _, f := range [...]*found{m.parent, m.file} {
		if f != nil {
			f.close()
		}
	}
}

// moverOf looks a name up, nil where the kernel has an answer of its own.
func moverOf(p *process, given string) *mover {
	if dots(given) || strings.HasSuffix(given, "/") {
		return nil
	}
	parent, err := p.find(given[:strings.LastIndexByte(given, '/')+1]+".", false)
	if err != nil {
		return nil
	}
	m := &mover{parent: parent}
	switch m.file, err = p.find(given, true); err {
	case nil:
	case unix.ENOENT:
		m.file = nil
	default:
		parent.close()
		return nil
	}
	return m
}

// moveRefusal is what Landlock says of a rename or a link, which the kernel asks
// in the order of current_check_refer_path: what may not be made or taken away is
// EACCES, and another directory with less of a right to refer, or with more of
// any right, is EXDEV.
func (w *watcher) moveRefusal(p *process, c pathCall, from, to *mover) *refusal {
	exchanges, links := c.flags&unix.RENAME_EXCHANGE != 0, c.same == ""
	switch {
	case from.file == nil, exchanges && to.file == nil, !exchanges && to.file != nil && (links || c.flags != 0),
		links && from.file.is(unix.S_IFDIR), below(path.Join(to.parent.name, "x"), from.file.name),
		!p.may(to.parent, 3), !links && !p.may(from.parent, 3), !p.reaches(from.parent), !p.reaches(to.parent):
		return nil
	}
	out, in := uint64(0), makes(from.file.stat.Mode)
	if exchanges {
		out = makes(to.file.stat.Mode)
	}
	if !links {
		out |= takes(from.file.stat.Mode)
	}
	if !links && to.file != nil {
		in |= takes(to.file.stat.Mode)
	}
	name := path.Join(from.parent.name, path.Base(from.file.name))
	if identify(&from.parent.stat) == identify(&to.parent.stat) {
		return w.landlocked(p, from.parent, name, out|in)
	}
	for _, side := range [...]struct {
		at   *found
		want uint64
	}{{from.parent, out}, {to.parent, in}} {
		if r := w.landlocked(p, side.at, name, side.want); r != nil {
			return r
		}
	}
	return w.referRefusal(p, from, to, exchanges, name)
}

// referRefusal is of a move between directories whose rights differ.
func (w *watcher) referRefusal(p *process, from, to *mover, exchanges bool, name string) *refusal {
	const refer = unix.LANDLOCK_ACCESS_FS_REFER
	one, other := p.way(from.parent), p.way(to.parent)
	if one == nil || other == nil || w.blind {
		return nil
	}
	// grows says whether the rights on a file are more where it comes to. Of one
	// that is no directory only those on files count.
	grows := func(l *layer, file *found, before, after uint64) bool {
		own := l.grants([]unix.Statx_t{file.stat})
		more := after &^ (before | own) & l.handled
		if !file.is(unix.S_IFDIR) {
			more &= landlockFile
		}
		return more != 0
	}
	for i := range w.layers {
		l := &w.layers[i]
		if l.handled == 0 {
			continue
		}
		here, there := l.grants(one), l.grants(other)
		if here&there&refer != 0 && !grows(l, from.file, here, there) && (!exchanges || !grows(l, to.file, there, here)) {
			continue
		}
		at := from.parent.name
		if there&refer == 0 {
			at = to.parent.name
		}
		r := l.refusal(at, name, refer)
		r.errno = unix.EXDEV
		if here&there&refer != 0 {
			r.hint = "none: it would have more rights there; copy it and remove the old one"
		}
		return r
	}
	return nil
}
