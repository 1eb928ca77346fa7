package kvm

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/guest"
)

// A guest that was booted once is the same up to the moment at which it takes
// its orders. It is saved there, by QEMU's migration into a file, and later
// runs are given what was saved. Which run it is it learns afterwards, and then
// gets randomness and a clock of its own, see guest.Config.
//
// QEMU has it from a pipe: a file it could write to would reach later runs.
// Nothing depends on it: what cannot be saved, or restored, is booted.

// savedVersion changes when what is saved does.
const savedVersion = 1

const (
	// saveRoom is what must be free where a guest is saved, in bytes: its kernel,
	// process 1, and what booting has left in its memory.
	saveRoom = 256 << 20
	// savedMemory is the largest guest that is saved, in bytes: all of its pages
	// are looked at when it is restored, also those that hold nothing.
	savedMemory = 4 << 30
	// saveWithin bounds a save, and how long another's is waited for, where the
	// engine has no bound of its own for a boot.
	saveWithin = 30 * time.Second
)

// restore runs s in a guest that was saved, and saves one first where there is
// none. No process and no error: one has to be booted.
func (e *Engine) restore(ctx context.Context, g *prepared, l *layout, layers *guest.Layers, stdio runner.Stdio) (runner.Process, error) {
	// With KVM nobody could try it yet.
	if g.plan.accel != AccelTCG || g.plan.memory > savedMemory || e.Cache == "" {
		return nil, nil
	}
	name, err := e.saved(ctx, g)
	if err != nil {
		return nil, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil
	}
	defer f.Close()
	in, err := pour(f)
	if err != nil {
		return nil, nil
	}
	m, _, err := e.boot(ctx, g, l.files, restored, in)
	in.Close()
	if err != nil {
		return nil, err
	}
	runs := false
	m.Restored, m.Release = true, func() error {
		if !runs {
			return nil
		}
		return layers.Close()
	}
	p, err := guest.Start(ctx, m, l.config, stdio)
	if errors.Is(err, guest.ErrNotRestored) && ctx.Err() == nil {
		os.Remove(name)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	runs = true
	return p, nil
}

// pour returns a pipe from which all of f can be read, and nothing be written
// to it.
func pour(f *os.File) (*os.File, error) {
	from, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		unix.Close(from)
		return nil, err
	}
	unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, 1<<20) // it is only slower without
	go func() {
		defer unix.Close(from)
		defer unix.Close(p[1])
		for {
			n, err := unix.Splice(from, nil, p[1], nil, 1<<20, 0)
			if n <= 0 && !errors.Is(err, unix.EINTR) {
				return // the end, of the file or of who reads
			}
		}
	}()
	return os.NewFile(uintptr(p[0]), "saved guest"), nil
}

// saved is the file of a saved guest for g.
func (e *Engine) saved(ctx context.Context, g *prepared) (string, error) {
	key, err := g.key()
	if err != nil {
		return "", err
	}
	name := filepath.Join(e.Cache, guest.SavedPrefix+key)
	if usable(name) {
		now := time.Now()
		os.Chtimes(name, now, now) // the least used are removed
		return name, nil
	}
	ctx, stop := context.WithTimeout(ctx, cmp.Or(e.Boot, saveWithin))
	defer stop()
	unlock, err := lock(ctx, filepath.Join(e.Cache, guest.SavingPrefix+"lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if usable(name) {
		return name, nil
	}
	return name, e.save(ctx, g, name)
}

// usable says whether name can be restored: nobody but the caller may have
// written it, and QEMU would wait for ever for the first byte of none.
func usable(name string) bool {
	var st unix.Stat_t
	return unix.Lstat(name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG &&
		int(st.Uid) == os.Geteuid() && st.Mode&0o077 == 0 && st.Size > 0
}

// key tells apart what is not the same guest: by the files that it comes from,
// and by its machine.
func (g *prepared) key() (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %q %q\n", savedVersion, guest.Version, g.plan.args(booted), g.initramfs)
	for _, path := range append([]string{g.kernel, g.initramfs}, g.qemu.Files...) {
		id, err := identity("saved", path)
		if err != nil {
			return "", err
		}
		io.WriteString(h, id)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// lock keeps others from saving at the same time: whoever waits finds it done.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			return func() { f.Close() }, nil
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// save boots a guest like g, without what is a run's own, and saves it as name.
func (e *Engine) save(ctx context.Context, g *prepared, name string) (err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(e.Cache, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < saveRoom {
		return fmt.Errorf("no room to save a guest in %s", e.Cache)
	}
	f, err := os.CreateTemp(e.Cache, guest.SavingPrefix+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	defer f.Close()
	files, err := e.blanks(g)
	if err != nil {
		return err
	}
	q, theirs, err := newMonitor()
	if err != nil {
		return err
	}
	defer q.close()
	m, _, err := e.boot(ctx, g, files, toSave, theirs)
	theirs.Close()
	if err != nil {
		return err
	}
	defer func() {
		m.Process.Kill()
		m.Process.Wait()
		for _, f := range []*os.File{m.To, m.From, m.Console} {
			f.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { m.Process.Kill() })
	defer stop()
	go io.Copy(io.Discard, m.Console)
	if err := guest.NewConn(m.From, m.To).AwaitHello(); err != nil {
		return err
	}
	if err := q.save(f); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	guest.Prune(e.Cache)
	return nil
}

// blanks stand for the disks and shares, which are a run's own. A disk is as
// large as any can be: what the guest knows of it beyond its end is nothing.
func (e *Engine) blanks(g *prepared) ([]runner.Mount, error) {
	blank := filepath.Join(e.Cache, "blank")
	if err := os.WriteFile(blank, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(blank, blankSize); err != nil {
		return nil, err
	}
	empty := filepath.Join(e.Cache, "empty")
	if err := os.MkdirAll(empty, 0o755); err != nil {
		return nil, err
	}
	var list []runner.Mount
	for i := range g.plan.disks {
		list = append(list, runner.Mount{Type: runner.MountBind, Source: blank, Target: fmt.Sprintf("%s/%d", boxDisks, i), ReadOnly: true})
	}
	for i := range g.plan.shares {
		list = append(list, runner.Mount{Type: runner.MountBind, Source: empty, Target: fmt.Sprintf("%s/%d", boxShares, i), ReadOnly: true})
	}
	return list, nil
}

// blankSize is more than any layer's image has, and no room is taken for it.
const blankSize = 1 << 40
