package guest

import (
	"fmt"
	"io"
)

// A cpioWriter writes an archive as the kernel unpacks it into its initial
// root: the "newc" format, Documentation/driver-api/early-userspace/
// buffer-format.rst of the kernel's source. The same entries are the same
// bytes: there is no time, and inodes are counted.
type cpioWriter struct {
	w     io.Writer
	inode uint32
	at    int64
	err   error
}

// The types of an entry, inode(7).
const (
	cpioDir  = 0o040000
	cpioFile = 0o100000
	cpioChar = 0o020000
)

// An entry is a file of the archive. Name is relative to the root.
type entry struct {
	name         string
	mode         uint32
	uid, gid     uint32
	major, minor uint32 // of a device
	size         int64
	data         io.Reader
}

const (
	cpioHeader  = 110
	cpioTrailer = "TRAILER!!!"
	// maxEntry is what the size, eight hexadecimal digits, can say, less what
	// no initial root needs.
	maxEntry = 1 << 31
)

// add writes one entry.
func (c *cpioWriter) add(e entry) error {
	if e.size < 0 || e.size >= maxEntry {
		return fmt.Errorf("%s has %d bytes, too many for an initial root", e.name, e.size)
	}
	c.inode++
	links := 1
	if e.mode&cpioDir == cpioDir {
		links = 2
	}
	c.printf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		c.inode, e.mode, e.uid, e.gid, links, 0, e.size, 0, 0, e.major, e.minor, len(e.name)+1, 0, e.name)
	c.pad()
	if c.err != nil || e.size == 0 {
		return c.err
	}
	n, err := io.CopyN(c.w, e.data, e.size)
	c.at += n
	if c.err = err; err == io.EOF {
		c.err = fmt.Errorf("%s became shorter while it was read", e.name)
	}
	c.pad()
	return c.err
}

// close ends the archive.
func (c *cpioWriter) close() error {
	c.inode = 0
	c.printf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, len(cpioTrailer)+1, 0, cpioTrailer)
	c.pad()
	return c.err
}

func (c *cpioWriter) printf(format string, args ...any) {
	if c.err == nil {
		n, err := fmt.Fprintf(c.w, format, args...)
		c.at, c.err = c.at+int64(n), err
	}
}

// pad ends header and data at a multiple of four bytes.
func (c *cpioWriter) pad() {
	if n := -c.at & 3; n > 0 && c.err == nil {
		_, c.err = c.w.Write(make([]byte, n))
		c.at += n
	}
}
