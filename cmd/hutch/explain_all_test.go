package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hutch/runner"
)

// An access is what a box is made to try. errno is what the kernel answers, told
// what --explain=all is to say of it, "" for nothing, and line the line of a
// profile, "" for any. Of two answers, split by "|", the first is told and the
// second not: it depends on the ids that the box has, or on whether the caller
// is root.
type access struct{ name, python, errno, told, line string }

// accessBoxes are the boxes, with what is tried in each.
//
// To add an access: a row, with an expression of Python's.
var accessBoxes = []struct {
	name, profile string
	flags         []string
	accesses      []access
}{
	{"mounts", "", nil, []access{
		{"new file on a read-only root", `os.open("/usr/new", os.O_CREAT|os.O_WRONLY)`, "EROFS", "path /usr/new openat", `filesystem.tmpfs = ["/usr"]  # empty; or bind a directory there with :rw`},
		{"cut a file there", `os.open("/etc/passwd", os.O_TRUNC|os.O_WRONLY)`, "EROFS", "path /etc/passwd openat", ""},
		{"new directory there", `os.mkdir("/usr/dir")`, "EROFS", "path /usr/dir mkdir", ""},
		{"remove there", `os.unlink("/etc/group")`, "EROFS", "path /etc/group unlink", ""},
		{"rename there", `os.rename("/etc/fstab", "/etc/other")`, "EROFS", "path /etc/fstab rename", ""},
		{"symbolic link there", `os.symlink("a", "/etc/link")`, "EROFS", "path /etc/link symlink", ""},
		{"link there", `os.link("/etc/passwd", "/etc/passwd2")`, "EROFS", "path /etc/passwd2 link", ""},
		{"node there", `os.mkfifo("/etc/fifo")`, "EROFS", "path /etc/fifo mknodat", ""},
		{"mode there", `os.chmod("/etc/shells", 0o644)`, "EROFS", "path /etc/shells chmod", ""},
		{"mode there, by descriptor", `os.fchmod(os.open("/etc/services", os.O_RDONLY), 0o644)`, "EROFS", "path /etc/services fchmod", ""},
		{"owner there", `os.lchown("/etc/motd", 0, 0)`, "EROFS", "path /etc/motd lchown", ""},
		{"times there", `os.utime("/etc/issue")`, "EROFS", "path /etc/issue utimensat", ""},
		{"length there", `os.truncate("/etc/passwd", 0)`, "EROFS|EACCES", "path /etc/passwd truncate", ""},
		{"a socket there", `socket.socket(socket.AF_UNIX).bind("/etc/socket")`, "EROFS", "path /etc/socket bind", ""},
		{"a read-only bind", `os.open("/bound/f", os.O_CREAT|os.O_WRONLY)`, "EROFS", "path /bound/f openat", `filesystem.bind = ["BOUND:/bound:rw"]`},
		{"a relative name", `os.chdir("/bound") or os.open("g", os.O_CREAT|os.O_WRONLY)`, "EROFS", "path /bound/g openat", ""},
		{"whether one may write", `c("access", b"/bound/own", os.W_OK)`, "EROFS", "path /bound/own access", ""},
		{"whether one may read", `c("access", b"/bound/own", os.R_OK)`, "0", "", ""},
		{"mode forbids", `os.open("/bound/shut", os.O_WRONLY)`, "EACCES|EROFS", "", ""},
		{"read", `os.open("/etc/passwd", os.O_RDONLY)`, "0", "", ""},
		{"what is not there", `os.open("/etc/none", os.O_RDONLY)`, "ENOENT", "", ""},
		{"what is there already", `os.mkdir("/usr/bin")`, "EEXIST", "", ""},
		{"exclusively", `os.open("/etc/passwd", os.O_CREAT|os.O_EXCL|os.O_WRONLY)`, "EEXIST", "", ""},
		{"to another mount", `os.rename("/etc/passwd", "/tmp/p")`, "EXDEV", "", ""},
		{"a directory for writing", `os.open("/etc", os.O_WRONLY)`, "EISDIR", "", ""},
		{"write where one may", `os.open("/tmp/x", os.O_CREAT|os.O_WRONLY)`, "0", "", ""},
		{"a device", `os.open("/dev/null", os.O_WRONLY)`, "0", "", ""},
		{"a device on a mount without", `os.open("/hostdev/null", os.O_RDONLY)`, "EACCES", "path /hostdev/null openat", "none: no profile gives a box a device of the host's"},
		{"a program on a mount without", `os.execv("/proc/cpuinfo", ["x"])`, "EACCES", "", ""},
	}},
	{"hidden", "", nil, []access{
		{"open", `os.open("/etc/ssl/certs", os.O_RDONLY)`, "ENOENT", "path /etc/ssl/certs openat", `leave "/etc/ssl" out of filesystem.hidden, or of --hide`},
		{"stat", `os.stat("/etc/ssl/a")`, "ENOENT", "path /etc/ssl/a newfstatat|stat", ""},
		{"lstat", `os.lstat("/etc/ssl/b")`, "ENOENT", "path /etc/ssl/b newfstatat|lstat", ""},
		{"statx", `c("statx", -100, b"/etc/ssl/c", 0, 0xfff, ctypes.create_string_buffer(256))`, "ENOENT", "path /etc/ssl/c statx", ""},
		{"access", `c("access", b"/etc/ssl/d", 0)`, "ENOENT", "path /etc/ssl/d access", ""},
		{"faccessat", `c("faccessat", -100, b"/etc/ssl/e", 4, 0x200)`, "ENOENT", "path /etc/ssl/e faccessat2", ""},
		{"readlink", `os.readlink("/etc/ssl/f")`, "ENOENT", "path /etc/ssl/f readlink", ""},
		{"chdir", `os.chdir("/etc/ssl/g")`, "ENOENT", "path /etc/ssl/g chdir", ""},
		{"execute", `os.execv("/etc/ssl/h", ["x"])`, "ENOENT", "path /etc/ssl/h execve", ""},
		{"deeper", `os.open("/etc/ssl/i/j/k", os.O_RDONLY)`, "ENOENT", "path /etc/ssl/i/j/k openat", ""},
		{"through a link", `os.symlink("/etc/ssl", "/tmp/l") or os.open("/tmp/l/m", os.O_RDONLY)`, "ENOENT", "path /etc/ssl/m openat", ""},
		{"write", `os.open("/etc/ssl/n", os.O_CREAT|os.O_WRONLY)`, "EROFS", "path /etc/ssl/n openat", `leave "/etc/ssl" out of filesystem.hidden, or of --hide`},
		{"the directory itself", `os.open("/etc/ssl", os.O_RDONLY|os.O_DIRECTORY)`, "0", "path /etc/ssl openat", ""},
		{"a socket", `socket.socket(socket.AF_UNIX).connect("/etc/ssl/o")`, "ENOENT", "path /etc/ssl/o connect", ""},
		{"a hidden file", `os.open("/etc/hostname", os.O_RDONLY)`, "0", "path /etc/hostname openat", ""},
		{"what was never there", `os.stat("/etc/sslx")`, "ENOENT", "", ""},
		{"by way of its parent", `os.stat("/etc/ssl/../none")`, "ENOENT", "", ""},
	}},
	{"Landlock", "", nil, []access{
		{"a new file", `os.open("/dev/x", os.O_CREAT|os.O_WRONLY)`, "EACCES", "path /dev/x openat", "landlock.filesystem = false"},
		{"a new directory", `os.mkdir("/dev/y")`, "EACCES", "path /dev/y mkdir", ""},
		{"a node", `os.mkfifo("/dev/z")`, "EACCES", "path /dev/z mknodat", ""},
		{"a device node", `os.mknod("/dev/w", 0o20600, os.makedev(1, 3))`, "EACCES", "path /dev/w mknodat", ""},
		{"a socket", `socket.socket(socket.AF_UNIX).bind("/dev/s")`, "EACCES", "path /dev/s bind", ""},
		{"a link", `os.symlink("a", "/dev/l")`, "EACCES", "path /dev/l symlink", ""},
		{"a hard link", `os.link("/dev/fd", "/dev/h", follow_symlinks=False)`, "EACCES", "path /dev/fd linkat|link", ""},
		{"a rename", `os.rename("/dev/stdin", "/dev/r")`, "EACCES", "path /dev/stdin rename", ""},
		{"an exchange", `c("renameat2", -100, b"/dev/stdout", -100, b"/dev/stderr", 2)`, "EACCES", "path /dev/stdout renameat2", ""},
		{"taking a name away", `os.unlink("/dev/ptmx")`, "EACCES", "path /dev/ptmx unlink", "landlock.filesystem = false"},
		{"taking a mount away", `os.unlink("/dev/zero")`, "EACCES", "path /dev/zero unlink", "none: something is mounted there, which only hutch takes away"},
		{"taking nothing away", `os.unlink("/dev/none")`, "ENOENT", "", ""},
		{"renaming nothing", `os.rename("/dev/none", "/dev/q")`, "ENOENT", "", ""},
		{"renaming where one may", `os.close(os.open("/tmp/a", os.O_CREAT)) or os.mkdir("/tmp/d") or os.rename("/tmp/a", "/tmp/d/a")`, "0", "", ""},
		{"linking where one may", `os.link("/tmp/d/a", "/tmp/b")`, "0", "", ""},
		{"mode forbids", `os.chmod("/tmp/d", 0) or os.open("/tmp/d/a", os.O_RDONLY)`, "EACCES|0", "", ""},
		{"a signal out of the scope", `os.kill(1, 0)`, "EPERM", "process process 1 kill", "landlock.scopes = false"},
		{"a signal to oneself", `os.kill(os.getpid(), 0)`, "0", "", ""},
		{"a signal to nobody", `os.kill(4000000, 0)`, "ESRCH", "", ""},
	}},
	{"lists", "[landlock]\nread = [\"/usr\", \"/etc\", \"/proc\", \"/dev\"]\nlist = [\"/run\"]\nwrite = [\"/work\", \"/dev\"]\nexecute = [\"/usr\"]\nconnect = [80]\nbind = [8080]\n", nil, []access{
		{"read", `os.open("/opt", os.O_RDONLY)`, "EACCES", "path /opt openat", `add "/opt" to landlock.list`},
		{"write", `os.open("/tmp/x", os.O_CREAT|os.O_WRONLY)`, "EACCES", "path /tmp/x openat", `add "/tmp" to landlock.write`},
		{"a name that is more than a line", `os.mkdir("/work/a\"]\nb") or os.open("/work/a\"]\nb", os.O_RDONLY)`, "EACCES", "path /work/a\"]\nb openat", `add "/work/a\"]\u000Ab" to landlock.list`},
		{"a name that is no text", `os.mkdir(b"/work/\xff") or os.open(b"/work/\xff", os.O_RDONLY)`, "EACCES", "path /work/\ufffd openat", "none: a profile cannot name a path that is not UTF-8; name one above it in landlock.list"},
		{"rename in one", `os.close(os.open("/work/a", os.O_CREAT|os.O_WRONLY)) or os.rename("/work/a", "/work/b")`, "0", "", ""},
		{"make and read", `os.open("/work/c", os.O_CREAT)`, "EACCES", "path /work/c openat", `add "/work" to landlock.read`},
		{"rename out", `os.rename("/work/b", "/run/a")`, "EXDEV", "", ""},
		{"execute", `os.execv("/work/program", ["x"])`, "EACCES", "path /work/program execve", `add "/work/program" to landlock.execute`},
		{"connect", `socket.socket().connect(("127.0.0.1", 81))`, "EACCES", "network 127.0.0.1:81 connect", "add 81 to landlock.connect"},
		{"bind", `socket.socket().bind(("127.0.0.1", 8081))`, "EACCES", "network 127.0.0.1:8081 bind", "add 8081 to landlock.bind"},
	}},
	{"between lists", "[landlock]\nwrite = [\"/work/in\", \"/work/out\", \"/dev\"]\nread = [\"/usr\", \"/etc\", \"/proc\", \"/dev\", \"/work/out\"]\n", nil, []access{
		{"where more is allowed", `os.rename("/work/in/file", "/work/out/file")`, "EXDEV", "path /work/in/file rename", "none: it would have more rights there; copy it and remove the old one"},
		{"where nothing is", `os.rename("/work/in/other", "/work/other")`, "EACCES", "path /work/in/other rename", `add "/work" to landlock.write`},
		{"where less is", `os.close(os.open("/work/out/b", os.O_CREAT|os.O_WRONLY)) or os.rename("/work/out/b", "/work/in/b")`, "0", "", ""},
	}},
	{"capabilities", "[seccomp]\nallow = [\"mount\", \"umount2\", \"pivot_root\", \"fsopen\", \"unshare\", \"setns\", \"sethostname\", \"setdomainname\", \"clock_settime\", \"settimeofday\", \"ptrace\"]\n", nil, []access{
		{"mount", `c("mount", b"x", b"/tmp", b"tmpfs", 0, None)`, "EPERM", "capability CAP_SYS_ADMIN mount", ""},
		{"mount nowhere", `c("mount", b"x", b"/none", b"tmpfs", 0, None)`, "ENOENT", "", ""},
		{"umount", `c("umount2", b"/tmp", 2)`, "EPERM", "capability CAP_SYS_ADMIN umount2", ""},
		{"pivot_root", `c("syscall", 155, b"/tmp", b"/tmp")`, "EPERM", "capability CAP_SYS_ADMIN pivot_root", ""},
		{"fsopen", `c("syscall", 430, b"tmpfs", 0)`, "EPERM", "capability CAP_SYS_ADMIN fsopen", ""},
		{"unshare", `c("unshare", 0x04000000)`, "EPERM", "capability CAP_SYS_ADMIN unshare", ""},
		{"setns", `c("setns", os.open("/proc/self/ns/uts", os.O_RDONLY), 0)`, "EPERM", "capability CAP_SYS_ADMIN setns", ""},
		{"setns to a file", `c("setns", os.open("/etc/passwd", os.O_RDONLY), 0)`, "EINVAL", "", ""},
		{"sethostname", `socket.sethostname("x")`, "EPERM", "capability CAP_SYS_ADMIN sethostname", ""},
		{"setdomainname", `c("setdomainname", b"x", 1)`, "EPERM", "capability CAP_SYS_ADMIN setdomainname", ""},
		{"clock_settime", `time.clock_settime(time.CLOCK_REALTIME, 1)`, "EPERM", "capability CAP_SYS_TIME clock_settime", "none: the clock is the machine's, and no capability in a user namespace sets it"},
		{"settimeofday", `c("syscall", 164, (ctypes.c_long * 2)(1, 0), None)`, "EPERM", "capability CAP_SYS_TIME settimeofday", ""},
		{"priority", `os.setpriority(os.PRIO_PROCESS, 0, -5)`, "EACCES", "capability CAP_SYS_NICE setpriority", ""},
		{"a lower priority", `os.setpriority(os.PRIO_PROCESS, 0, 1)`, "0", "", ""},
		{"trace process 1", `c("ptrace", 16, 1, None, None)`, "EPERM", "process process 1 ptrace", ""},
		{"trace nobody", `c("ptrace", 16, 4000000, None, None)`, "ESRCH", "", ""},
		{"a device", `os.mknod("/tmp/null", 0o20600, os.makedev(1, 3))`, "EPERM", "capability CAP_MKNOD mknodat", ""},
		{"chroot", `os.chroot("/tmp")`, "EPERM", "capability CAP_SYS_CHROOT chroot", ""},
		{"chroot to nowhere", `os.chroot("/none")`, "ENOENT", "", ""},
		{"another user", `os.setuid(1)`, "EPERM|EINVAL", "capability CAP_SETUID setuid", ""},
		{"another group", `os.setgid(1)`, "EPERM|EINVAL", "capability CAP_SETGID setgid", ""},
		{"the same user", `os.setuid(os.getuid())`, "0", "", ""},
		{"groups", `os.setgroups([])`, "EPERM", "capability CAP_SETGID setgroups", ""},
		{"another owner", `os.close(os.open("/tmp/x", os.O_CREAT)) or os.chown("/tmp/x", 1, -1)`, "EPERM|EINVAL", "capability CAP_CHOWN chown", ""},
		{"another owner, by descriptor", `os.fchown(os.open("/tmp/x", os.O_RDONLY), 1, -1)`, "EPERM|EINVAL", "capability CAP_CHOWN fchown", ""},
		{"another group of a file", `os.lchown("/tmp/x", -1, 1)`, "EPERM|EINVAL", "capability CAP_CHOWN lchown", ""},
		{"the same owner", `os.chown("/tmp/x", os.getuid(), -1)`, "0", "", ""},
		{"mode of another's file", `os.chmod("/work/theirs", 0o600)`, "EPERM|0", "capability CAP_FOWNER chmod", ""},
		{"a low port", `socket.socket().bind(("127.0.0.1", 80))`, "EACCES", "capability CAP_NET_BIND_SERVICE bind", ""},
		{"a high port", `socket.socket().bind(("127.0.0.1", 8080))`, "0", "", ""},
		{"a raw socket", `socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)`, "EPERM", "capability CAP_NET_RAW socket", ""},
		{"another host", `socket.socket().connect(("192.0.2.1", 80))`, "ENETUNREACH", "network 192.0.2.1:80 connect", `network.mode = "host"`},
		{"another host, IPv6", `socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80))`, "ENETUNREACH", "network [2001:db8::1]:80 connect", ""},
		{"a datagram", `socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53))`, "ENETUNREACH", "network 192.0.2.1:53 sendto", ""},
		{"a message", `socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b"x"], [], 0, ("192.0.2.2", 53))`, "ENETUNREACH", "network 192.0.2.2:53 sendmsg", ""},
		{"nobody listens", `socket.socket().connect(("127.0.0.1", 80))`, "ECONNREFUSED", "", ""},
	}},
	{"other users", "[process]\nuser = \"root\"\n[capabilities]\nadd = [\"setuid\"]\n[seccomp]\nallow = [\"ptrace\"]\n", nil, []access{
		{"a signal", `os.kill(other(), 0)`, "EPERM", "capability CAP_KILL kill", `capabilities.add = ["kill"]`},
		{"a thread's signal", `(lambda n: c("tgkill", n, n, 0))(other())`, "EPERM", "capability CAP_KILL tgkill", `capabilities.add = ["kill"]`},
		{"a signal to go on", `os.kill(other(), 18)`, "0", "", ""},
		{"trace", `c("ptrace", 16, other(), None, None)`, "EPERM", "capability CAP_SYS_PTRACE ptrace", `capabilities.add = ["sys_ptrace"]`},
		{"trace one's own", `c("ptrace", 16, other(0), None, None)`, "0", "", ""},
	}},
	{"the host's network", "", []string{"--net", "host"}, []access{
		{"a socket out of the scope", `socket.socket(socket.AF_UNIX).connect("\0ABSTRACT")`, "EPERM", "network unix:@ABSTRACT connect", "landlock.scopes = false"},
		{"a socket of nobody", `socket.socket(socket.AF_UNIX).connect("\0ABSTRACT-none")`, "ECONNREFUSED", "", ""},
		{"a socket of the box", `(lambda s: s.bind("\0ABSTRACT-own") or s.listen() or socket.socket(socket.AF_UNIX).connect("\0ABSTRACT-own"))(socket.socket(socket.AF_UNIX))`, "0", "", ""},
		{"a low port", `socket.socket().bind(("127.0.0.1", 80))`, "EACCES", "capability CAP_NET_BIND_SERVICE bind", "none: on the host's network no capability of a box counts; take a port from 1024 on"},
		{"a raw socket", `socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)`, "EPERM", "capability CAP_NET_RAW socket", ""},
	}},
	{"limits", "", []string{"--open-files", "20"}, []access{
		{"fewer files", `os.close(os.open("/etc/passwd", os.O_RDONLY))`, "0", "", ""},
		{"one more file", `[os.open("/etc/passwd", os.O_RDONLY) for _ in range(30)]`, "EMFILE", "limit open-files openat", "limits.open_files = 40  # it was 20"},
	}},
	{"the size of files", "", []string{"--file-size", "1000"}, []access{
		{"up to it", `os.write(os.open("/tmp/a", os.O_CREAT|os.O_WRONLY), b"x" * 2000)`, "0", "", ""},
		{"over it", `os.pwrite(os.open("/tmp/a", os.O_WRONLY), b"x", 1000)`, "EFBIG", "limit file-size pwrite64", `limits.file_size = "2000"  # it was 1000`},
		{"at its end", `os.write(os.open("/tmp/a", os.O_WRONLY|os.O_APPEND), b"x")`, "EFBIG", "limit file-size write", ""},
		{"in several parts", `os.writev(os.open("/tmp/a", os.O_WRONLY|os.O_APPEND), [b"x", b"y"])`, "EFBIG", "limit file-size writev", ""},
		{"longer", `os.ftruncate(os.open("/tmp/a", os.O_WRONLY), 1001)`, "EFBIG", "limit file-size ftruncate", ""},
		{"shorter", `os.ftruncate(os.open("/tmp/a", os.O_WRONLY), 999)`, "0", "", ""},
		{"nothing", `os.pwrite(os.open("/tmp/a", os.O_WRONLY), b"", 5000)`, "0", "", ""},
		{"what is only read", `os.pwrite(os.open("/tmp/a", os.O_RDONLY), b"x", 5000)`, "EBADF", "", ""},
		{"a pipe", `os.write(os.pipe()[1], b"x")`, "0", "", ""},
	}},
}

