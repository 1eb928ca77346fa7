package rootfs

import (
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
)

// An inflater reads a raw DEFLATE stream, RFC 1951. It exists because
// decompression is what a .tar.gz waits for, and the general-purpose readers
// are half as fast: this one keeps 64 bits at hand, looks a whole symbol with
// its extra bits up at once, and writes into a large buffer that is its own
// window. It is plain Go: the input is hostile, so every index is checked.
type inflater struct {
	src io.Reader
	err error // what src ended with

	// in[pos:end] is input not yet in bits. Behind the end of the source
	// follow inSlack zero bytes, so that the fast loop needs no other way of
	// reading; having consumed any of them is the error "cut short".
	in       []byte
	pos, end int
	pad      int // how many of the bytes before end are such zeros

	bits  uint64 // the next bits, lowest first
	nbits uint   // how many of them count

	// out[r:w] has been made and not been delivered. The bytes before r are
	// the window.
	out  []byte
	r, w int
	base int // the first byte of out that belongs to this stream

	state  inflateState
	final  bool
	stored int // bytes left of a stored block

	lit  [litSize]uint32
	dist [distSize]uint32
	fix  bool // lit and dist hold the fixed codes
}

type inflateState int

const (
	atBlock inflateState = iota
	inStored
	inCodes
	atEnd
)

const (
	window   = 32 << 10
	inSize   = 128 << 10
	inSlack  = 64
	outSize  = window + 256<<10
	outSlack = 3 + 258 + 16 // three literals, the longest match, and what the copy overshoots

	litBits  = 11 // of the primary table; what is longer goes through a second one
	distBits = 8
	// Every second table belongs to at least two codes and has at most
	// 2^(15-bits) entries, so these sizes suffice; powers of two, so that a
	// mask is all the bounds check that an index needs.
	litSize  = 8192
	distSize = 4096
)

// A table entry holds, from the lowest bit: 6 bits, how much to take off the
// stream (extra bits included); at 8, four bits of length of the code alone;
// the flags; at 16, the literal, the base value, or the second table's place.
const (
	entLiteral = 1 << 15
	entSpecial = 1 << 14 // end of block, a second table, or no such code
	entSecond  = 1 << 13
	entEnd     = 1 << 12
)

// errDeflate is what a damaged stream gives, whatever the damage.
var errDeflate = errors.New("damaged compressed data")

func newInflater(src io.Reader) *inflater {
	return &inflater{src: src, in: make([]byte, inSize), out: make([]byte, outSize+outSlack)}
}

// restart prepares for another stream from the same source.
func (f *inflater) restart() {
	f.state, f.final, f.base = atBlock, false, f.w
}

