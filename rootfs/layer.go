package rootfs

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// A Layer says what the stream of an image's layer must be. An empty digest
// is not checked; one of them should be given, for a layer without an end
// marker is accepted: many builders leave it out.
type Layer struct {
	Digest string // "sha256:…" of the stream as it is read
	DiffID string // "sha256:…" of the tar in it
	Size   int64  // bytes of the stream; 0 means unknown
}

// A DigestError says that a layer is not what its image says.
type DigestError struct {
	What      string // "digest", "diff id" or "size"
	Want, Got string
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("the layer's %s is %s and should be %s; it was damaged on its way, or whoever sent it lies", e.What, e.Got, e.Want)
}

// UnpackLayer unpacks a layer, plain or compressed, into dir, an existing
// empty directory, the way overlayfs wants it: whiteouts become character
// devices 0:0, opaque directories get the attributes of that name. The stream
// is checked against want while it goes through; on any error dir is empty
// again, and nothing outside dir is changed, whatever the layer holds.
//
// Errors are those of Unpack, and *DigestError.
func UnpackLayer(ctx context.Context, r io.Reader, dir string, want Layer, opt UnpackOptions) (Stats, error) {
	opt.Whiteouts, opt.NoEndOK = WhiteoutsOverlay, true
	opt.PlainDigest = opt.PlainDigest || want.DiffID != ""
	opt.check = want.check
	if want.Size > 0 {
		r = &sizedReader{r: r, want: want, left: want.Size}
	}
	return Unpack(ctx, r, dir, opt)
}

// A sizedReader fails at the first byte too many: nobody reads an endless
// stream to its end.
type sizedReader struct {
	r    io.Reader
	want Layer
	left int64
}

func (s *sizedReader) Read(p []byte) (int, error) {
	if int64(len(p)) > s.left+1 {
		p = p[:s.left+1]
	}
	n, err := s.r.Read(p)
	if s.left -= int64(n); s.left < 0 {
		return n - 1, s.want.check(Stats{Read: s.want.Size + 1})
	}
	return n, err
}

func (l Layer) check(st Stats) error {
	switch {
	case l.Size > 0 && st.Read > l.Size:
		return &DigestError{"size", itoa(l.Size) + " bytes", "more"}
	case l.Size > 0 && st.Read < l.Size:
		return &DigestError{"size", itoa(l.Size) + " bytes", itoa(st.Read)}
	case l.Digest != "" && st.Digest != l.Digest:
		return &DigestError{"digest", l.Digest, st.Digest}
	case l.DiffID != "" && st.PlainDigest != l.DiffID:
		return &DigestError{"diff id", l.DiffID, st.PlainDigest}
	}
	return nil
}

// layersAtOnce is how many layers are unpacked at the same time: beyond it,
// two decompressors and their writers have no processor left, and every one
// more costs its buffers.
const layersAtOnce = 3

// EachLayer calls unpack for 0…n-1, several at a time, and gives the first
// error, after which the others' ctx ends; it returns when all have. Each call
// is told how many others there are, for UnpackOptions.Beside.
func EachLayer(ctx context.Context, n int, unpack func(ctx context.Context, i, beside int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	crew := min(n, layersAtOnce)
	next := make(chan int)
	var wait sync.WaitGroup
	for range crew {
		wait.Go(func() {
			for i := range next {
				if err := unpack(ctx, i, crew-1); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	wait.Wait()
	return context.Cause(ctx)
}
