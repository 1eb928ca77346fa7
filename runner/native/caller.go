package native

import (
	"bufio"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// largestProgram is the size up to which a file is searched for its symbols.
const largestProgram = 1 << 30

// caller names the function that made a call: the file that the instruction
// lies in, and the symbol before it where there is one.
func caller(n *notification) string {
	name, offset := mapped(n)
	if name == "" || name[0] != '/' {
		return name
	}
	text := path.Base(name)
	if symbol := symbolAt(n.pid, name, offset); symbol != "" {
		text += ": " + symbol
	}
	return text
}

// mapped is the file that the instruction lies in and the offset in it,
// proc_pid_maps(5).
func mapped(n *notification) (name string, offset uint64) {
	f, err := os.Open(proc(n.pid, "maps"))
	if err != nil {
		return "", 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var from, to, at, inode uint64
		var mode, device, file string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s %x %s %d %s", &from, &to, &mode, &at, &device, &inode, &file); err == nil && from <= n.ip && n.ip < to {
			return file, n.ip - from + at
		}
	}
	return "", 0
}

// symbolAt looks the offset up in a file of the box. The file is the
// application's: its name resolves inside the box's root, and only a regular
// file of a sane size is read.
func symbolAt(pid uint32, name string, offset uint64) string {
	root, err := unix.Open(proc(pid, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, name, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return ""
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > largestProgram {
		return ""
	}
	return symbolIn(file, offset)
}
