package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
)

const blockSize = 512

// The types of entries that Unpack tells apart, tar(5). What is not listed is
// refused.
const (
	typeFile      = '0'
	typeFileOld   = 0
	typeLink      = '1'
	typeSymlink   = '2'
	typeChar      = '3'
	typeBlock     = '4'
	typeDir       = '5'
	typeFIFO      = '6'
	typeCont      = '7'
	typePAX       = 'x'
	typePAXSun    = 'X'
	typePAXGlobal = 'g'
	typeLongName  = 'L'
	typeLongLink  = 'K'
	typeSparse    = 'S'
	typeDumpDir   = 'D'
	typeVolume    = 'V'
)

// A header is one entry, with what its extended headers say worked in.
type header struct {
	kind         byte
	name, link   string
	mode         uint32 // the 12 permission bits
	uid, gid     int64
	size         int64 // of the data in the archive
	mtime, atime time.Time
	major, minor uint32
	xattrs       []xattr
	// A sparse file has its data at these places; realSize is its length.
	sparse   []extent
	isSparse bool
	realSize int64
}

type xattr struct {
	name  string
	value string
}

type extent struct{ off, len int64 }

// A tarReader reads headers from a stream and leaves the data between them to
// its caller, who takes it from the same stream. Everything is bounded by the
// limits, and nothing is believed before it is checked.
type tarReader struct {
	in  *stream
	lim UnpackLimits
	// lax accepts an archive without an end marker; an archive that is
	// verified otherwise cannot have been cut short.
	lax bool
	// kept: holes are told as PackLimits.Exact has it.
	kept bool
}

var (
	errHeader = errors.New("damaged tar header")
	errEnd    = errors.New("end of archive")
)

// next gives the next entry, or errEnd.
func (t *tarReader) next() (*header, error) {
	h := &header{}
	var pax paxRecords
	var longName, longLink string
	for {
		b, err := t.block()
		if err != nil {
			return nil, err
		}
		if err := h.parse(b); err != nil {
			return nil, err
		}
		switch h.kind {
		case typePAX, typePAXSun:
			if pax, err = t.pax(h); err != nil {
				return nil, err
			}
		case typePAXGlobal:
			// Git's comment is the only thing found there in practice; image
			// tools ignore it as well.
			if _, err := t.pax(h); err != nil {
				return nil, err
			}
		case typeLongName:
			if longName, err = t.longString(h); err != nil {
				return nil, err
			}
		case typeLongLink:
			if longLink, err = t.longString(h); err != nil {
				return nil, err
			}
		default:
			if longName != "" {
				h.name = longName
			}
			if longLink != "" {
				h.link = longLink
			}
			return h, t.finish(h, b, pax)
		}
	}
}

// block reads a header block. A zero block ends the archive.
func (t *tarReader) block() ([]byte, error) {
	b, err := t.in.block()
	if err != nil {
		if t.lax && errors.Is(err, errNoMore) {
			return nil, errEnd
		}
		return nil, err
	}
	if !allZero(b) {
		if !checksumOK(b) {
			return nil, fmt.Errorf("%w: its checksum is wrong", errHeader)
		}
		return b, nil
	}
	// A second zero block follows; some writers leave it out.
	b, err = t.in.block()
	switch {
	case errors.Is(err, errNoMore):
		return nil, errEnd
	case err != nil:
		return nil, err
	case allZero(b):
		return nil, errEnd
	}
	return nil, fmt.Errorf("%w: entries follow the end marker", errHeader)
}

func (t *tarReader) longString(h *header) (string, error) {
	b, err := t.body(h, t.lim.Name+1, "name")
	if err != nil {
		return "", err
	}
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b), nil
}

func (t *tarReader) pax(h *header) (paxRecords, error) {
	b, err := t.body(h, t.lim.PAX, "pax")
	if err != nil {
		return nil, err
	}
	return parsePAX(b)
}

// body reads the whole data of a header that describes another.
func (t *tarReader) body(h *header, most int64, what string) ([]byte, error) {
	if h.size > most {
		return nil, &LimitError{What: what, Limit: most, Entry: h.name}
	}
	b := make([]byte, 0, h.size)
	for left := h.size; left > 0; {
		p, err := t.in.take(left)
		if err != nil {
			return nil, err
		}
		b = append(b, p...)
		left -= int64(len(p))
	}
	return b, t.in.skip(padding(h.size))
}

