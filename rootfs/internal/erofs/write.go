package erofs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Options say how a tree becomes an image. The zero value is usable.
type Options struct {
	// Owner, if not nil, gives the owner inside for one of the host.
	Owner func(uid, gid uint32) (uint32, uint32)
}

// Stats say what is in an image.
type Stats struct {
	Bytes  int64 // of the image
	Inodes int64
	// Unreadable files and directories are there, and nobody can open them.
	Unreadable int
}

// errChanged is for a tree that somebody writes to.
var errChanged = errors.New("changed while it was read; let nothing write to the root while its image is made")

// Write makes the image in out, which must be empty. It must be called once.
func (t *Tree) Write(ctx context.Context, out *os.File, opt Options) (Stats, error) {
	l, err := t.place(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("%s: %w", t.dir, err)
	}
	if opt.Owner != nil {
		for _, n := range t.all {
			n.uid, n.gid = opt.Owner(n.uid, n.gid)
			ownACLs(n.xattrs, opt.Owner)
		}
	}
	if err := out.Truncate(l.blocks * blockSize); err != nil {
		return Stats{}, err
	}
	if err := t.writeAll(ctx, out); err != nil {
		return Stats{}, fmt.Errorf("%s: %w", t.dir, err)
	}
	features := uint32(0)
	if l.chunks {
		features = featureChunkedFile
	}
	super := superBlock(uint16(t.root.offset/slot), uint64(l.inodes), uint32(l.blocks), features)
	if _, err := out.WriteAt(super, superOffset); err != nil {
		return Stats{}, err
	}
	return Stats{Bytes: l.blocks * blockSize, Inodes: int64(l.inodes), Unreadable: t.Unreadable}, nil
}

// writeAll writes every inode with its data, some at a time.
func (t *Tree) writeAll(ctx context.Context, out *os.File) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan []*node)
	var crew sync.WaitGroup
	for range runtime.NumCPU() {
		crew.Go(func() {
			w := writer{tree: t, out: out}
			for list := range work {
				for _, n := range list {
					if ctx.Err() != nil {
						break
					}
					if err := w.node(ctx, n); err != nil {
						cancel(fmt.Errorf("%s: %w", n.path(), err))
					}
				}
			}
		})
	}
	const batch = 64
	for i := 0; i < len(t.all); i += batch {
		work <- t.all[i:min(len(t.all), i+batch)]
	}
	close(work)
	crew.Wait()
	return context.Cause(ctx)
}

// A writer writes nodes, one at a time.
type writer struct {
	tree *Tree
	out  *os.File
	buf  []byte
}

func (w *writer) node(ctx context.Context, n *node) (err error) {
	if n.first != nil {
		return nil
	}
	head, end := n.inode(), []byte(nil)
	switch {
	case n.is(unix.S_IFDIR):
		end, err = w.bytes(n, dirData(n.entries(), n.size))
	case n.is(unix.S_IFLNK):
		end, err = w.bytes(n, []byte(n.target))
	case n.is(unix.S_IFREG) && n.size > 0:
		end, err = w.file(ctx, n)
	}
	if err != nil {
		return err
	}
	_, err = w.out.WriteAt(append(head, end...), n.offset)
	return err
}

// bytes writes data to n's blocks and gives what goes behind the inode.
func (w *writer) bytes(n *node, data []byte) (end []byte, err error) {
	if k := n.inBlocks(); k > 0 {
		_, err = w.out.WriteAt(data[:k], int64(n.block)*blockSize)
		data = data[k:]
	}
	return data, err
}

// openFile opens n and makes sure that it is what was seen.
func (t *Tree) openFile(n *node) (int, error) {
	fd, err := t.open(n, unix.O_RDONLY|unix.O_NONBLOCK) // a FIFO that came meanwhile must not block
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && (st.Mode&unix.S_IFMT != unix.S_IFREG ||
		st.Dev != n.dev || st.Ino != n.ino || st.Size != n.size || st.Ctim != n.ctime) {
		err = errChanged
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// file copies n's data and gives what goes behind the inode: the end of the
// data, or the list of chunks.
func (w *writer) file(ctx context.Context, n *node) (end []byte, err error) {
	fd, err := w.tree.openFile(n)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), n.name)
	defer f.Close()
	if n.layout == layoutChunks {
		return w.chunks(ctx, n, f)
	}
	whole := n.inBlocks()
	if err := w.copy(ctx, f, 0, whole, int64(n.block)*blockSize); err != nil {
		return nil, err
	}
	end = make([]byte, n.size-whole)
	if err := readFull(f, end, whole); err != nil {
		return nil, err
	}
	return end, nil
}

func (w *writer) chunks(ctx context.Context, n *node, f *os.File) (list []byte, err error) {
	block := int64(n.block)
	for i, data := range n.chunks {
		if !data {
			list = binary.LittleEndian.AppendUint32(list, hole)
			continue
		}
		list = binary.LittleEndian.AppendUint32(list, uint32(block))
		from := int64(i) << n.chunkBits
		if err := w.copy(ctx, f, from, min(n.size-from, 1<<n.chunkBits), block*blockSize); err != nil {
			return nil, err
		}
		block += n.chunkBlocks(i)
	}
	return list, nil
}

// copy copies n bytes. Blocks of zeros stay holes of the image, and holes are not
// read: an archive can have a terabyte of them between bytes.
func (w *writer) copy(ctx context.Context, f *os.File, from, n, to int64) error {
	if w.buf == nil {
		w.buf = make([]byte, 256<<10)
	}
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := w.buf[:min(n, int64(len(w.buf)))]
		if err := readFull(f, b, from); err != nil {
			return err
		}
		k := int64(len(b))
		if !zero(b) {
			if err := w.blocks(b, to); err != nil {
				return err
			}
		} else {
			next, err := f.Seek(from+k, unix.SEEK_DATA)
			switch {
			case errors.Is(err, unix.ENXIO): // a hole up to the end
				return nil
			case err == nil:
				k = min(n, max(k, (next-from)&^(blockSize-1)))
			}
		}
		from, to, n = from+k, to+k, n-k
	}
	return nil
}

// blocks writes the blocks of b that are not zeros.
func (w *writer) blocks(b []byte, to int64) error {
	for at := 0; at < len(b); {
		end := at
		for end < len(b) && !zero(b[end:min(len(b), end+blockSize)]) {
			end = min(len(b), end+blockSize)
		}
		if end > at {
			if _, err := w.out.WriteAt(b[at:end], to+int64(at)); err != nil {
				return err
			}
		}
		at = end + blockSize // which is zeros, or behind the end
	}
	return nil
}

func zero(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if binary.NativeEndian.Uint64(b) != 0 {
			return false
		}
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func readFull(f *os.File, b []byte, at int64) error {
	n, err := f.ReadAt(b, at)
	if n < len(b) && errors.Is(err, io.EOF) {
		return errChanged
	}
	if n == len(b) {
		return nil
	}
	return err
}
