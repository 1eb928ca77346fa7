package native

import (
	"cmp"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// harmless says, with little reading, that nothing here could refuse a call:
// most that programs make look at files or read them.
func (w *watcher) harmless(p *process, c *pathCall) bool {
	reads := c.intent == looks && !c.writable ||
		c.intent == opens && c.flags&(unix.O_ACCMODE|unix.O_CREAT|unix.O_TRUNC) == unix.O_RDONLY && !w.readsNarrowed
	if !reads || c.intent == opens && w.spec.Limits.OpenFiles > 0 {
		return false
	}
	given := p.path(c.directory, c.address)
	if given == "" {
		return true
	}
	f, err := p.look(given, c.nofollow)
	if err == unix.ENOENT {
		f, err = nearest(p, given)
		if err != nil {
			return true
		}
	}
	if err != nil {
		return true
	}
	defer f.close()
	_, masked := w.masks[f.stat.Mnt_id]
	return !masked && (c.intent == looks || !f.isDevice() || f.flagged() && f.flags&unix.ST_NODEV == 0)
}

// nearest is what there is above a path that is not.
func nearest(p *process, given string) (*found, error) {
	if strings.Contains(given+"/", "/../") { // of a link that may be another directory
		return nil, unix.ENOENT
	}
	above := given
	for range mostMissing {
		above = path.Dir(strings.TrimRight(above, "/"))
		f, err := p.look(above, false)
		if err != unix.ENOENT || len(above) < 2 {
			return f, err
		}
	}
	return nil, unix.ENOENT
}

// mostMissing is how many directories may be missing: each is a look.
const mostMissing = 32

// pathRefusal foresees what a mount or Landlock refuses.
func (w *watcher) pathRefusal(p *process, c pathCall) *refusal {
	given := p.path(c.directory, c.address)
	if given == "" || c.exists == "?" || c.same == "?" {
		return nil
	}
	if c.intent == creates || c.intent == removes {
		return w.entryRefusal(p, c, given)
	}
	f, err := p.find(given, c.nofollow)
	if err == unix.ENOENT {
		if r := w.hiddenRefusal(p, given); r != nil && c.flags&unix.O_CREAT == 0 {
			return r
		}
		if c.intent == opens && c.flags&unix.O_CREAT != 0 && c.flags&unix.O_PATH == 0 && c.flags&unix.O_DIRECTORY == 0 {
			return w.entryRefusal(p, c, given)
		}
	}
	if err != nil {
		return nil
	}
	defer f.close()
	// The mount is asked before Landlock.
	if r := w.mountRefusal(p, c, f); r != nil {
		return r
	}
	return w.landlockedFile(p, c, f)
}

// mountRefusal is about a file that exists.
func (w *watcher) mountRefusal(p *process, c pathCall, f *found) *refusal {
	opened := c.intent == opens && c.flags&unix.O_PATH == 0
	writes := c.flags&unix.O_ACCMODE != unix.O_RDONLY
	mask, masked := w.masks[f.stat.Mnt_id]
	switch {
	case c.intent == opens && !opened, !p.reaches(f):
		return nil
	case masked && (f.is(unix.S_IFCHR) && c.flags&unix.O_DIRECTORY == 0 && (opened || c.intent == looks && !c.writable) ||
		f.is(unix.S_IFDIR) && opened && !writes && c.flags&unix.O_CREAT == 0 && p.may(f, 4)):
		return w.hidden(f.name, mask, 0)
	case c.intent == opens && c.flags&(unix.O_CREAT|unix.O_EXCL) == unix.O_CREAT|unix.O_EXCL:
		return nil
	case opened && f.isDevice() && f.flags&unix.ST_NODEV != 0 && c.flags&unix.O_DIRECTORY == 0:
		return &refusal{
			what: refusedPath, name: f.name, errno: unix.EACCES,
			hint: "none: no profile gives a box a device of the host's", warning: "a device is the host's kernel, and often all of its data",
		}
	case f.readOnly() && w.readOnlyRefuses(p, c, f):
		return w.readOnly(f.name)
	}
	return nil
}

// readOnlyRefuses says whether a read-only mount is what answers.
func (w *watcher) readOnlyRefuses(p *process, c pathCall, f *found) bool {
	regular := f.is(unix.S_IFREG)
	switch c.intent {
	case changes:
		return true
	case truncate:
		return regular && p.may(f, 2)
	case opens:
		cuts, writes := c.flags&unix.O_TRUNC != 0, c.flags&unix.O_ACCMODE != unix.O_RDONLY
		return regular && c.flags&unix.O_DIRECTORY == 0 && (cuts || writes && p.may(f, openMode(c.flags)))
	case looks: // access(2) asks with the real ids
		return c.writable && !f.isDevice() && !f.is(unix.S_IFIFO) && !f.is(unix.S_IFSOCK) &&
			p.uids[0] == p.uids[3] && p.gids[0] == p.gids[3] && p.effective == p.permitted && p.may(f, 6)
	}
	return false
}

// entryRefusal is about a name in a directory. The kernel asks whether the mount
// may be written to before it asks who may write to the directory.
func (w *watcher) entryRefusal(p *process, c pathCall, given string) *refusal {
	clean := strings.TrimRight(given, "/")
	last := path.Base(clean)
	if clean == "" || dots(clean) || dots(c.same) || clean != given && c.intent != removes {
		return nil
	}
	there, err := p.look(clean, true)
	if err == nil {
		there.close()
	}
	if c.intent != removes && err != unix.ENOENT { // EEXIST, or a link to what does not exist
		return nil
	}
	parent, e := p.find(clean[:len(clean)-len(last)]+".", false)
	if e != nil {
		return nil
	}
	defer parent.close()
	if c.same != "" || c.exists != "" {
		return w.twoNames(p, c, given, parent)
	}
	name := path.Join(parent.name, last)
	if parent.readOnly() {
		if !p.reaches(parent) || !p.may(parent, 1) {
			return nil
		}
		return w.readOnlyIn(parent, name)
	}
	if !p.may(parent, 3) || c.intent == removes && (err != nil || clean != given && c.right != unix.LANDLOCK_ACCESS_FS_REMOVE_DIR) {
		return nil
	}
	if r := w.landlocked(p, parent, name, c.right); r != nil {
		if there != nil && there.stat.Mnt_id != parent.stat.Mnt_id { // Landlock says it first
			r.hint, r.warning = "none: something is mounted there, which only hutch takes away", ""
		}
		return r
	}
	if c.intent == opens { // it is made, and then opened like any other
		return w.landlocked(p, parent, name, fileRights(&c, &found{}))
	}
	if c.device && p.reaches(parent) {
		return &refusal{
			what: refusedCapability, name: "CAP_MKNOD", errno: unix.EPERM,
			hint: "none: no capability in a user namespace makes devices; every box has the harmless ones in /dev",
		}
	}
	return nil
}

// readOnlyIn is of a name in a directory of a read-only mount.
func (w *watcher) readOnlyIn(parent *found, name string) *refusal {
	if mask, ok := w.masks[parent.stat.Mnt_id]; ok {
		return w.hidden(name, mask, unix.EROFS)
	}
	return w.readOnly(name)
}

// twoNames is about a rename or a link, of which both names have to be on one
// mount.
func (w *watcher) twoNames(p *process, c pathCall, given string, parent *found) *refusal {
	first, second := given, c.same
	if c.same == "" {
		first, second = c.exists, given
	}
	if !p.reaches(parent) || !p.may(parent, 1) {
		return nil
	}
	from, to := moverOf(p, first), moverOf(p, second)
	defer func() {
		for _, m := range [...]*mover{from, to} {
			if m != nil {
				m.close()
			}
		}
	}()
	if from == nil || to == nil || from.parent.stat.Mnt_id != to.parent.stat.Mnt_id || !p.reaches(from.parent) || !p.reaches(to.parent) {
		return nil // EXDEV
	}
	switch {
	case c.same == "" && (from.file == nil || from.file.stat.Mnt_id != to.parent.stat.Mnt_id):
		return nil
	case parent.readOnly():
		return w.readOnlyIn(parent, path.Join(parent.name, path.Base(given)))
	}
	return w.moveRefusal(p, c, from, to)
}

// dots says whether a path ends in . or .., for which the kernel has answers of
// their own.
func dots(name string) bool {
	name = strings.TrimRight(name, "/")
	last := name[strings.LastIndexByte(name, '/')+1:]
	return last == "." || last == ".."
}

// hiddenRefusal is about what is not there: below a directory that was covered
// with an empty one.
func (w *watcher) hiddenRefusal(p *process, given string) *refusal {
	f, err := nearest(p, given)
	if err != nil {
		return nil
	}
	defer f.close()
	mask, ok := w.masks[f.stat.Mnt_id]
	if !ok || !f.is(unix.S_IFDIR) || f.place() != nil || !p.reaches(f) || !p.may(f, 1) {
		return nil
	}
	above, rest := given, ""
	for len(above) > 1 { // the part that nearest has cut off
		d, err := p.look(above, false)
		if err == nil {
			d.close()
			break
		}
		above, rest = path.Dir(strings.TrimRight(above, "/")), path.Join(path.Base(above), rest)
	}
	return w.hidden(path.Join(f.name, rest), mask, unix.ENOENT)
}

func (w *watcher) hidden(name, mask string, errno syscall.Errno) *refusal {
	r := &refusal{what: refusedPath, name: name, errno: errno, hint: "leave " + tomlString(mask) + " out of filesystem.hidden, or of --hide"}
	if strings.HasPrefix(mask, "/proc/") || strings.HasPrefix(mask, "/sys/") {
		r.warning = "it tells of the host or reaches its kernel"
	}
	return r
}

// readOnly says what makes a path writable: of the mounts that are above it the
// nearest.
func (w *watcher) readOnly(name string) *refusal {
	r := &refusal{what: refusedPath, name: name, errno: unix.EROFS}
	nearest, bind := "", runner.Mount{}
	for _, m := range w.spec.Mounts {
		if t := path.Clean(m.Target); below(name, t) && len(t) >= len(nearest) {
			nearest, bind = t, m
		}
	}
	for _, t := range w.spec.Protected {
		if t = path.Clean(t); below(name, t) && len(t) >= len(nearest) {
			r.hint, r.warning = "leave "+t+" out of filesystem.protected, in a profile that does not extend one with it", "these settings are the kernel's, and some are the host's too"
			return r
		}
	}
	switch {
	case nearest != "":
		r.hint = line("filesystem.bind", cmp.Or(bind.Shown, bind.Source)+":"+nearest+":rw", "")
		r.warning = "what is written there is the host's"
	case w.spec.Root.Kind == runner.RootHost:
		r.hint = line("filesystem.tmpfs", path.Dir(name), "empty; or bind a directory there with :rw")
	default:
		r.hint = "filesystem.read_only = false"
	}
	return r
}

// below says whether a path is a directory or in it.
func below(name, directory string) bool {
	return name == directory || directory == "/" || strings.HasPrefix(name, directory+"/")
}

func (f *found) isDevice() bool { return f.is(unix.S_IFCHR) || f.is(unix.S_IFBLK) }
