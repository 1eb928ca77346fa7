package rootfs

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A Decoder gives what is inside of r, a stream of the format "zst", "xz" or "bz2". Its
// reader's errors are what is wrong with the stream; one of r's own is passed on,
// and a stream that is cut short is io.ErrUnexpectedEOF. Closing the reader
// early is allowed.
type Decoder func(format string, r io.Reader) (io.ReadCloser, error)

// decoder decodes all but gzip; see package decode.
var decoder Decoder

// UseDecoder sets it, before anything is unpacked. The libraries would cost
// every start 0.26 ms, so they are not linked in here.
func UseDecoder(d Decoder) { decoder = d }

// The exit statuses of hutch-decompress, which decodes for hutch.
const (
	StatusDamaged  = 3
	StatusCutShort = 4
	StatusDemand   = 5
)

// A DemandError says that a stream needs more than it may have.
type DemandError struct{ Words string }

func (e *DemandError) Error() string { return e.Words }

// Decompress tells by content what r holds and gives the bytes inside. The
// format is one of tar, gz, zst, xz, bz2; anything else is an error that says
// what it is instead. r is read ahead.
//
// What is damaged or cut short shows as an error while reading; the latter
// unwraps to io.ErrUnexpectedEOF.
func Decompress(r io.Reader) (io.ReadCloser, string, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", err
	}
	switch format := sniff(head); format {
	case "tar":
		return io.NopCloser(br), format, nil
	case "gz":
		return io.NopCloser(&gzipReader{f: newInflater(br)}), format, nil
	case "zst", "xz", "bz2":
		if decoder == nil {
			return nil, "", fmt.Errorf("is compressed as .%s, which this program cannot unpack", format)
		}
		d, err := decoder(format, br)
		if err != nil {
			return nil, "", err
		}
		return decodedReader{d}, format, nil
	default:
		return nil, "", fmt.Errorf("%s; a root is a tar, plain or compressed as .gz, .zst, .xz or .bz2", format)
	}
}

// sniff names the format, or says in words what it is instead. To add a
// format: a row here, a case above, and one in openForeign.
func sniff(head []byte) string {
	has := func(at int, s string) bool { return len(head) >= at+len(s) && string(head[at:at+len(s)]) == s }
	switch {
	case len(head) == 0:
		return "is empty"
	case has(0, "\x1f\x8b"):
		return "gz"
	case has(0, "\x28\xb5\x2f\xfd"), len(head) > 4 && head[0]&0xf0 == 0x50 && has(1, "\x2a\x4d\x18"):
		return "zst"
	case has(0, "\xfd7zXZ\x00"):
		return "xz"
	case has(0, "BZh"):
		return "bz2"
	case len(head) == 512 && (bytes.Count(head, []byte{0}) == 512 || checksumOK(head)):
		return "tar"
	case has(0, "PK\x03\x04"):
		return "is a zip archive"
	case has(0, "7z\xbc\xaf\x27\x1c"):
		return "is a 7z archive"
	case has(0, "hsqs"):
		return "is a squashfs image"
	case has(0, "!<arch>\n"):
		return "is a Debian package or a static library"
	case has(0, "\xed\xab\xee\xdb"):
		return "is an RPM package"
	case has(0, "070701"), has(0, "070707"):
		return "is a cpio archive"
	case has(0, "\x04\x22\x4d\x18"):
		return "is compressed with lz4"
	case has(0, "QFI\xfb"):
		return "is a qcow2 disk image"
	case has(0, "\x7fELF"):
		return "is a program, not a root"
	case bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n"), []byte("<")):
		return "is an HTML or XML page (an error page that was saved as a file?)"
	case has(0, "{"), has(0, "["):
		return "is JSON"
	case has(257, "ustar"):
		return "is a tar whose first header is damaged"
	case len(head) < 512:
		return "is too short for a tar"
	}
	return "is neither a tar nor compressed in a known way"
}

// damaged gives the errors of foreign readers one wording, and keeps those of
// the source and "cut short" as they are.
func damaged(err error) error {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	}
	var src *sourceError
	if errors.As(err, &src) {
		return src
	}
	var demand *DemandError
	if errors.As(err, &demand) {
		return demand
	}
	return fmt.Errorf("%w: %w", errDeflate, err)
}

// A sourceError is a failure to read the archive, as against one to make
// sense of it.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

type decodedReader struct{ io.ReadCloser }

func (r decodedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	return n, damaged(err)
}

// A gzipReader reads the members of a gzip file, RFC 1952, as one stream.
type gzipReader struct {
	f    *inflater
	in   bool // inside a member
	more bool // a member has been read
	crc  uint32
	size uint32
	err  error
}

func (g *gzipReader) Read(p []byte) (int, error) {
	for g.err == nil {
		if !g.in {
			g.err = g.header()
			continue
		}
		n, err := g.f.Read(p)
		g.crc = crc32.Update(g.crc, crc32.IEEETable, p[:n])
		g.size += uint32(n)
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			err = g.trailer()
		}
		if g.err = err; n > 0 {
			return n, nil
		}
	}
	return 0, g.err
}

// header reads a member's header; zeros up to the end of the file, which tape
// drives and sparse copies leave, are the end.
func (g *gzipReader) header() error {
	b, err := g.f.readByte()
	for g.more && err == nil && b == 0 {
		b, err = g.f.readByte()
	}
	if g.more && errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	var h [9]byte
	for i := range h {
		if err == nil {
			h[i], err = g.f.readByte()
		}
	}
	if err != nil {
		return err
	}
	// magic, method (8 is deflate), flags, time, extra flags, system
	flags := h[2]
	if b != 0x1f || h[0] != 0x8b || h[1] != 8 || flags&0xe0 != 0 {
		return errDeflate
	}
	if err := g.optional(flags); err != nil {
		return err
	}
	g.f.restart()
	g.in, g.crc, g.size = true, 0, 0
	return nil
}

// optional skips the extra field, the name, the comment and the header's sum.
func (g *gzipReader) optional(flags byte) error {
	skip := 0
	if flags&4 != 0 {
		lo, err := g.f.readByte()
		hi, err2 := g.f.readByte()
		if err = errors.Join(err, err2); err != nil {
			return err
		}
		skip = int(lo) | int(hi)<<8
	}
	for range skip {
		if _, err := g.f.readByte(); err != nil {
			return err
		}
	}
	for _, bit := range [...]byte{8, 16} {
		for flags&bit != 0 {
			b, err := g.f.readByte()
			if err != nil {
				return err
			}
			if b == 0 {
				break
			}
		}
	}
	if flags&2 != 0 {
		_, err := g.f.readByte()
		_, err2 := g.f.readByte()
		return errors.Join(err, err2)
	}
	return nil
}

func (g *gzipReader) trailer() error {
	var t [8]byte
	for i := range t {
		b, err := g.f.readByte()
		if err != nil {
			return err
		}
		t[i] = b
	}
	if binary.LittleEndian.Uint32(t[:]) != g.crc || binary.LittleEndian.Uint32(t[4:]) != g.size {
		return fmt.Errorf("%w: the checksum is wrong", errDeflate)
	}
	g.in, g.more = false, true
	return nil
}
