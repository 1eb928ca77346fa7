package erofs

import (
	"context"
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/sys/unix"
)

const (
	// longestEnd is how much of a file's end goes behind its inode: more would
	// leave too many holes between inodes.
	longestEnd = 2 << 10
	// openBlocks is how many blocks of metadata that are not full are kept in
	// mind.
	openBlocks = 16
	// mostChunks bounds the list of a file with holes.
	mostChunks = 1 << 14
	// leastHoles is how small a file's holes are not worth a list.
	leastHoles = 64 << 10
)

// A layout gives every inode and every file's data a place.
type layout struct {
	meta   int64 // first byte of metadata that is not taken
	parts  []part
	blocks int64 // total
	inodes uint32
	xattrs int  // bytes
	chunks bool // whether any file has holes
}

// A part is a block of metadata with room left.
type part struct{ start, used int64 }

// place decides where everything goes. Inodes come first, as their number is
// their place, and directories name them.
func (t *Tree) place(ctx context.Context) (*layout, error) {
	l := &layout{meta: blockSize}
	defer t.leave()
	for _, n := range t.all {
		if n.first != nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := t.placeInode(l, n); err != nil {
			return nil, fmt.Errorf("%s: %w", n.path(), err)
		}
	}
	if t.root.offset/slot > maxRootNid {
		return nil, errors.New("the root's own attributes are too many for an image")
	}
	l.blocks = alignUp(l.meta, blockSize) / blockSize
	for _, n := range t.all {
		if n.first == nil {
			n.block = uint32(l.blocks)
			l.blocks += n.dataBlocks()
		}
		if l.blocks > maxBlock {
			return nil, errors.New("more than 16 TiB: an image has no room for it")
		}
	}
	return l, nil
}

func (t *Tree) placeInode(l *layout, n *node) (err error) {
	if n.xattrs, err = t.readXattrs(n); err != nil {
		return err
	}
	if l.xattrs += len(n.xattrs); l.xattrs > allXattrs {
		return fmt.Errorf("more than %d MiB of extended attributes in one image", allXattrs>>20)
	}
	l.inodes++
	n.number = l.inodes
	switch {
	case n.is(unix.S_IFDIR):
		n.size = dirSize(n.entries())
	case n.is(unix.S_IFLNK):
	case n.is(unix.S_IFREG):
		if n.size-n.blocks*512 >= leastHoles {
			if err := t.findHoles(n); err != nil {
				return err
			}
		}
	default:
		n.size = 0
	}
	head, end := inodeSize+int64(len(n.xattrs)), n.size%blockSize
	switch {
	case n.chunks != nil:
		n.layout, l.chunks = layoutChunks, true
		head += 4 * int64(len(n.chunks))
	case end > 0 && end <= longestEnd && head+end <= blockSize:
		n.layout = layoutInline
		head += end
	}
	n.offset = l.take(alignUp(head, slot))
	return nil
}

// take finds n bytes of metadata. What fits into a block does not cross into
// the next.
func (l *layout) take(n int64) int64 {
	for i, p := range l.parts {
		if p.used+n <= blockSize {
			l.parts[i].used += n
			return p.start + p.used
		}
	}
	start := l.meta
	l.meta += alignUp(n, blockSize)
	if used := n % blockSize; used > 0 {
		if len(l.parts) == openBlocks {
			l.parts = append(l.parts[:0], l.parts[1:]...)
		}
		l.parts = append(l.parts, part{l.meta - blockSize, used})
	}
	return start
}

// inBlocks is how many bytes of n's data are in blocks of their own.
func (n *node) inBlocks() int64 {
	if n.layout == layoutInline {
		return n.size &^ (blockSize - 1)
	}
	return n.size
}

// dataBlocks is how many blocks n's data takes.
func (n *node) dataBlocks() (blocks int64) {
	if n.layout != layoutChunks {
		return alignUp(n.inBlocks(), blockSize) / blockSize
	}
	for i, data := range n.chunks {
		if data {
			blocks += n.chunkBlocks(i)
		}
	}
	return blocks
}

// chunkBlocks is the length of chunk i; the last ends with the file.
func (n *node) chunkBlocks(i int) int64 {
	size := int64(1) << n.chunkBits
	return alignUp(min(size, n.size-int64(i)*size), blockSize) / blockSize
}

// findHoles asks the host where n has data, and chooses chunks for it.
func (t *Tree) findHoles(n *node) error {
	n.chunkBits = max(blockBits, bits.Len64(uint64((n.size-1)/mostChunks)))
	if n.chunkBits > blockBits+31 {
		return errors.New("a file of that size has no room in an image")
	}
	fd, err := t.openFile(n)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	n.chunks = make([]bool, (n.size+1<<n.chunkBits-1)>>n.chunkBits)
	for at := int64(0); at < n.size; {
		from, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // a hole up to the end
		}
		if err != nil {
			return err
		}
		if at, err = unix.Seek(fd, from, unix.SEEK_HOLE); err != nil {
			return err
		}
		for i := from >> n.chunkBits; i < int64(len(n.chunks)) && i<<n.chunkBits < at; i++ {
			n.chunks[i] = true
		}
	}
	return nil
}
