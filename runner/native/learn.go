package native

import (
	"debug/elf"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/seccomp"
)

// A learner notes what the application uses, in the words of Landlock: by the
// names that files have without links, and for what is made during the run by
// the directory that it is made in, for a rule needs something that is there
// at the start.
type learner struct {
	spec *runner.Spec
	root int // of the box, 0 until the first call
	// seen is what a file's name, as the application wrote it, stood for.
	seen map[string]string
	// made are the names that the application has made.
	made map[string]struct{}
	uses map[runner.Use]struct{}
}

// mostUses bounds each of its tables: what an application does must not fill
// hutch's memory.
const mostUses = 50000

func newLearner(s *runner.Spec) *learner {
	return &learner{spec: s, seen: map[string]string{}, made: map[string]struct{}{}, uses: map[runner.Use]struct{}{}}
}

// A learned is what one call uses, kept once the kernel has said that the call
// still waited: until then it could have been read of another process.
type learned struct {
	made []string
	uses []runner.Use
}

func (s *learned) use(kind, name string) {
	if name != "" {
		s.uses = append(s.uses, runner.Use{Kind: kind, Name: name})
	}
}

// make notes a new name, and that its directory is written to.
func (s *learned) make(name string) {
	if name != "" {
		s.made = append(s.made, name)
		s.use("write", name)
	}
}

func (l *learner) keep(s learned) {
	for _, name := range s.made {
		if len(l.made) < mostUses {
			l.made[name] = struct{}{}
		}
	}
	for _, u := range s.uses {
		if u.Kind != "connect" && u.Kind != "bind" {
			u.Name = l.anchor(u.Name)
		}
		if len(l.uses) < mostUses {
			l.uses[u] = struct{}{}
		}
	}
}

// anchor is the nearest that a rule can name: of what was made during the run
// the directory that was there before. What /proc and /dev/pts hold comes and
// goes.
func (l *learner) anchor(name string) string {
	for _, fleeting := range [...]string{"/proc", "/dev/pts"} {
		if below(name, fleeting) {
			return fleeting
		}
	}
	at := name
	for up := name; up != "/"; up = path.Dir(up) {
		if _, made := l.made[up]; made {
			at = path.Dir(up)
		}
	}
	return at
}

// call is what a call that the filter allows uses.
func (l *learner) call(n *notification) (s learned) {
	p := &process{pid: n.pid, root: l.rootOf(n.pid)}
	if p.root == 0 {
		return s
	}
	switch name := seccomp.Name(seccomp.Arch(n.arch), int(n.nr)); name {
	case "execve":
		given := p.path(unix.AT_FDCWD, n.args[0])
		if given == "" {
			given = l.command(p)
		}
		l.execute(p, &s, given, 0)
	case "execveat":
		l.execute(p, &s, p.path(int32(n.args[0]), n.args[1]), 0)
	case "connect", "bind":
		l.address(p, &s, name, n.args)
	default:
		l.file(p, &s, name, n.args)
	}
	return s
}

// command is the program that the run is of. Until the application executes it
// an ordinary user cannot look into its process, which shares hutch's memory.
func (l *learner) command(p *process) string {
	for _, c := range Candidates(l.spec.Command[0], l.spec.Env) {
		if !path.IsAbs(c) {
			c = path.Join(l.spec.Workdir, c)
		}
		f, err := p.find(c, false)
		if err != nil {
			continue
		}
		executable := f.is(unix.S_IFREG) && f.stat.Mode&0o111 != 0
		f.close()
		if executable {
			return c
		}
	}
	return ""
}

