package native

import (
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/seccomp"
)

// A run of which everything is explained has the kernel hold up the calls below
// too, although the filter allows them. Each goes on always: the kernel alone
// decides, and what it answers nobody here sees. What is told is what it cannot
// but answer, from what was there while the caller waited; what is in doubt is
// not told. Another thread may change it in between: this is for people.

// foreseeable are the calls that are looked at. To add one: its name here, and
// its case in pathCall, capabilityRefusal or networkRefusal.
var foreseeable = [...]string{
	"open", "openat", "openat2", "creat", "truncate",
	"mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat", "link", "linkat",
	"unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2",
	"chmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchownat", "utimensat",
	"chroot", "mount", "umount2", "unshare", "sethostname", "setdomainname", "settimeofday", "clock_settime",
	"setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups",
	"bind", "connect", "sendto", "execve",
}

// The kinds of what a Denial tells besides system calls.
const (
	refusedPath       = "path"
	refusedCapability = "capability"
	refusedNetwork    = "network"
)

// A refusal is one that the kernel is about to make.
type refusal struct {
	what, name    string
	errno         syscall.Errno // 0: it looks done, and is not
	hint, warning string
}

// foresee records what the kernel will refuse of a call that the filter allows.
func (w *watcher) foresee(fd int, n *notification) {
	p := observe(n.pid)
	if p == nil {
		return
	}
	defer p.close()
	name := seccomp.Name(seccomp.Arch(n.arch), int(n.nr))
	r := w.pathRefusal(p, name, n.args)
	if r == nil {
		r = w.narrowedCall(p, name, n.args)
	}
	if r == nil {
		r = w.capabilityRefusal(p, name, n.args)
	}
	if r == nil {
		r = w.networkRefusal(p, name, n.args)
	}
	if r != nil {
		w.denyRefusal(fd, n, name, r)
	}
}

// An intent is what a call does to a path.
type intent byte

const (
	opens    intent = iota
	creates         // a new name
	removes         // a name
	changes         // what is said of a file
	truncate        // its length
)

// A pathCall is a call's use of a path.
type pathCall struct {
	intent    intent
	directory int32
	address   uint64 // of the path
	flags     uint64 // of open
	nofollow  bool
	exists    string // a path that has to be there too; "?" if nobody knows
	right     uint64 // of Landlock's, for a new name
	same      string // a path whose directory has to be on the same mount
}

// pathCallOf says what a call does to a path; false for none.
func pathCallOf(p *process, name string, a [6]uint64) (c pathCall, ok bool) {
	at := func(dir int, is intent) pathCall {
		return pathCall{intent: is, directory: int32(a[dir]), address: a[dir+1]}
	}
	here := func(arg int, is intent) pathCall {
		return pathCall{intent: is, directory: unix.AT_FDCWD, address: a[arg]}
	}
	flags := uint64(0) // of an ...at call
	switch name {
	case "open":
		c, c.flags = here(0, opens), a[1]
	case "creat":
		c = here(0, opens)
		c.flags = unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC
	case "openat":
		c = at(0, opens)
		c.flags = a[2]
	case "openat2":
		how := memory(p.pid)(a[2], 24)
		if len(how) < 24 || word64(how[16:]) != 0 { // it resolves in a way of its own
			return c, false
		}
		c = at(0, opens)
		c.flags = word64(how)
	case "truncate":
		c = here(0, truncate)
	case "mkdir":
		c = here(0, creates)
	case "mknod":
		c = here(0, creates)
		return c, nodeKind(a[1])
	case "mkdirat":
		c = at(0, creates)
	case "mknodat":
		c = at(0, creates)
		return c, nodeKind(a[2])
	case "symlink":
		c = here(1, creates)
	case "symlinkat":
		c = at(1, creates)
	case "link":
		c = here(1, creates)
		c.exists = known(p.path(unix.AT_FDCWD, a[0]))
	case "linkat":
		c, flags = at(2, creates), a[4]
		c.exists = known(p.path(int32(a[0]), a[1]))
	case "unlink", "rmdir":
		c = here(0, removes)
	case "unlinkat":
		c = at(0, removes)
	case "rename":
		c = here(0, removes)
		c.same = known(p.path(unix.AT_FDCWD, a[1]))
	case "renameat":
		c = at(0, removes)
		c.same = known(p.path(int32(a[2]), a[3]))
	case "renameat2":
		c = at(0, removes)
		c.same = known(p.path(int32(a[2]), a[3]))
		flags = a[4]
	case "chmod", "chown":
		c = here(0, changes)
	case "lchown":
		c = here(0, changes)
		c.nofollow = true
	case "fchmodat":
		c = at(0, changes)
	case "fchmodat2":
		c, flags = at(0, changes), a[3]
	case "utimensat":
		c, flags = at(0, changes), a[3]
	case "fchownat":
		c, flags = at(0, changes), a[4]
	default:
		return c, false
	}
	if flags == unix.AT_SYMLINK_NOFOLLOW && c.intent == changes {
		c.nofollow, flags = true, 0
	}
	return c, flags == 0
}

// known keeps "cannot be told" apart from "not asked for".
func known(name string) string {
	if name == "" {
		return "?"
	}
	return name
}

// nodeKind says whether mknod(2) makes that kind at all.
func nodeKind(mode uint64) bool {
	return slices.Contains([]uint64{0, unix.S_IFREG, unix.S_IFCHR, unix.S_IFBLK, unix.S_IFIFO, unix.S_IFSOCK}, mode&unix.S_IFMT)
}