func padding(size int64) int64 { return -size & (blockSize - 1) }

// finish works in the PAX records and the sparse map, and sets realSize.
func (t *tarReader) finish(h *header, block []byte, pax paxRecords) error {
	if h.kind == typeSparse {
		if err := t.oldSparse(h, block); err != nil {
			return err
		}
		h.kind = typeFile
	}
	if err := pax.apply(h); err != nil {
		return err
	}
	if err := t.paxSparse(h, pax); err != nil {
		return err
	}
	if h.kind >= typeLink && h.kind <= typeFIFO {
		h.size, h.isSparse = 0, false // no data follows, whatever the size says
	}
	switch h.kind {
	case typeFileOld, typeCont:
		h.kind = typeFile
	case typeDumpDir:
		h.kind = typeDir
	}
	// Before there was a type for it, a directory was a name with a slash.
	if h.kind == typeFile && strings.HasSuffix(h.name, "/") {
		h.kind = typeDir
	}
	if !h.isSparse {
		h.realSize = h.size
		return nil
	}
	return h.checkSparse()
}

// parse reads a header block whose checksum is right.
func (h *header) parse(b []byte) error {
	*h = header{kind: b[156], name: cString(b[:100]), link: cString(b[157:257])}
	var err error
	num := func(field []byte) int64 {
		n, e := parseNumber(field)
		err = errors.Join(err, e)
		return n
	}
	h.mode = uint32(num(b[100:108])) & 0o7777
	h.uid, h.gid = num(b[108:116]), num(b[116:124])
	h.size = num(b[124:136])
	h.mtime = time.Unix(num(b[136:148]), 0)
	if string(b[257:262]) == "ustar" {
		h.major, h.minor = uint32(num(b[329:337])), uint32(num(b[337:345]))
	}
	var prefix string
	switch {
	case string(b[257:263]) == "ustar\x00" && string(b[508:512]) == "tar\x00": // star
		prefix = cString(b[345 : 345+131])
	case string(b[257:263]) == "ustar\x00", goPrefix(b):
		prefix = cString(b[345:500])
	}
	if prefix != "" {
		h.name = prefix + "/" + h.name
	}
	if err != nil {
		return fmt.Errorf("%w at %s: a number is not one", errHeader, quote(h.name))
	}
	if h.size < 0 {
		return fmt.Errorf("%w at %s: the size is negative", errHeader, quote(h.name))
	}
	return nil
}

// goPrefix recognises headers by writers of before Go 1.8, which put a prefix
// where the GNU format has its access time; old image layers have them.
func goPrefix(b []byte) bool {
	if string(b[257:265]) != "ustar  \x00" {
		return false
	}
	bad := false
	for _, field := range [...][]byte{b[345:357], b[357:369]} { // access and change time
		if field[0] != 0 {
			_, err := parseNumber(field)
			bad = bad || err != nil
		}
	}
	if !bad {
		return false
	}
	for _, c := range b[345:500] {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func cString(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// parseNumber reads octal digits, or base 256 when the first bit is set.
func parseNumber(b []byte) (int64, error) {
	if b[0]&0x80 != 0 {
		return parseBase256(b)
	}
	s := cString(bytes.Trim(b, " \x00"))
	if s == "" {
		return 0, nil
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '7' || n > 1<<59 {
			return 0, errHeader
		}
		n = n<<3 | int64(s[i]-'0')
	}
	return n, nil
}

func parseBase256(b []byte) (int64, error) {
	var invert byte // a negative number is in two's complement
	if b[0]&0x40 != 0 {
		invert = 0xff
	}
	var n uint64
	for i, c := range b {
		c ^= invert
		if i == 0 {
			c &= 0x7f
		}
		if n>>56 > 0 {
			return 0, errHeader
		}
		n = n<<8 | uint64(c)
	}
	if n>>63 > 0 {
		return 0, errHeader
	}
	if invert == 0xff {
		return ^int64(n), nil
	}
	return int64(n), nil
}

// checksumOK adds the bytes up, the sum's own field as spaces. Ancient tars
// added signed bytes.
func checksumOK(b []byte) bool {
	want, err := parseNumber(b[148:156])
	if err != nil {
		return false
	}
	var unsigned, signed int64
	for _, c := range b[:blockSize] {
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	for _, c := range b[148:156] {
		unsigned += ' ' - int64(c)
		signed += ' ' - int64(int8(c))
	}
	return want == unsigned || want == signed
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