// rootOf opens the root of the first process that is seen, or of its parent,
// the reaper, where that one cannot be looked into; it is the box's.
func (l *learner) rootOf(pid uint32) int {
	if l.root != 0 {
		return l.root
	}
	for _, who := range [...]uint32{pid, parentOf(pid)} {
		fd, err := unix.Open(proc(who, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == nil {
			l.root = fd
			break
		}
	}
	return l.root
}

// parentOf is a process's parent, proc_pid_stat(5), 0 where it is gone.
func parentOf(pid uint32) uint32 {
	text, _ := os.ReadFile(proc(pid, "stat"))
	if i := strings.LastIndexByte(string(text), ')'); i >= 0 {
		if words := strings.Fields(string(text[i+1:])); len(words) > 1 {
			return numbers(words[1:2])[0]
		}
	}
	return 0
}

func (l *learner) close() {
	if l.root != 0 {
		unix.Close(l.root)
	}
}

// file is what a call does to paths. A call that fails uses nothing: what is
// not there is found missing before Landlock is asked.
func (l *learner) file(p *process, s *learned, name string, args [6]uint64) {
	c, _ := pathCallOf(p, name, args)
	if c.address == 0 {
		return
	}
	given := p.path(c.directory, c.address)
	if given == "" {
		return
	}
	switch c.intent {
	case opens:
		l.open(p, s, given, c.flags)
	case truncate:
		s.use("write", l.find(p, given, false).name)
	case removes: // a rename, where there is another name
		s.use("write", l.parent(p, given))
		if c.same != "" {
			s.make(l.entry(p, c.same))
		}
	case creates:
		s.make(l.entry(p, given))
		if c.exists != "" { // a link moves a name out of a directory, to Landlock
			s.use("write", l.parent(p, c.exists))
		}
	}
}

func (l *learner) open(p *process, s *learned, given string, flags uint64) {
	if flags&unix.O_PATH != 0 {
		return
	}
	f := l.find(p, given, flags&unix.O_NOFOLLOW != 0)
	mode := flags & unix.O_ACCMODE
	switch {
	case f.name == "" && (!f.missing || flags&unix.O_CREAT == 0):
		return
	case f.name == "":
		f.name = l.entry(p, given)
		s.make(f.name)
	case f.directory:
		if mode == unix.O_RDONLY {
			s.use("list", f.name)
			return
		}
		s.use("write", f.name) // O_TMPFILE
	}
	if mode != unix.O_RDONLY || flags&unix.O_TRUNC != 0 {
		s.use("write", f.name)
	}
	if mode != unix.O_WRONLY {
		s.use("read", f.name)
	}
}

// A place is what a path leads to.
type placeOf struct {
	name               string // "" where that cannot be told
	directory, missing bool
}

// find looks a path up as the process would. What was found once is not looked
// for again.
func (l *learner) find(p *process, given string, nofollow bool) placeOf {
	if name, ok := l.seen[given]; ok && !nofollow {
		directory := strings.HasSuffix(name, "/")
		return placeOf{name: clean(name), directory: directory}
	}
	f, err := p.find(given, nofollow)
	if err != nil {
		return placeOf{missing: err == unix.ENOENT}
	}
	defer f.close()
	if f.is(unix.S_IFLNK) || !path.IsAbs(f.name) {
		return placeOf{}
	}
	to, name := placeOf{name: f.name, directory: f.is(unix.S_IFDIR)}, f.name
	if to.directory {
		name += "/"
	}
	if !nofollow && len(l.seen) < mostUses {
		l.seen[given] = name
	}
	return to
}

func clean(name string) string {
	if name == "/" || name == "//" {
		return "/"
	}
	return strings.TrimSuffix(name, "/")
}

// parent is the directory that a name lies in, without links.
func (l *learner) parent(p *process, given string) string {
	given = strings.TrimRight(given, "/")
	return l.find(p, given[:strings.LastIndexByte(given, '/')+1], false).name
}

// entry is a name that may not exist yet, with the links before it followed.
func (l *learner) entry(p *process, given string) string {
	given = strings.TrimRight(given, "/")
	at := l.parent(p, given)
	if at == "" || dots(given) {
		return at
	}
	return path.Join(at, path.Base(given))
}

// execute notes a program, and who the kernel opens to run it: the interpreter
// of a script, the loader of an ELF file.
func (l *learner) execute(p *process, s *learned, given string, depth int) {
	const deepest = 4 // BINPRM_LOOP_MAX
	if given == "" || depth > deepest {
		return
	}
	f, err := p.find(given, false)
	if err != nil {
		return
	}
	defer f.close()
	if !f.is(unix.S_IFREG) || !path.IsAbs(f.name) {
		return
	}
	s.use("execute", f.name)
	// It is the application's file: a regular one, opened without side effects.
	r, err := os.Open("/proc/self/fd/" + strconv.Itoa(f.fd))
	if err != nil {
		return
	}
	defer r.Close()
	l.execute(p, s, interpreter(r), depth+1)
}

// interpreter is the program that the kernel opens to run another, execve(2);
// "" for none.
func interpreter(r io.ReaderAt) string {
	head := make([]byte, 256) // BINPRM_BUF_SIZE
	n, _ := r.ReadAt(head, 0)
	if script, ok := strings.CutPrefix(string(head[:n]), "#!"); ok {
		line, _, _ := strings.Cut(script, "\n")
		if words := strings.Fields(line); len(words) > 0 {
			return words[0]
		}
		return ""
	}
	f, err := elf.NewFile(r)
	if err != nil {
		return ""
	}
	for _, part := range f.Progs {
		if part.Type == elf.PT_INTERP && part.Filesz < unix.PathMax {
			name := make([]byte, part.Filesz)
			n, _ := part.ReadAt(name, 0)
			return strings.TrimRight(string(name[:n]), "\x00")
		}
	}
	return ""
}

// address is where a socket is connected or bound to. Of a socket for datagrams
// Landlock knows nothing, and the name says so.
func (l *learner) address(p *process, s *learned, call string, args [6]uint64) {
	raw := memory(p.pid)(args[1], int(min(args[2], 128)))
	name := seccomp.Address(raw)
	if to, ok := inetAddress(p, args[1], args[2]); ok {
		if p.readStatus() && p.socket(int(int32(args[0])), to.Addr()) == unix.SOCK_DGRAM {
			name += "/udp"
		}
	} else if call == "bind" && len(raw) > 2 && raw[0] == unix.AF_UNIX && raw[2] != 0 {
		file, _, _ := strings.Cut(string(raw[2:]), "\x00")
		if !path.IsAbs(file) {
			at, _ := os.Readlink(proc(p.pid, "cwd"))
			file = path.Join(at, file)
		}
		s.make(l.entry(p, file))
	}
	s.use(call, name)
}