// pathRefusal foresees what a mount refuses.
func (w *watcher) pathRefusal(p *process, name string, args [6]uint64) *refusal {
	c, ok := pathCallOf(p, name, args)
	if !ok {
		return nil
	}
	given := p.path(c.directory, c.address)
	c.right = rightOf(name, args)
	if given == "" || c.exists == "?" || c.same == "?" {
		return nil
	}
	if c.exists != "" {
		f, err := p.find(c.exists, true)
		if err != nil {
			return nil
		}
		f.close()
	}
	if c.intent == creates || c.intent == removes {
		return w.entryRefusal(p, c, given)
	}
	f, err := p.find(given, c.nofollow || c.flags&unix.O_NOFOLLOW != 0)
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
	return w.fileRefusal(p, c, f)
}

// fileRefusal is about a file that exists: the mount is asked before Landlock.
func (w *watcher) fileRefusal(p *process, c pathCall, f *found) *refusal {
	if r := w.mountRefusal(p, c, f); r != nil {
		return r
	}
	return w.narrowedFile(p, c, f)
}

func (w *watcher) mountRefusal(p *process, c pathCall, f *found) *refusal {
	regular := f.is(unix.S_IFREG)
	writes := c.flags&unix.O_ACCMODE == unix.O_WRONLY || c.flags&unix.O_ACCMODE == unix.O_RDWR
	cuts := c.flags&unix.O_TRUNC != 0
	switch {
	case c.intent == opens && c.flags&unix.O_PATH != 0, !p.reaches(f):
		return nil
	case c.intent == opens && c.flags&unix.O_DIRECTORY == 0 && f.is(unix.S_IFCHR) && w.masked(f.name):
		return w.hidden(f.name, f.name, 0)
	case !f.ro, c.intent == opens && c.flags&(unix.O_CREAT|unix.O_EXCL) == unix.O_CREAT|unix.O_EXCL:
		return nil
	case c.intent == changes,
		c.intent == truncate && regular && p.may(f, 2),
		c.intent == opens && c.flags&unix.O_DIRECTORY == 0 && regular && (cuts || writes && p.may(f, openMode(c.flags))):
		return w.readOnly(f.name)
	}
	return nil
}

// openMode is what open asks of a file's mode.
func openMode(flags uint64) uint16 {
	if flags&unix.O_ACCMODE == unix.O_RDWR {
		return 6
	}
	return 2
}

// entryRefusal is about a name in a directory. The kernel asks whether the mount
// may be written to before it asks who may write to the directory.
func (w *watcher) entryRefusal(p *process, c pathCall, given string) *refusal {
	clean := strings.TrimRight(given, "/")
	last := path.Base(clean)
	if clean == "" || dots(clean) || dots(c.same) || clean != given && c.intent != removes {
		return nil
	}
	if c.intent != removes {
		f, err := p.find(clean, true)
		if err == nil { // EEXIST, or a link to what does not exist
			f.close()
		}
		if err != unix.ENOENT {
			return nil
		}
	}
	parent, err := p.find(clean[:len(clean)-len(last)]+".", false)
	if err != nil {
		return nil
	}
	defer parent.close()
	if !parent.ro {
		if r := w.narrowedEntry(p, c, parent, last); r != nil {
			return r
		}
		return w.landlocked(p, parent, last, c.right)
	}
	if !p.reaches(parent) || !p.may(parent, 1) {
		return nil
	}
	if c.same != "" {
		other, err := p.find(path.Dir(strings.TrimRight(c.same, "/")), false)
		if err != nil {
			return nil
		}
		defer other.close()
		if other.stat.Mnt_id != parent.stat.Mnt_id || !p.reaches(other) { // EXDEV
			return nil
		}
	}
	return w.readOnly(path.Join(parent.name, last))
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
	for above := path.Dir(strings.TrimRight(given, "/")); ; above = path.Dir(above) {
		f, err := p.find(above, false)
		if err == nil {
			defer f.close()
			if w.masked(f.name) && f.is(unix.S_IFDIR) && p.reaches(f) && p.may(f, 1) {
				return w.hidden(path.Join(f.name, strings.TrimPrefix(given, above)), f.name, unix.ENOENT)
			}
			return nil
		}
		if err != unix.ENOENT || above == "/" {
			return nil
		}
	}
}

// masked says whether a path is one that the box hides.
func (w *watcher) masked(name string) bool {
	return slices.ContainsFunc(w.spec.Hidden, func(h string) bool { return path.Clean(h) == name })
}

func (w *watcher) hidden(name, mask string, errno syscall.Errno) *refusal {
	r := &refusal{what: refusedPath, name: name, errno: errno, hint: "leave " + mask + " out of filesystem.hidden, or of --hide"}
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
		r.hint = `filesystem.bind = ["` + bind.Source + ":" + nearest + `:rw"]`
		r.warning = "what is written there is the host's"
	case w.spec.Root.Kind == runner.RootHost:
		r.hint = `filesystem.tmpfs = ["` + path.Dir(name) + `"]  # empty; or bind a directory there with :rw`
	default:
		r.hint = "filesystem.read_only = false"
	}
	return r
}

// below says whether a path is a directory or in it.
func below(name, directory string) bool {
	return name == directory || directory == "/" || strings.HasPrefix(name, directory+"/")
}
