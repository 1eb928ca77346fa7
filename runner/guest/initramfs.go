package guest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// An Initramfs says what a guest's initial root consists of.
type Initramfs struct {
	// Init is the file that becomes process 1. Where there is Program, it is the
	// file that carries that, and only stands for it in the name of what is built.
	Init string
	// Program opens what becomes process 1.
	Program func() (io.ReadCloser, error)
	// Modules are loaded in this order, see Modules.
	Modules []string
	// Dir keeps what was built; empty means that there is no place to.
	Dir string
}

// initOwner owns the files of the initial root: nobody's number, which no box
// in the guest maps, so that what runs there cannot write to hutch's binary.
const initOwner = 0x7ffffffe

// Path is the file, built when it is not there yet. The name is a digest of
// all that goes in.
func (i Initramfs) Path() (string, error) {
	fail := func(err error) (string, error) {
		var why *runner.Error
		if errors.As(err, &why) {
			return "", why
		}
		return "", &runner.Error{Stage: runner.StagePrepare, Step: "build the guest's initial root", Err: err, Hint: "there must be room in " + i.Dir + ", or set XDG_CACHE_HOME to a directory that can be written"}
	}
	if i.Init == "" {
		return fail(&runner.Error{Stage: runner.StagePrepare, Step: "the guest has no program for process 1", Hint: "the engine must be given one"})
	}
	digest, err := i.digest()
	if err != nil {
		return fail(err)
	}
	name := filepath.Join(i.Dir, "initramfs-"+digest+".cpio")
	if owned(name) {
		return name, nil
	}
	if err := os.MkdirAll(i.Dir, 0o700); err != nil {
		return fail(err)
	}
	if err := i.build(name); err != nil {
		return fail(err)
	}
	return name, nil
}

// moduleError is about a module that modules.dep names.
func moduleError(err error) error {
	return &runner.Error{
		Stage: runner.StagePrepare, Step: "module of the guest's kernel", Err: err,
		Hint: "install the modules of exactly this kernel, where you can read them, and run depmod; or name another kernel with --kernel",
	}
}

// owned says whether name is a file that nobody but the caller can write: what
// it holds runs in the guest before anything else.
func owned(name string) bool {
	var st unix.Stat_t
	return unix.Lstat(name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG &&
		(int(st.Uid) == os.Geteuid() || st.Uid == 0) && st.Mode&0o022 == 0
}

// digest is over what tells one content from another: of each file its name,
// place, size and the time of its last change, which nobody can set back.
func (i Initramfs) digest() (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %t\n", Version, initOwner, i.Program != nil)
	for n, name := range append([]string{i.Init}, i.Modules...) {
		var st unix.Stat_t
		if err := unix.Stat(name, &st); err != nil {
			err = &os.PathError{Op: "stat", Path: name, Err: err}
			if n > 0 {
				err = moduleError(err)
			}
			return "", err
		}
		fmt.Fprintf(h, "%q %d:%d %d %d.%d %d.%d\n", filepath.Base(name), st.Dev, st.Ino, st.Size, st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// build writes the file beside name and renames it, so that it is whole.
func (i Initramfs) build(name string) error {
	f, err := os.CreateTemp(i.Dir, ".initramfs-*")
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	if err = i.write(w); err == nil {
		err = w.Flush()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = i.publish(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	Prune(i.Dir)
	// What unpacking took is more than the rest of a run holds.
	debug.FreeOSMemory()
	return nil
}

// publish gives temp its name. One that somebody else has built meanwhile is
// left: a guest that is being started could not be shown a file without a name.
func (i Initramfs) publish(temp, name string) error {
	err := os.Link(temp, name)
	if err == nil || errors.Is(err, os.ErrExist) && owned(name) {
		return os.Remove(temp)
	}
	// What is not trusted, or a file system without links.
	return os.Rename(temp, name)
}

// write writes the archive.
func (i Initramfs) write(w io.Writer) error {
	c := &cpioWriter{w: w}
	for _, e := range [...]entry{
		{name: "dev", mode: cpioDir | 0o755},
		// The kernel opens it for process 1 before anything is mounted.
		{name: "dev/console", mode: cpioChar | 0o600, major: 5, minor: 1},
		{name: "dev/null", mode: cpioChar | 0o666, major: 1, minor: 3},
		{name: "modules", mode: cpioDir | 0o755},
	} {
		if err := c.add(e); err != nil {
			return err
		}
	}
	if err := i.addInit(c); err != nil {
		return err
	}
	for n, m := range i.Modules {
		if err := c.addFile(fmt.Sprintf("modules/%02d-%s", n, filepath.Base(m)), m, 0o644); err != nil {
			return moduleError(err)
		}
	}
	return c.close()
}

func (i Initramfs) addInit(c *cpioWriter) error {
	if i.Program == nil {
		return c.addFile("init", i.Init, 0o755)
	}
	f, err := i.Program()
	if err != nil {
		return err
	}
	defer f.Close()
	// Its size stands before it.
	data, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	return c.add(entry{name: "init", mode: cpioFile | 0o755, uid: initOwner, gid: initOwner, size: int64(len(data)), data: bytes.NewReader(data)})
}

// addFile adds the file from as name.
func (c *cpioWriter) addFile(name, from string, mode uint32) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return c.add(entry{name: name, mode: cpioFile | mode, uid: initOwner, gid: initOwner, size: info.Size(), data: f})
}
