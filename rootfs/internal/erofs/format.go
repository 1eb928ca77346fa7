// Package erofs writes a directory as an EROFS image: a read-only file system
// for a block device, uncompressed, that Linux mounts since 5.15.
//
// The layout is that of Linux, fs/erofs/erofs_fs.h and
// Documentation/filesystems/erofs.rst:
//
//	block 0        1024 bytes of zeros, the super block
//	block 1 …      metadata: an inode, its attributes, and the short end of its
//	               data or, of a file with holes, the list of its chunks
//	…              whole blocks of data, each file's in one run
//
// The same tree always gives the same bytes.
package erofs

import (
	"encoding/binary"
	"hash/crc32"

	"golang.org/x/sys/unix"
)

const (
	blockBits = 12
	blockSize = 1 << blockBits

	superOffset = 1024
	superMagic  = 0xe0f5e1e2

	featureChecksum    = 1 // compatible: the super block has a checksum
	featureChunkedFile = 4 // incompatible: files may have holes

	// slot is the unit of inode numbers: number times slot is the offset.
	slot = 32
	// maxRootNid is what the super block's 16 bits hold.
	maxRootNid = 1<<16 - 1
	// maxBlock is the last block number; the one above stands for a hole.
	maxBlock = 1<<32 - 2
	hole     = 1<<32 - 1
)

// The layouts of a file's data.
const (
	layoutPlain  = 0 // whole blocks
	layoutInline = 2 // whole blocks, the end behind the inode
	layoutChunks = 4 // chunks of a power of two blocks, or holes
)

// superBlock is block 0 from its offset on.
func superBlock(rootNid uint16, inodes uint64, blocks uint32, features uint32) []byte {
	b := make([]byte, blockSize-superOffset)
	le := binary.LittleEndian
	le.PutUint32(b[0:], superMagic)
	le.PutUint32(b[8:], featureChecksum)
	b[12] = blockBits
	le.PutUint16(b[14:], rootNid)
	le.PutUint64(b[16:], inodes)
	le.PutUint32(b[36:], blocks)
	le.PutUint32(b[80:], features)
	// The kernel's crc32c does not invert at its end.
	le.PutUint32(b[4:], ^crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

const inodeSize = 64

// inode is the extended form of an inode.
func (n *node) inode() []byte {
	b := make([]byte, inodeSize, inodeSize+len(n.xattrs))
	le := binary.LittleEndian
	le.PutUint16(b[0:], 1|n.layout<<1)
	if len(n.xattrs) > 0 {
		le.PutUint16(b[2:], uint16((len(n.xattrs)-xattrHeader)/4+1))
	}
	le.PutUint16(b[4:], uint16(n.mode))
	le.PutUint64(b[8:], uint64(n.size))
	le.PutUint32(b[16:], n.union())
	le.PutUint32(b[20:], n.number)
	le.PutUint32(b[24:], n.uid)
	le.PutUint32(b[28:], n.gid)
	le.PutUint64(b[32:], uint64(n.mtime.Sec))
	le.PutUint32(b[40:], uint32(n.mtime.Nsec))
	le.PutUint32(b[44:], n.links)
	return append(b, n.xattrs...)
}

// union is the word whose meaning depends on the type of the file.
func (n *node) union() uint32 {
	switch {
	case n.mode&unix.S_IFMT == unix.S_IFCHR, n.mode&unix.S_IFMT == unix.S_IFBLK:
		major, minor := unix.Major(n.rdev), unix.Minor(n.rdev)
		return minor&0xff | major<<8 | minor&^uint32(0xff)<<12
	case n.layout == layoutChunks:
		return uint32(n.chunkBits - blockBits)
	default:
		return n.block
	}
}

// fileType is the type that a directory tells of an entry, as in dirent(3).
func fileType(mode uint32) byte {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return 1
	case unix.S_IFDIR:
		return 2
	case unix.S_IFCHR:
		return 3
	case unix.S_IFBLK:
		return 4
	case unix.S_IFIFO:
		return 5
	case unix.S_IFSOCK:
		return 6
	default:
		return 7 // a symbolic link
	}
}

func alignUp(n, to int64) int64 { return (n + to - 1) &^ (to - 1) }
