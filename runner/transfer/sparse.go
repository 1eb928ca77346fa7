package transfer

import (
	"bytes"
	"io"
	"os"
)

// hole is the least that becomes one.
const hole = 4 << 10

// fill fills a new file with size bytes of r, and leaves holes where there are
// only zeros: a copy takes no more room than what it is of.
func fill(f *os.File, r io.Reader, size int64) error {
	var zero [hole]byte
	buf := make([]byte, 64<<10)
	for at := int64(0); at < size; {
		n, err := io.ReadFull(r, buf[:min(int64(len(buf)), size-at)])
		if err != nil {
			return err
		}
		for piece := buf[:n]; len(piece) > 0; {
			full := 0 // bytes up to the next hole
			for full < len(piece) && !bytes.Equal(piece[full:min(full+hole, len(piece))], zero[:min(hole, len(piece)-full)]) {
				full = min(full+hole, len(piece))
			}
			if full > 0 {
				if _, err := f.WriteAt(piece[:full], at); err != nil {
					return err
				}
			}
			full = max(full, min(hole, len(piece)))
			at, piece = at+int64(full), piece[full:]
		}
	}
	return f.Truncate(size)
}