// accessPrelude is what the expressions use.
const accessPrelude = `
import ctypes, errno, os, socket, time
libc = ctypes.CDLL(None, use_errno=True)
def c(name, *args):
 if getattr(libc, name)(*args) < 0: raise OSError(ctypes.get_errno(), name)
def other(uid=1):
 r, w = os.pipe()
 pid = os.fork()
 if pid == 0:
  os.setuid(uid)
  os.write(w, b"x")
  time.sleep(100)
 if os.read(r, 1) != b"x": raise SystemExit("no other user")
 return pid
def tried(f):
 try:
  f()
  print(0)
 except OSError as e:
  print(errno.errorcode[e.errno])
`

// An accessRun is one box of accessBoxes, and the directories that are bound.
type accessRun struct {
	t                     *testing.T
	bound, work, abstract string
	script, profile       string
	flags                 []string
}

func newAccessRun(t *testing.T, box int) *accessRun {
	b := &accessBoxes[box]
	a := &accessRun{t: t, bound: t.TempDir(), work: t.TempDir(), profile: "default"}
	a.abstract = strings.ReplaceAll(a.work, "/", "-")
	listener, err := net.Listen("unix", "@"+a.abstract)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	for _, dir := range []string{a.bound, a.work} {
		if err := os.Chmod(dir, 0o777); err != nil { // other ids are in there
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"own": 0o666, "shut": 0} {
		write(t, filepath.Join(a.bound, name), "", mode)
	}
	write(t, filepath.Join(a.work, "program"), "#!/bin/sh\n", 0o755)
	for _, dir := range []string{"in", "out"} {
		if err := os.Mkdir(filepath.Join(a.work, dir), 0o777); err != nil || os.Chmod(filepath.Join(a.work, dir), 0o777) != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(a.work, "in/file"), "", 0o666)
	write(t, filepath.Join(a.work, "in/other"), "", 0o666)
	write(t, filepath.Join(a.work, "theirs"), "", 0o666)
	if os.Getuid() == 0 {
		if err := os.Chown(filepath.Join(a.work, "theirs"), 5, 5); err != nil {
			t.Fatal(err)
		}
	}
	var script strings.Builder
	script.WriteString(accessPrelude)
	for _, try := range b.accesses {
		script.WriteString("tried(lambda: " + try.python + ")\n")
	}
	a.script = a.filled(script.String())
	for _, f := range b.flags {
		a.flags = append(a.flags, a.filled(f))
	}
	if b.profile != "" {
		a.profile = filepath.Join(t.TempDir(), "p.toml")
		write(t, a.profile, "version = 1\nextends = [\"default\"]\n"+b.profile, 0o600)
	}
	return a
}

func (a *accessRun) filled(s string) string {
	return strings.NewReplacer("BOUND", a.bound, "WORK", a.work, "ABSTRACT", a.abstract).Replace(s)
}

// answers runs the box, and returns an answer for each access.
func (a *accessRun) answers(flags ...string) []string {
	args := []string{"run", "--timeout", "1m", "--profile", a.profile, "--bind", a.bound + ":/bound", "--bind", "/dev:/hostdev", "--bind", a.work + ":/work:rw", "--hide", "/etc/ssl", "--hide", "/etc/hostname"}
	args = slices.Concat(args, a.flags, flags, []string{"host", "--", "python3", "-I", "-c", a.script})
	out, err := exec.Command("hutch", args...).Output()
	if err != nil {
		a.t.Fatalf("%v: %s", err, out)
	}
	return strings.Fields(string(out))
}

// Every answer is the one without explaining, and what is told is what was
// refused, no more.
func TestExplainAll(t *testing.T) {
	t.Parallel()
	for i, box := range accessBoxes {
		t.Run(box.name, func(t *testing.T) {
			t.Parallel()
			if box.name == "other users" && os.Geteuid() != 0 {
				return // whose box of the host's files has one; his guests have all
			}
			testAccesses(t, i)
		})
	}
}

// The same in a guest, whose kernel may lack what hutch reads memory with. The
// host's network is not there.
func TestExplainAllInGuest(t *testing.T) {
	t.Parallel()
	debian, err := exec.LookPath("linux.uml")
	if err != nil {
		t.Fatal(err)
	}
	engines := [][]string{{"--engine", "uml", "--kernel", debian}}
	for _, small := range umlKernels() {
		if _, err := os.Stat(small); err == nil && len(engines) == 1 {
			engines = append(engines, []string{"--engine", "uml", "--kernel", small})
		}
	}
	for _, engine := range engines {
		for i, box := range accessBoxes {
			t.Run(filepath.Base(engine[3])+" "+box.name, func(t *testing.T) {
				// Debian's kernel has neither Landlock nor IPv6. What of the host's files an
				// ordinary caller may not write is refused there for that.
				simple := box.name == "hidden" || box.name == "mounts" && os.Geteuid() == 0
				if slices.Contains(box.flags, "--net") || engine[3] == debian && !simple {
					return
				}
				t.Parallel()
				testAccesses(t, i, slices.Concat(engine, []string{"--user", "root"})...) // there, every caller may be
			})
		}
	}
}

// testAccesses runs a box unexplained and explained, in an engine.
func testAccesses(t *testing.T, i int, engine ...string) {
	box := &accessBoxes[i]
	plain := newAccessRun(t, i).answers(engine...)
	a, file := newAccessRun(t, i), filepath.Join(t.TempDir(), "result.json")
	explained := a.answers(slices.Concat(engine, []string{"--explain=all", "--result", file})...)
	if len(plain) != len(box.accesses) || len(explained) != len(box.accesses) {
		t.Fatalf("%d accesses, %d and %d answers", len(box.accesses), len(plain), len(explained))
	}
	told := toldIn(t, file)
	for i, try := range box.accesses {
		if plain[i] != explained[i] {
			t.Errorf("%s: %s without explaining, %s with it", try.name, plain[i], explained[i])
		}
		first, second, _ := strings.Cut(try.errno, "|")
		if plain[i] != first && plain[i] != second {
			t.Errorf("%s: %s, want %s", try.name, plain[i], try.errno)
		}
		if try.told != "" && plain[i] == first {
			a.expect(try, told)
		}
	}
	for key, d := range told {
		t.Errorf("told of what was not refused: %s: %+v", key, d)
	}
}

// expect takes what was told of one access out of all that was.
func (a *accessRun) expect(try access, told map[string]runner.Denial) {
	words, calls := try.told[:strings.LastIndexByte(try.told, ' ')+1], try.told[strings.LastIndexByte(try.told, ' ')+1:]
	errno, _, _ := strings.Cut(try.errno, "|")
	for _, call := range strings.Split(calls, "|") { // C libraries differ
		key := a.filled(words) + call
		d, ok := told[key]
		if !ok {
			continue
		}
		delete(told, key)
		if d.Errno != strings.TrimPrefix(errno, "0") {
			a.t.Errorf("%s: told of %s, want %s", try.name, d.Errno, errno)
		}
		if try.line != "" && d.Hint != a.filled(try.line) {
			a.t.Errorf("%s: told to write %q, want %q", try.name, d.Hint, a.filled(try.line))
		}
		return
	}
	a.t.Errorf("%s: nothing was told, want %s of %s", try.name, errno, try.told)
}

func write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

// toldIn is what a result tells.
func toldIn(t *testing.T, file string) map[string]runner.Denial {
	t.Helper()
	data, err := os.ReadFile(file)
	var r runner.Result
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]runner.Denial{}
	for _, d := range r.Denied {
		if d.Hint == "" || d.Count < 1 || len(d.Args) != 1 {
			t.Errorf("incomplete: %+v", d)
			continue
		}
		told[d.What+" "+d.Name+" "+d.Args[0]] = d
	}
	return told
}

