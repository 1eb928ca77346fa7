// Package decode reads the compressed formats that cost a program something
// before it reads any. Hutch does so in a program of its own, cmd/hutch-decompress: the libraries
// would cost every start their initialization, and what strangers have packed is
// taken apart where there is nothing to be had.
package decode

import (
	"bufio"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// DictMax bounds the memory that a zstd or xz stream may ask for; xz -9 needs
// 64 MiB, zstd -19 8 MiB, zstd --ultra -22 128 MiB.
const DictMax = 128 << 20

// ErrDemand is a stream that needs more memory than that.
var ErrDemand = errors.New("needs")

// Open gives what is inside of r, which is a stream of the format "zst",
// "xz" or "bz2".
func Open(format string, r io.Reader) (io.ReadCloser, error) {
	switch format {
	case "zst":
		// One goroutine: more of them hand blocks around, and are slower here.
		d, err := zstd.NewReader(r, zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxWindow(DictMax), zstd.WithDecoderMaxMemory(1<<62))
		if err != nil {
			return nil, err
		}
		return zstdReader{d}, nil
	case "xz":
		br := bufio.NewReaderSize(r, 64<<10)
		head, err := br.Peek(512)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if err := checkXZ(head); err != nil {
			return nil, err
		}
		d, err := xz.NewReader(br)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(d), nil
	case "bz2":
		return io.NopCloser(bzip2.NewReader(r)), nil
	}
	return nil, fmt.Errorf("the format %q is not known", format)
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
	if size := uint64(2|b&1) << (b/2 + 11); size > DictMax {
		return fmt.Errorf("%w a dictionary of %d MiB, more than %d; compress it with xz -9 or less", ErrDemand, size>>20, DictMax>>20)
	}
	return nil
}

type zstdReader struct{ d *zstd.Decoder }

func (r zstdReader) Read(p []byte) (int, error) {
	n, err := r.d.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return n, fmt.Errorf("%w a window larger than %d MiB; compress it with less than zstd --long=27", ErrDemand, DictMax>>20)
	}
	return n, err
}

func (r zstdReader) Close() error {
	r.d.Close()
	return nil
}
