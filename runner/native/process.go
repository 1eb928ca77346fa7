package native

import (
	"bufio"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/seccomp"
)

// A process is a caller that waits, looked at from outside: its files through
// /proc/PID/root, its ids and capabilities as proc_pid_status(5) has them for
// hutch.
type process struct {
	pid, leader uint32 // the thread and its process
	root        int    // a descriptor of its root
	kept        bool   // the watcher's, not to be closed
	loaded      bool   // what follows is
	boxed       uint32 // the leader's number in the box
	nested      bool   // in a PID namespace of its own making
	uids, gids  [4]uint32
	groups      []uint32
	effective   uint64
	permitted   uint64
	uidMap      idRanges
	gidMap      idRanges
}

// A fileID tells a file from all others that are there.
type fileID struct {
	ino          uint64
	major, minor uint32
}

func identify(st *unix.Statx_t) fileID { return fileID{st.Ino, st.Dev_major, st.Dev_minor} }

// observe looks at a process; nil when it cannot be seen. Most have the root of
// the first, which stays open.
func (w *watcher) observe(pid uint32) *process {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, proc(pid, "root"), 0, unix.STATX_INO|unix.STATX_MNT_ID, &st) != nil {
		return nil
	}
	id, mount := identify(&st), st.Mnt_id
	p := &process{pid: pid, root: w.root, kept: true}
	if w.root > 0 && id == w.rootID && mount == w.rootMount {
		return p
	}
	fd, err := unix.Open(proc(pid, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	p.root, p.kept = fd, false
	if w.root == 0 {
		w.root, w.rootID, w.rootMount, p.kept = fd, id, mount, true
		w.settle(p)
	}
	return p
}

func (p *process) close() {
	if !p.kept {
		unix.Close(p.root)
	}
}

// load reads whose process it is, once.
func (p *process) load() bool {
	if !p.loaded {
		p.loaded = p.readStatus()
		p.uidMap, p.gidMap = readRanges(proc(p.pid, "uid_map")), readRanges(proc(p.pid, "gid_map"))
	}
	return p.loaded
}

func (p *process) readStatus() bool {
	data, err := os.ReadFile(proc(p.pid, "status"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		words := strings.Fields(value)
		switch key {
		case "Tgid":
			p.leader = append(numbers(words), 0)[0]
		case "Uid":
			copy(p.uids[:], numbers(words))
		case "Gid":
			copy(p.gids[:], numbers(words))
		case "Groups":
			p.groups = numbers(words)
		case "NStgid":
			if n := numbers(words); len(n) > 0 {
				p.boxed, p.nested = n[len(n)-1], len(n) > 2
			}
		case "CapPrm":
			p.permitted, err = strconv.ParseUint(strings.Join(words, ""), 16, 64)
		case "CapEff":
			p.effective, err = strconv.ParseUint(strings.Join(words, ""), 16, 64)
		}
	}
	return err == nil && p.leader != 0
}

func numbers(words []string) []uint32 {
	list := make([]uint32, len(words))
	for i, w := range words {
		n, _ := strconv.ParseUint(w, 10, 32)
		list[i] = uint32(n)
	}
	return list
}

func (p *process) has(capability int) bool { return p.effective>>capability&1 != 0 }

// idRanges are the lines of a map of ids, user_namespaces(7), with what is
// outside as hutch sees it.
type idRanges [][3]uint32

func readRanges(file string) idRanges {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	var list idRanges
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if n := numbers(strings.Fields(lines.Text())); len(n) == 3 {
			list = append(list, [3]uint32(n))
		}
	}
	return list
}

// outside is the id that one inside stands for.
func (r idRanges) outside(id uint32) (uint32, bool) {
	for _, l := range r {
		if id-l[0] < l[2] && id >= l[0] {
			return id - l[0] + l[1], true
		}
	}
	return 0, false
}

// maps says whether an id of outside has one inside.
func (r idRanges) maps(id uint32) bool {
	return slices.ContainsFunc(r, func(l [3]uint32) bool { return id >= l[1] && id-l[1] < l[2] })
}

// path is the absolute name of what an argument names, in the process's root;
// "" when it cannot be told.
func (p *process) path(directory int32, address uint64) string {
	name, ok := seccomp.String(address, memory(p.pid))
	if !ok {
		return ""
	}
	return p.absolute(directory, name)
}

// absolute is the same of a name that was read already.
func (p *process) absolute(directory int32, name string) string {
	if name == "" || len(name) >= unix.PathMax {
		return ""
	}
	if name[0] == '/' {
		return name
	}
	base := "cwd"
	if directory != unix.AT_FDCWD {
		base = "fd/" + strconv.Itoa(int(directory))
	}
	at, err := os.Readlink(proc(p.pid, base))
	if root, e := os.Readlink(proc(p.pid, "root")); err != nil || e != nil || root != "/" || at[0] != '/' {
		return "" // after a chroot the names of directories begin elsewhere
	}
	return strings.TrimSuffix(at, "/") + "/" + name
}

// A found is a file of the box.
type found struct {
	fd   int
	stat unix.Statx_t
	name string // without symbolic links, once it was asked for
	// flags are of the mount and its file system, statfs(2).
	flags int64
	above []unix.Statx_t // the directories that lead to it, from the root, and it
}

// look opens a path as the process would, without following its last part where
// nofollow is set. It never opens the file itself.
func (p *process) look(name string, nofollow bool) (*found, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	if nofollow {
		how.Flags |= unix.O_NOFOLLOW
	}
	fd, err := unix.Openat2(p.root, name, &how)
	if err != nil {
		return nil, err
	}
	return stated(fd)
}

// lookAt is what one name in a directory is, not followed.
func lookAt(directory int, name string) (*found, error) {
	fd, err := unix.Openat(directory, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return stated(fd)
}

// stated asks what is known of an open file.
func stated(fd int) (*found, error) {
	f := &found{fd: fd}
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &f.stat); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// find looks, and asks for the name and the mount as well.
func (p *process) find(name string, nofollow bool) (*found, error) {
	f, err := p.look(name, nofollow)
	if err != nil {
		return nil, err
	}
	if err := f.place(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// A descriptorState is what fdinfo says, proc_pid_fdinfo(5).
type descriptorState struct{ flags, position uint64 }

// descriptor is what one of the process's descriptors is open on, and how.
func (p *process) descriptor(fd int32) (f *found, d descriptorState, err error) {
	number := strconv.Itoa(int(fd))
	for l := range strings.Lines(readFile(proc(p.pid, "fdinfo/"+number))) {
		key, value, _ := strings.Cut(l, ":")
		switch value = strings.TrimSpace(value); key {
		case "pos":
			d.position, _ = strconv.ParseUint(value, 10, 64)
		case "flags":
			d.flags, _ = strconv.ParseUint(value, 8, 64)
		}
	}
	at, err := unix.Open(proc(p.pid, "fd/"+number), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, d, err
	}
	if f, err = stated(at); err != nil {
		return nil, d, err
	}
	if err := f.place(); err != nil {
		f.close()
		return nil, d, err
	}
	return f, d, nil
}

// flagged reads the flags.
func (f *found) flagged() bool {
	var fs unix.Statfs_t
	err := unix.Fstatfs(f.fd, &fs)
	f.flags = int64(fs.Flags)
	return err == nil
}

// place reads the flags and the name.
func (f *found) place() (err error) {
	if !f.flagged() {
		return unix.ESTALE
	}
	f.name, err = os.Readlink("/proc/self/fd/" + strconv.Itoa(f.fd))
	return err
}

// readOnly says whether the mount or its file system is.
func (f *found) readOnly() bool { return f.flags&unix.ST_RDONLY != 0 }

func (f *found) close() { unix.Close(f.fd) }

func (f *found) is(kind uint16) bool { return f.stat.Mode&unix.S_IFMT == kind }

// may says whether the mode of a file permits what is asked, of 4 read, 2 write
// and 1 search, path_resolution(7). Where an access list or a filesystem of its
// own mind could say otherwise, nobody relies on a yes alone.
func (p *process) may(f *found, want uint16) bool { return p.mayStat(&f.stat, want) }

func (p *process) mayStat(f *unix.Statx_t, want uint16) bool {
	const override, search = unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH
	if p.uidMap.maps(f.Uid) && p.gidMap.maps(f.Gid) && (p.has(override) || want&2 == 0 && p.has(search)) {
		return true
	}
	mode := f.Mode
	switch {
	case p.uids[3] == f.Uid:
		mode >>= 6
	case p.gids[3] == f.Gid || slices.Contains(p.groups, f.Gid):
		mode >>= 3
	}
	return mode&want == want
}

// way are the directories that lead to a file from the root, and the file; nil
// when they are not to be had.
func (p *process) way(f *found) []unix.Statx_t {
	if f.above != nil || len(f.name) == 0 || f.name[0] != '/' {
		return f.above
	}
	// Each is opened from the one before: a name may have thousands of parts.
	at, list := -1, make([]unix.Statx_t, 1, 8)
	if unix.Statx(p.root, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &list[0]) != nil {
		return nil
	}
	parts := strings.Split(strings.Trim(f.name, "/"), "/")
	for _, part := range parts[:len(parts)-1] {
		from := at
		if from < 0 {
			from = p.root
		}
		d, err := lookAt(from, part)
		if at >= 0 {
			unix.Close(at)
		}
		if err != nil {
			return nil
		}
		at, list = d.fd, append(list, d.stat)
	}
	if at >= 0 {
		unix.Close(at)
	}
	if f.name != "/" {
		list = append(list, f.stat)
	}
	f.above = list
	return list
}

// reaches says whether the process may search every directory above a file.
func (p *process) reaches(f *found) bool {
	list := p.way(f)
	if list == nil {
		return false
	}
	for i := range list[:max(len(list)-1, 1)] {
		if !p.mayStat(&list[i], 1) {
			return false
		}
	}
	return true
}
