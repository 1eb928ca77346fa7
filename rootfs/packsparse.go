package rootfs

import (
	"archive/tar"
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// packExtents bounds the map of one file; what is behind its last extent is
// written with the holes that it has.
const packExtents = 1 << 14

// sparse writes a file that has holes, without them.
func (p *packer) sparse(fd int, h *tar.Header) error {
	list, err := extentsIn(fd, h.Size)
	if err != nil {
		return err
	}
	var text strings.Builder
	size := h.Size
	h.Size = 0
	for i, e := range list {
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteString(itoa(e.off) + "," + itoa(e.len))
		h.Size += e.len
	}
	setRecord(h, keptMap, text.String())
	setRecord(h, keptSize, itoa(size))
	if err := p.header(h); err != nil {
		return err
	}
	for _, e := range list {
		if _, err := unix.Seek(fd, e.off, unix.SEEK_SET); err != nil {
			return err
		}
		if err := p.data(fd, e.len); err != nil {
			return err
		}
	}
	return nil
}

// extentsIn finds where a file has data, lseek(2). The last extent, which may be
// empty, ends where the file does.
func extentsIn(fd int, size int64) (list []extent, err error) {
	for at := int64(0); at < size; {
		from, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // a hole up to the end
			break
		}
		if err != nil {
			return nil, err
		}
		to := size
		if len(list) < packExtents {
			if to, err = unix.Seek(fd, from, unix.SEEK_HOLE); err != nil {
				return nil, err
			}
		}
		to = min(to, size)
		if from >= to {
			break
		}
		list = append(list, extent{from, to - from})
		at = to
	}
	return append(list, extent{size, 0}), nil
}