// The line that is told allows what was refused.
func TestExplainAllLines(t *testing.T) {
	t.Parallel()
	bound := t.TempDir()
	for _, c := range []struct{ name, script, line string }{
		{"tmpfs", "touch /etc/new", `filesystem.tmpfs = ["/etc"]  # empty; or bind a directory there with :rw`},
		{"bind", "touch /bound/new", `filesystem.bind = ["` + bound + `:/bound:rw"]`},
		{"landlock", "touch /dev/new", "landlock.filesystem = false"},
		{"capability", "chroot /usr /bin/true", `capabilities.add = ["sys_chroot"]`},
		{"network", `python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 9))'`, `network.mode = "host"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			profile := filepath.Join(dir, "p.toml")
			run := func(name, profile string, flags ...string) (runner.Result, error) {
				file := filepath.Join(dir, name)
				args := append([]string{"run", "--explain=all", "--timeout", "1m", "--result", file, "--profile", profile}, flags...)
				err := exec.Command("hutch", append(args, "host", "--", "sh", "-c", c.script)...).Run()
				var r runner.Result
				if data, e := os.ReadFile(file); e != nil || json.Unmarshal(data, &r) != nil {
					t.Fatal(e)
				}
				return r, err
			}
			r, err := run("refused", "default", "--bind", bound+":/bound")
			if os.Getuid() != 0 && c.line == `capabilities.add = ["sys_chroot"]` {
				c.line = "none: no root is mapped into this box; run an image, or hutch as root"
			}
			if err == nil || len(r.Denied) != 1 || r.Denied[0].Hint != c.line {
				t.Fatalf("%v: %+v", err, r.Denied)
			}
			if os.Getuid() != 0 && (c.name == "capability" || c.name == "landlock") {
				return // there is no line; a user's own binary needs Landlock
			}
			text := "version = 1\nextends = [\"default\"]\n" + c.line + "\n"
			if err := os.WriteFile(profile, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			// Whether the machine has a route is its own affair.
			if r, err := run("allowed", profile); err != nil && c.name != "network" || len(r.Denied) != 0 {
				t.Errorf("with the line: %v: %+v", err, r.Denied)
			}
		})
	}
}
