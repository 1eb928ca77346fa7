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
	uids, gids  [4]uint32
	groups      []uint32
	effective   uint64
	uidMap      idRanges
	gidMap      idRanges
}

// observe looks at a process; nil when it cannot be seen.
func observe(pid uint32) *process {
	p := &process{pid: pid, root: -1}
	if !p.readStatus() {
		return nil
	}
	p.uidMap, p.gidMap = readRanges(proc(pid, "uid_map")), readRanges(proc(pid, "gid_map"))
	var err error
	if p.root, err = unix.Open(proc(pid, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil
	}
	return p
}

func (p *process) close() { unix.Close(p.root) }

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
			p.leader = numbers(words)[0]
		case "Uid":
			copy(p.uids[:], numbers(words))
		case "Gid":
			copy(p.gids[:], numbers(words))
		case "Groups":
			p.groups = numbers(words)
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
	if !ok || name == "" || len(name) >= unix.PathMax {
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
	name string // without symbolic links
	stat unix.Statx_t
	ro   bool // the mount or its file system is read-only
}

// find opens a path as the process would, without following its last part
// where nofollow is set. It never opens the file itself.
func (p *process) find(name string, nofollow bool) (*found, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	if nofollow {
		how.Flags |= unix.O_NOFOLLOW
	}
	fd, err := unix.Openat2(p.root, name, &how)
	if err != nil {
		return nil, err
	}
	f := &found{fd: fd}
	var fs unix.Statfs_t
	if err = unix.Fstatfs(fd, &fs); err == nil {
		err = unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &f.stat)
	}
	if err == nil {
		f.name, err = os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	}
	if err != nil {
		f.close()
		return nil, err
	}
	f.ro = fs.Flags&unix.ST_RDONLY != 0
	return f, nil
}

func (f *found) close() { unix.Close(f.fd) }

func (f *found) is(kind uint16) bool { return f.stat.Mode&unix.S_IFMT == kind }

// may says whether the mode of a file permits what is asked, of 4 read, 2 write
// and 1 search, path_resolution(7). Where an access list or a filesystem of its
// own mind could say otherwise, nobody relies on a yes alone.
func (p *process) may(f *found, want uint16) bool {
	const override, search = unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH
	if p.uidMap.maps(f.stat.Uid) && p.gidMap.maps(f.stat.Gid) && (p.has(override) || want&2 == 0 && p.has(search)) {
		return true
	}
	mode := f.stat.Mode
	switch {
	case p.uids[3] == f.stat.Uid:
		mode >>= 6
	case p.gids[3] == f.stat.Gid || slices.Contains(p.groups, f.stat.Gid):
		mode >>= 3
	}
	return mode&want == want
}

// reaches says whether the process may search every directory above a file.
func (p *process) reaches(f *found) bool {
	for i, c := range f.name {
		if c != '/' {
			continue
		}
		d, err := p.find(f.name[:i+1], false)
		if err != nil {
			return false
		}
		ok := p.may(d, 1)
		d.close()
		if !ok {
			return false
		}
	}
	return true
}