// more makes sure that 32 bytes can be taken from in, zeros behind the end
// of the source included.
func (f *inflater) more() error {
	for f.end-f.pos < 32 {
		if f.pad >= inSlack {
			return io.ErrUnexpectedEOF
		}
		// The 8 bytes before pos stay: bits may hold them, and alignByte gives
		// them back.
		if cut := f.pos - 8; cut > 0 {
			copy(f.in, f.in[cut:f.end])
			f.end -= cut
			f.pos = 8
		}
		if f.err != nil {
			clear(f.in[f.end : f.end+inSlack])
			f.end += inSlack
			f.pad = inSlack
			break
		}
		n, err := f.src.Read(f.in[f.end : inSize-inSlack])
		f.end += n
		f.err = err
	}
	if f.overrun() {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// overrun tells whether zeros behind the end of the source were consumed, or
// the source failed where data was needed.
func (f *inflater) overrun() bool {
	return f.pad > 0 && f.pos-int(f.nbits>>3) > f.end-f.pad
}

// cut is the error for a source that ended too early: its own, if it failed.
func (f *inflater) cut(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) && f.err != nil && !errors.Is(f.err, io.EOF) {
		return f.err
	}
	return err
}

func (f *inflater) refill() {
	f.bits |= binary.LittleEndian.Uint64(f.in[f.pos:]) << f.nbits
	f.pos += int((63 - f.nbits) >> 3)
	f.nbits |= 56
}

// take reads n ≤ 32 bits. The caller has called more.
func (f *inflater) take(n uint) uint32 {
	if f.nbits < n {
		f.refill()
	}
	v := uint32(f.bits & (1<<n - 1))
	f.bits >>= n
	f.nbits -= n
	return v
}

// alignByte drops the rest of a byte and gives whole bytes back to in.
func (f *inflater) alignByte() {
	f.pos -= int(f.nbits >> 3)
	f.bits, f.nbits = 0, 0
}

// readByte is for the headers around a stream; the inflater must be aligned.
func (f *inflater) readByte() (byte, error) {
	if err := f.more(); err != nil {
		return 0, f.cut(err)
	}
	if f.end-f.pos <= f.pad {
		return 0, f.cut(io.ErrUnexpectedEOF)
	}
	f.pos++
	return f.in[f.pos-1], nil
}

// Read gives io.EOF at the end of the stream; the inflater is then aligned.
func (f *inflater) Read(p []byte) (int, error) {
	for f.r == f.w {
		if f.state == atEnd {
			return 0, io.EOF
		}
		f.slide()
		if err := f.produce(); err != nil {
			return 0, f.cut(err)
		}
	}
	n := copy(p, f.out[f.r:f.w])
	f.r += n
	return n, nil
}

// slide moves the window to the front of out when out is full.
func (f *inflater) slide() {
	if f.w < outSize {
		return
	}
	copy(f.out, f.out[f.w-window:f.w])
	f.base = max(0, f.base-(f.w-window))
	f.w, f.r = window, window
}

// produce decodes until out is full or the stream ends.
func (f *inflater) produce() error {
	for f.w < outSize && f.state != atEnd {
		if err := f.more(); err != nil {
			return err
		}
		var err error
		switch f.state {
		case atBlock:
			err = f.block()
		case inStored:
			err = f.copyStored()
		case inCodes:
			err = f.codes()
		}
		if err != nil {
			if f.overrun() { // the damage is in the zeros behind the end
				return io.ErrUnexpectedEOF
			}
			return err
		}
		if f.state == atBlock && f.final {
			f.alignByte()
			f.state = atEnd
		}
	}
	if f.overrun() {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (f *inflater) block() error {
	f.final = f.take(1) == 1
	switch f.take(2) {
	case 0:
		f.take(f.nbits & 7)
		n := f.take(16)
		if f.take(16) != n^0xffff {
			return errDeflate
		}
		f.alignByte()
		f.stored, f.state = int(n), inStored
		if n == 0 {
			f.state = atBlock
		}
		return nil
	case 1:
		f.state = inCodes
		if f.fix {
			return nil
		}
		f.fix = true
		return f.fixedCodes()
	case 2:
		f.state, f.fix = inCodes, false
		return f.dynamicCodes()
	}
	return errDeflate
}

func (f *inflater) copyStored() error {
	have := f.end - f.pos - f.pad
	if have <= 0 {
		return io.ErrUnexpectedEOF
	}
	n := copy(f.out[f.w:outSize], f.in[f.pos:f.pos+min(have, f.stored)])
	f.w += n
	f.pos += n
	if f.stored -= n; f.stored == 0 {
		f.state = atBlock
	}
	return nil
}

// codes is the fast loop. Its state lives in locals, so that it stays in
// registers.
func (f *inflater) codes() error {
	in, out := f.in, f.out
	pos, bits, nbits, w, base := f.pos, f.bits, f.nbits, f.w, f.base
	limit := f.end - 16 // each turn refills twice
	var err error
loop:
	for w < outSize && pos <= limit {
		bits |= binary.LittleEndian.Uint64(in[pos:]) << (nbits & 63)
		pos += int((63 - nbits) >> 3)
		nbits |= 56

		e := f.lit[bits&(1<<litBits-1)]
		if e&entLiteral != 0 { // up to three: 56 bits hold them, and the code of a length after two
			o := out[w : w+3]
			bits >>= e & 63
			nbits -= uint(e & 63)
			o[0] = byte(e >> 16)
			w++
			e = f.lit[bits&(1<<litBits-1)]
			if e&entLiteral != 0 {
				bits >>= e & 63
				nbits -= uint(e & 63)
				o[1] = byte(e >> 16)
				w++
				e = f.lit[bits&(1<<litBits-1)]
				if e&entLiteral != 0 {
					bits >>= e & 63
					nbits -= uint(e & 63)
					o[2] = byte(e >> 16)
					w++
					continue
				}
			}
		}
		if e&entSpecial != 0 {
			if e&entSecond != 0 {
				bits >>= litBits
				nbits -= litBits
				e = f.lit[(e>>16+uint32(bits)&(1<<(e&63)-1))&(litSize-1)]
				if e&entLiteral != 0 {
					bits >>= e & 63
					nbits -= uint(e & 63)
					out[w] = byte(e >> 16)
					w++
					continue
				}
			}
			if e&entSpecial != 0 {
				if e&entEnd == 0 {
					err = errDeflate
					break loop
				}
				bits >>= e & 63
				nbits -= uint(e & 63)
				f.state = atBlock
				break loop
			}
		}
		length := int(e>>16) + int(bits&(1<<(e&63)-1)>>(e>>8&15))
		bits >>= e & 63
		nbits -= uint(e & 63)

		bits |= binary.LittleEndian.Uint64(in[pos:]) << (nbits & 63)
		pos += int((63 - nbits) >> 3)
		nbits |= 56
		e = f.dist[bits&(1<<distBits-1)]
		if e&entSpecial != 0 {
			if e&entSecond == 0 {
				err = errDeflate
				break loop
			}
			bits >>= distBits
			nbits -= distBits
			e = f.dist[(e>>16+uint32(bits)&(1<<(e&63)-1))&(distSize-1)]
			if e&entSpecial != 0 {
				err = errDeflate
				break loop
			}
		}
		from := w - int(e>>16) - int(bits&(1<<(e&63)-1)>>(e>>8&15))
		bits >>= e & 63
		nbits -= uint(e & 63)
		if from < base {
			err = errDeflate // reaches back before the beginning
			break loop
		}
		copyMatch(out, from, w, length)
		w += length
	}
	f.pos, f.bits, f.nbits, f.w = pos, bits, nbits, w
	return err
}

// copyMatch repeats out[from:from+length] at w, where the two may overlap.
// It may write up to 15 bytes too far, which outSlack leaves room for.
func copyMatch(out []byte, from, w, length int) {
	switch d := w - from; {
	case d >= 16 && length <= 64:
		for n := 0; n < length; n += 16 {
			src, dst := out[from+n:from+n+16], out[w+n:w+n+16]
			a, b := binary.LittleEndian.Uint64(src), binary.LittleEndian.Uint64(src[8:])
			binary.LittleEndian.PutUint64(dst, a)
			binary.LittleEndian.PutUint64(dst[8:], b)
		}
	case d >= length:
		copy(out[w:w+length], out[from:from+length])
	case d >= 8:
		for n := 0; n < length; n += 8 {
			binary.LittleEndian.PutUint64(out[w+n:], binary.LittleEndian.Uint64(out[from+n:]))
		}
	default:
		// The pattern doubles with each copy.
		dst := out[from : w+length]
		for have := d; have < len(dst); have *= 2 {
			copy(dst[have:], dst[:have])
		}
	}
}

// dynamicCodes reads the code lengths of a block, RFC 1951 3.2.7.
func (f *inflater) dynamicCodes() error {
	nlit, ndist, nlen := int(f.take(5))+257, int(f.take(5))+1, int(f.take(4))+4
	if nlit > 286 || ndist > 30 {
		return errDeflate
	}
	order := [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	var clens [19]uint8
	for i := range nlen {
		clens[order[i]] = uint8(f.take(3))
	}
	// The code of the lengths is built in the space of the distances.
	pre := f.dist[:]
	if err := buildTable(pre, 7, clens[:], plainEntry); err != nil {
		return err
	}
	var lens [286 + 30]uint8
	n := nlit + ndist
	for i := 0; i < n; {
		if err := f.more(); err != nil {
			return err
		}
		if f.nbits < 14 {
			f.refill()
		}
		e := pre[f.bits&127]
		if e&entSpecial != 0 {
			return errDeflate
		}
		f.take(uint(e & 63))
		sym, repeat, value := e>>16, 1, uint8(0)
		switch {
		case sym < 16:
			value = uint8(sym)
		case sym == 16:
			if i == 0 {
				return errDeflate
			}
			repeat, value = int(f.take(2))+3, lens[i-1]
		case sym == 17:
			repeat = int(f.take(3)) + 3
		default:
			repeat = int(f.take(7)) + 11
		}
		if i+repeat > n {
			return errDeflate
		}
		for range repeat {
			lens[i] = value
			i++
		}
	}
	if lens[256] == 0 {
		return errDeflate // the block could not end
	}
	if err := buildTable(f.lit[:], litBits, lens[:nlit], litEntry); err != nil {
		return err
	}
	return buildTable(f.dist[:], distBits, lens[nlit:n], distEntry)
}

func (f *inflater) fixedCodes() error {
	var lens [288]uint8
	for i := range lens {
		switch {
		case i < 144:
			lens[i] = 8
		case i < 256:
			lens[i] = 9
		case i < 280:
			lens[i] = 7
		default:
			lens[i] = 8
		}
	}
	if err := buildTable(f.lit[:], litBits, lens[:], litEntry); err != nil {
		return err
	}
	var dist [32]uint8
	for i := range dist {
		dist[i] = 5
	}
	return buildTable(f.dist[:], distBits, dist[:], distEntry)
}

func plainEntry(sym int) (entry uint32, extra uint) { return uint32(sym) << 16, 0 }

// litEntry gives a literal, the end of block, or a length's base, RFC 1951 3.2.5.
func litEntry(sym int) (entry uint32, extra uint) {
	switch {
	case sym < 256:
		return uint32(sym)<<16 | entLiteral, 0
	case sym == 256:
		return entSpecial | entEnd, 0
	case sym < 265:
		return uint32(sym-257+3) << 16, 0
	case sym < 285:
		extra = uint(sym-261) / 4
		return uint32(4+(sym-261)%4)<<extra<<16 + 3<<16, extra
	case sym == 285:
		return 258 << 16, 0
	}
	return entSpecial, 0 // 286 and 287 have a code and no meaning
}

func distEntry(sym int) (entry uint32, extra uint) {
	switch {
	case sym < 4:
		return uint32(sym+1) << 16, 0
	case sym < 30:
		extra = uint(sym-2) / 2
		return uint32(2+sym%2)<<extra<<16 + 1<<16, extra
	}
	return entSpecial, 0
}

// buildTable lays out a canonical Huffman code, RFC 1951 3.2.2. A code that
// is over-subscribed is refused, and so is an incomplete one, except that of
// a single symbol or of none, which encoders do write for the distances.
func buildTable(table []uint32, primary uint, lens []uint8, entryOf func(int) (uint32, uint)) error {
	var count [16]int
	used, maxLen := 0, uint(0)
	for _, l := range lens {
		count[l]++
		if l > 0 {
			used++
			maxLen = max(maxLen, uint(l))
		}
	}
	count[0] = 0
	var next [16]int
	code, left := 0, 1
	for l := 1; l < 16; l++ {
		code = (code + count[l-1]) << 1
		next[l] = code
		if left = left<<1 - count[l]; left < 0 {
			return errDeflate
		}
	}
	if left > 0 {
		if used > 1 || used == 1 && maxLen > 1 {
			return errDeflate
		}
		for i := range 1 << primary {
			table[i] = entSpecial
		}
	}
	secondBits := uint(0)
	free := 1 << primary
	if maxLen > primary {
		secondBits = maxLen - primary
		for i := range 1 << primary {
			table[i] = 0 // an entry without a second table yet
		}
	}
	for sym, l8 := range lens {
		if l8 == 0 {
			continue
		}
		l := uint(l8)
		rev := int(bits.Reverse16(uint16(next[l])) >> (16 - l))
		next[l]++
		entry, extra := entryOf(sym)
		if l <= primary {
			entry |= uint32(l+extra) | uint32(l)<<8
			for i := rev; i < 1<<primary; i += 1 << l {
				table[i] = entry
			}
			continue
		}
		low := rev & (1<<primary - 1)
		if table[low]&entSecond == 0 {
			table[low] = uint32(free)<<16 | entSpecial | entSecond | uint32(secondBits)
			free += 1 << secondBits
			if free > len(table) {
				return errDeflate
			}
		}
		entry |= uint32(l-primary+extra) | uint32(l-primary)<<8
		start := int(table[low] >> 16)
		for i := rev >> primary; i < 1<<secondBits; i += 1 << (l - primary) {
			table[start+i] = entry
		}
	}
	return nil
}
