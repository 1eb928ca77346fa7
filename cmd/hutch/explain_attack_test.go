package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"hutch/runner"
	"hutch/seccomp"
)

// attacks are what an application could do to hutch while it is explained. Each
// prints what it was answered, which must be the same unexplained. most is how
// many refusals may be told.
//
// To add one: a row, with a program of Python's behind attackPrelude.
var attacks = []struct {
	name    string
	most    int
	program string
}{
	{"calls with rubbish for arguments", 1000, `
r = random.Random(1)
whole = [0, 1, 2, 0xffffffff, -1, -100, 1 << 31, 1 << 62, 4096, 0x7fffffffffff, 0xffffffffff600000]
# At the same address in each run, where the kernel cannot write.
base = 1 << 32
libc.mmap.restype = ctypes.c_void_p
if libc.mmap(ctypes.c_void_p(base), ctypes.c_size_t(1 << 20), 3, 0x32, -1, ctypes.c_size_t(0)) != base: raise SystemExit("no memory")
texts = [base]
for t in (
 b"", b"/", b"//", b".", b"..", b"/..", b"/./", b"/etc/ssl/../..", b"/etc/ssl/" + b"x/" * 2000, b"/" + b"y" * 4200,
 b"/etc/\xff\xfe", b"/etc/\x1b[31m\r\n", b"/dev/\x07", b"/proc/self/fd/0/x", b"/proc/self/root/etc", b"/dev/fd/9/..", b"\0" * 64, b"\xff" * 64,
 b"\x01\0/etc/ssl/x", b"\x01\0\0x", b"\x02\0\0\x50\xc0\0\x02\x01" + b"\0" * 120, b"\x0a\0\0\x50" + b"\xff" * 120):
 ctypes.memmove(texts[-1], t + b"\0", len(t) + 1)
 texts.append(texts[-1] + len(t) + 1)
libc.mprotect(ctypes.c_void_p(base), 1 << 20, 1)
for _ in range(4000):
 args = [r.choice(whole) if r.random() < 0.4 else r.choice(texts) for _ in range(6)]
 nr = r.choice(numbers)
 ctypes.set_errno(0)
 answer = libc.syscall(ctypes.c_long(nr), *[ctypes.c_ulong(a & (2**64 - 1)) for a in args])
 print(nr, answer if answer < 0 else "ok", ctypes.get_errno())
`},
	{"more abstract sockets than are remembered", 0, `
for i in range(1100):
 s = socket.socket(socket.AF_UNIX)
 s.bind("\0explain-attack-%d" % i)
 s.listen()
 tried(lambda: socket.socket(socket.AF_UNIX).connect("\0explain-attack-%d" % i))
 s.close()
tried(lambda: socket.socket(socket.AF_UNIX).connect("\0explain-attack-none"))
`},
	{"abstract sockets with two lines", 0, `
a, b = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
a.bind("\0explain-attack\n0: 00000002 00000000 00010000 0001 01 1 @explain-other")
a.listen()
tried(lambda: b.connect("\0explain-other"))
`},
	{"names that speak to the terminal", 1000, `
for i in range(300):
 tried(lambda: os.mkdir("/etc/\x1b]0;title\x07\x1b[2J\r\n\u202e\udcff" + chr(i + 1)))
`},
	{"very many names", 1000, `
for i in range(2200):
 tried(lambda: os.mkdir("/etc/" + "./" * 1500 + str(i)))
 tried(lambda: os.stat("/etc/ssl/" + "x/" * 1000 + str(i)))
`},
	{"many long names", 999, `
for i in range(1000):
 tried(lambda: os.stat("/etc/ssl/" + ("\x01" * 200 + "/") * 19 + str(i)))
`},
	{"a deep directory", 1000, `
at = os.open("/tmp", os.O_RDONLY)
for i in range(400):
 os.mkdir("d", dir_fd=at)
 next = os.open("d", os.O_RDONLY, dir_fd=at)
 os.close(at)
 at = next
for i in range(5):
 tried(lambda: os.mknod("n", 0o20600, 0x103, dir_fd=at))
`},
	{"a thread that changes what is read", 1000, `
b = ctypes.create_string_buffer(b"/etc/none/x", 64)
stop = []
def change():
 while not stop:
  b[5:9] = b"ssl/"
  b[5:9] = b"\xff\0\x1b["
t = threading.Thread(target=change)
t.start()
for i in range(500):
 libc.mkdir(b, 0o700)
 libc.stat(b, b)
stop.append(1)
t.join()
print("done")
`},
	{"callers that are killed while they wait", 1000, `
for i in range(60):
 pid = os.fork()
 if pid == 0:
  while True:
   try: os.mkdir("/etc/killed")
   except OSError: pass
 time.sleep(0.005)
 os.kill(pid, 9)
 os.waitpid(pid, 0)
print("done")
`},
}

const attackPrelude = accessPrelude + `
import random, threading
`

// rubbishCalls are those that are looked at, but for what could end the caller
// or change its ids.
const rubbishCalls = "open openat openat2 creat truncate stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat chdir " +
	"mkdir mkdirat mknod mknodat symlink symlinkat link linkat unlink unlinkat rmdir rename renameat renameat2 " +
	"chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes utimensat " +
	"chroot mount umount2 pivot_root fsopen unshare setns sethostname setdomainname settimeofday clock_settime setpriority " +
	"setgroups socket bind connect sendto sendmsg sendmmsg execve execveat"

// numbered begins a program with the numbers of calls, of this architecture.
func numbered(names string) string {
	var b strings.Builder
	b.WriteString("numbers = [")
	for name := range strings.FieldsSeq(names) {
		if nr, ok := seccomp.Number(seccomp.Native(), name); ok {
			fmt.Fprintf(&b, "%d, ", nr)
		}
	}
	return b.String() + "]\n"
}

// Whatever the application does, hutch ends as it should, within its time, says
// nothing to the terminal, and keeps little.
func TestExplainAttacks(t *testing.T) {
	t.Parallel()
	for _, c := range attacks {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			run := func(file string, flags ...string) (answers, said string) {
				args := append([]string{"run", "--timeout", "2m", "--hide", "/etc/ssl", "--result", filepath.Join(dir, file)}, flags...)
				cmd := exec.Command("hutch", append(args, "host", "--", "python3", "-I", "-c", attackPrelude+numbered(rubbishCalls)+c.program)...)
				var text strings.Builder
				cmd.Stderr = &text
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v: %.2000s", err, text.String())
				}
				return string(out), text.String()
			}
			plain, _ := run("plain")
			explained, said := run("explained", "--explain=all")
			if plain != explained {
				t.Errorf("the answers differ: %s", firstDifference(plain, explained))
			}
			if at := strings.IndexFunc(said, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }); at >= 0 {
				t.Errorf("said to the terminal: %.100q", said[at:])
			}
			data, err := os.ReadFile(filepath.Join(dir, "explained"))
			var r runner.Result
			if err == nil {
				err = json.Unmarshal(data, &r)
			}
			if err != nil || len(data) > 64<<20 || len(r.Denied) > c.most {
				t.Errorf("the result has %d bytes and %d refusals, of %d at most: %v", len(data), len(r.Denied), c.most, err)
			}
		})
	}
}

func firstDifference(one, other string) string {
	a, b := strings.Split(one, "\n"), strings.Split(other, "\n")
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return "line " + a[i] + ", with explaining " + strings.Join(b[min(i, len(b)):min(i+1, len(b))], "")
		}
	}
	return ""
}
