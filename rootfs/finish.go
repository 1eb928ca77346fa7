package rootfs

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

// finishDirs gives the directories their owners, modes and times, when nothing
// is made in them any more. The writers have ended.
func (u *unpacker) finishDirs() error {
	nodes := make([]*dirNode, 0, len(u.tree.byID))
	for _, n := range u.tree.byID {
		nodes = append(nodes, n)
	}
	const parts = 4
	var wait sync.WaitGroup
	var stats [parts]Stats
	var errs [parts]error
	for i := range parts {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for j := i; j < len(nodes) && errs[i] == nil; j += parts {
				errs[i] = u.finishDir(nodes[j], &stats[i])
			}
		}()
	}
	wait.Wait()
	for i := range parts {
		u.stats.add(stats[i])
	}
	return errors.Join(errs[:]...)
}

// finishDir opens the directory anew if need be, and makes sure that it is the
// one that was meant: it may have been replaced by a later entry.
func (u *unpacker) finishDir(n *dirNode, st *Stats) error {
	h := n.h
	if h == nil { // a parent that no entry described
		h = &header{mode: 0o755}
	}
	fd := n.fd
	if fd < 0 {
		var err error
		fd, err = openat2(u.tree.root.fd, n.path, unix.O_RDONLY|unix.O_DIRECTORY, resolveInside)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return nil
		}
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		var now unix.Stat_t
		if err := unix.Fstat(fd, &now); err != nil {
			return err
		}
		if now.Dev != n.dev || now.Ino != n.ino {
			return nil
		}
	}
	mode, changed := u.owners.mode(h.mode, 0o700)
	if changed {
		st.Modes++
	}
	if _, err := u.owners.chown(fd, h, st); err != nil {
		return err
	}
	setUserXattrs(fd, h, st)
	if err := unix.Fchmod(fd, mode); err != nil {
		return err
	}
	setOtherXattrs(fd, h, st)
	if h.mtime.IsZero() {
		return nil
	}
	return unix.UtimesNanoAt(fd, ".", times(h), 0)
}
