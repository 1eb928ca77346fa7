//go:build !hutch_guest

package rootfs

import (
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// dictMax bounds the memory that a zstd or xz stream may ask for; xz -9 needs
// 64 MiB, zstd -19 8 MiB, zstd --ultra -22 128 MiB.
const dictMax = 128 << 20

// openForeign reads the formats of other people's libraries; head is how r
// begins.
func openForeign(r io.Reader, format string, head []byte) (io.ReadCloser, error) {
	switch format {
	case "zst":
		// One goroutine: more of them hand blocks around, and are slower here.
		d, err := zstd.NewReader(r, zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxWindow(dictMax), zstd.WithDecoderMaxMemory(1<<62))
		if err != nil {
			return nil, err
		}
		return zstdReader{d}, nil
	case "xz":
		if err := checkXZ(head); err != nil {
			return nil, err
		}
		d, err := xz.NewReader(r)
		if err != nil {
			return nil, damaged(err)
		}
		return io.NopCloser(errReader{d}), nil
	default:
		return io.NopCloser(errReader{bzip2.NewReader(r)}), nil
	}
}

// checkXZ reads the dictionary size in the header of the first block, xz file
// format 3.1 and 5.3.1: the reader would allocate whatever stands there.
func checkXZ(head []byte) error {
	if len(head) < 24 || head[12] == 0 {
		return nil
	}
	at, flags := 14, head[13]
	for _, bit := range [...]byte{0x40, 0x80} { // the optional sizes, as variable-length integers
		if flags&bit != 0 {
			for at < len(head) && head[at]&0x80 != 0 {
				at++
			}
			at++
		}
	}
	if at+2 >= len(head) || head[at] != 0x21 {
		return nil // a filter that the reader refuses
	}
	b := head[at+2] & 0x3f
	if size := uint64(2|b&1) << (b/2 + 11); size > dictMax {
		return fmt.Errorf("needs a dictionary of %d MiB, more than %d; compress it with xz -9 or less", size>>20, dictMax>>20)
	}
	return nil
}

type zstdReader struct{ d *zstd.Decoder }

func (r zstdReader) Read(p []byte) (int, error) {
	n, err := r.d.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return n, fmt.Errorf("needs a window larger than %d MiB; compress it with less than zstd --long=27", dictMax>>20)
	}
	return n, damaged(err)
}

func (r zstdReader) Close() error {
	r.d.Close()
	return nil
}

type errReader struct{ r io.Reader }

func (r errReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	return n, damaged(err)
}
