package rootfs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/rootfs/internal/erofs"
)

// blocksDir holds block images, by what they were made from: sha256-HEX of a
// layer of the store, or tree-HEX of another directory. The file itself is
// locked: shared while in use, exclusively for its removal.
const blocksDir = "blocks"

// A BlockImage is a directory as a read-only EROFS file system for a guest's
// disk. Close it when the guest is gone.
type BlockImage struct {
	// Path is a file of the store. Nobody may write to it.
	Path  string
	Bytes int64
	// Made says that the image was not in the store yet.
	Made bool
	// Unreadable counts the files and directories of another user's, which are in the
	// image as something that nobody can open. It is zero unless Made.
	Unreadable int

	lock int
}

// Close lets go of the image, so that GC may remove it.
func (b *BlockImage) Close() error {
	if b == nil || b.lock < 0 {
		return nil
	}
	fd := b.lock
	b.lock = -1
	return unix.Close(fd)
}

// NewBlockImage gives the image of the directory dir, which it makes unless it
// is in the store. A layer of the store is found at once; any other directory
// is looked through first, and its image is made anew when anything in it has
// changed.
//
// Owners are kept if root makes it. For others, what is theirs belongs to
// root inside, as in their boxes, and the rest to nobody.
func NewBlockImage(ctx context.Context, dir string, opt Options) (*BlockImage, error) {
	s, err := storeAt(opt.Store)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(dir, LayerImage) {
		if b, err := layerBlock(dir); !errors.Is(err, errGone) {
			return b, err
		}
	}
	if name := s.layerName(dir); name != "" {
		if b, err := s.useBlock(name); err == nil {
			return b, nil
		}
	}
	tree, err := erofs.Scan(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("block image: %w", err)
	}
	defer tree.Close()
	name := s.layerName(dir)
	if name == "" {
		sum := tree.Fingerprint()
		name = "tree-" + hex.EncodeToString(sum[:])
		if b, err := s.useBlock(name); err == nil {
			return b, nil
		}
	}
	if err := s.create(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(s.path(blocksDir), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("store %s: %w", s.path(blocksDir), bare(err))
	}
	return s.makeBlock(ctx, tree, name)
}

// layerBlock gives a layer of the store that is an image already. errGone: it is
// a directory of that name.
func layerBlock(path string) (*BlockImage, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("block image: %s: %w", path, err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = errGone
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &BlockImage{Path: path, Bytes: st.Size, lock: fd}, nil
}

// layerName is the name of the store's entry whose tree is dir, or "".
func (s store) layerName(dir string) string {
	rest, ok := strings.CutPrefix(filepath.Clean(dir), s.path(layersDir)+"/")
	name, ok2 := strings.CutSuffix(rest, "/fs")
	if !ok || !ok2 || strings.Contains(name, "/") {
		return ""
	}
	return name
}

func (s store) useBlock(name string) (*BlockImage, error) {
	path := s.path(blocksDir, name)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errGone
	}
	var st unix.Stat_t
	if err = holdShared(fd); err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &BlockImage{Path: path, Bytes: st.Size, lock: fd}, nil
}

// makeBlock writes the image as a temporary, whole or not at all.
func (s store) makeBlock(ctx context.Context, tree *erofs.Tree, name string) (*BlockImage, error) {
	d, err := s.draft()
	if err != nil {
		return nil, err
	}
	defer d.discard()
	part := d.dir + "/image"
	out, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", part, bare(err))
	}
	st, err := tree.Write(ctx, out, erofs.Options{Owner: insideOwner()})
	// Read-only from here on, also for us: every guest shares it.
	if err == nil {
		err = out.Chmod(0o400)
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = unix.Renameat2(unix.AT_FDCWD, part, unix.AT_FDCWD, s.path(blocksDir, name), unix.RENAME_NOREPLACE)
	}
	if err != nil && !errors.Is(err, unix.EEXIST) { // which another process has just made
		return nil, fmt.Errorf("block image: %w", err)
	}
	b, err := s.useBlock(name)
	if err != nil {
		return nil, fmt.Errorf("store %s: %s was removed as soon as it was made: %w", s.dir, name, err)
	}
	b.Made, b.Unreadable = true, st.Unreadable
	return b, nil
}

// insideOwner is nil for root.
func insideOwner() func(uid, gid uint32) (uint32, uint32) {
	if os.Geteuid() == 0 {
		return nil
	}
	const nobody = 65534
	u, g := uint32(os.Geteuid()), uint32(os.Getegid())
	return func(uid, gid uint32) (uint32, uint32) {
		if uid = uid ^ u; uid != 0 {
			uid = nobody
		}
		if gid = gid ^ g; gid != 0 {
			gid = nobody
		}
		return uid, gid
	}
}

// gcBlocks removes block images, the least recently used first, until total, in
// which they are, is at most keep. They can be made again, so they go before
// any layer. It gives what is left of total.
func (s store) gcBlocks(total, keep int64, st *GCStats) int64 {
	names, err := os.ReadDir(s.path(blocksDir))
	if err != nil {
		return total
	}
	var list []storeEntry
	for _, n := range names {
		if fi, err := n.Info(); err == nil {
			list = append(list, storeEntry{n.Name(), fi.Size(), fi.ModTime()})
			total += fi.Size()
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].used.Before(list[j].used) })
	for _, e := range list {
		if total <= keep {
			break
		}
		switch err := s.removeBlock(e.name); {
		case err == nil:
			st.Entries++
			st.Bytes += e.bytes
			total -= e.bytes
		case errors.Is(err, errBusy):
			st.Busy++
		}
	}
	return total
}

func (s store) removeBlock(name string) error {
	path := s.path(blocksDir, name)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return errBusy
	}
	// Whoever removed it meanwhile may have been followed by one who made it anew.
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Nlink == 0 {
		return errGone
	}
	return os.Remove(path)
}
