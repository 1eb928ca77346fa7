package rootfs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

var errSparse = errors.New("damaged map of a sparse file")

// maxExtents bounds the map of one sparse file: 16 MiB of memory.
const maxExtents = 1 << 20

// oldSparse reads the map of GNU's type S: four extents in the header, and
// further blocks of 21 as long as each says so.
func (t *tarReader) oldSparse(h *header, b []byte) error {
	h.isSparse = true
	var err error
	if h.realSize, err = parseNumber(b[483:495]); err != nil {
		return fmt.Errorf("%w at %s", errSparse, quote(h.name))
	}
	entries, more := b[386:482], b[482] != 0
	for {
		for ; len(entries) >= 24; entries = entries[24:] {
			if entries[0] == 0 {
				break
			}
			off, err1 := parseNumber(entries[:12])
			n, err2 := parseNumber(entries[12:24])
			if err1 != nil || err2 != nil {
				return fmt.Errorf("%w at %s", errSparse, quote(h.name))
			}
			h.sparse = append(h.sparse, extent{off, n})
		}
		if !more {
			return nil
		}
		if len(h.sparse) > maxExtents {
			return &LimitError{What: "pax", Limit: maxExtents, Entry: h.name}
		}
		next, err := t.in.block()
		if err != nil {
			return err
		}
		entries, more = next[:504], next[504] != 0
	}
}

// paxSparse reads the map of GNU's formats 0.0, 0.1 and 1.0.
func (t *tarReader) paxSparse(h *header, pax paxRecords) error {
	major, _ := pax.get("GNU.sparse.major")
	minor, _ := pax.get("GNU.sparse.minor")
	text, has01 := pax.get("GNU.sparse.map")
	if t.kept {
		text, has01 = pax.get(keptMap)
	}
	_, has00 := pax.get("GNU.sparse.numblocks")
	var err error
	switch {
	case major == "1" && minor == "0":
		h.sparse, err = t.sparseData(h)
	case major != "" && (major != "0" || minor != "0" && minor != "1"):
		return fmt.Errorf("%w at %s: version %s.%s is unknown", errSparse, quote(h.name), quote(major), quote(minor))
	case has01:
		h.sparse, err = extentsOf(strings.Split(text, ","))
		if text == "" {
			h.sparse, err = nil, nil
		}
	case has00:
		h.sparse, err = sparseRecords(pax)
	default:
		return nil
	}
	if err != nil {
		return fmt.Errorf("at %s: %w", quote(h.name), err)
	}
	h.isSparse = true
	if name, ok := pax.get("GNU.sparse.name"); ok {
		if h.name, err = paxString(name, h.name); err != nil {
			return fmt.Errorf("%w at %s", errSparse, quote(h.name))
		}
	}
	for _, key := range [...]string{"GNU.sparse.size", "GNU.sparse.realsize", keptSize} {
		if v, ok := pax.get(key); ok {
			if h.realSize, err = paxNumber(v, 0); err != nil {
				return fmt.Errorf("%w at %s", errSparse, quote(h.name))
			}
		}
	}
	return nil
}

// sparseRecords reads format 0.0: records of offsets and lengths in turn.
func sparseRecords(pax paxRecords) ([]extent, error) {
	var words []string
	for _, r := range pax {
		if r.key == "GNU.sparse.offset" || r.key == "GNU.sparse.numbytes" {
			if (len(words)%2 == 0) != (r.key == "GNU.sparse.offset") {
				return nil, errSparse
			}
			words = append(words, r.value)
		}
	}
	return extentsOf(words)
}

func extentsOf(words []string) ([]extent, error) {
	if len(words)%2 != 0 || len(words)/2 > maxExtents {
		return nil, errSparse
	}
	m := make([]extent, 0, len(words)/2)
	for i := 0; i < len(words); i += 2 {
		off, err1 := strconv.ParseInt(words[i], 10, 64)
		n, err2 := strconv.ParseInt(words[i+1], 10, 64)
		if err1 != nil || err2 != nil {
			return nil, errSparse
		}
		m = append(m, extent{off, n})
	}
	return m, nil
}

// sparseData reads format 1.0: decimal lines at the beginning of the data,
// their number first, up to a whole block.
func (t *tarReader) sparseData(h *header) ([]extent, error) {
	var text []byte
	lines, want := 0, -1 // lines that are needed, the first included
	for want < 0 || lines < want {
		if h.size < blockSize {
			return nil, errSparse
		}
		b, err := t.in.block()
		if err != nil {
			return nil, err
		}
		h.size -= blockSize
		for _, c := range b {
			switch {
			case want >= 0 && lines >= want: // padding
				continue
			case c == '\n':
				if lines++; lines == 1 {
					n, err := strconv.ParseInt(string(text), 10, 64)
					if err != nil || n < 0 || n > maxExtents {
						return nil, errSparse
					}
					want = int(2*n) + 1
					text = text[:0]
					continue
				}
			case c < '0' || c > '9':
				return nil, errSparse
			}
			text = append(text, c)
		}
		if len(text) > 32 && want < 0 {
			return nil, errSparse
		}
		if int64(len(text)) > 64*maxExtents {
			return nil, errSparse
		}
	}
	words := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if want == 1 {
		words = nil
	}
	return extentsOf(words)
}

// checkSparse holds the map against the sizes: in order, without overlap, and
// exactly as much data as there is.
func (h *header) checkSparse() error {
	var end, data int64
	for _, e := range h.sparse {
		if e.off < end || e.len < 0 || e.off > h.realSize || e.len > h.realSize-e.off {
			return fmt.Errorf("%w at %s", errSparse, quote(h.name))
		}
		end = e.off + e.len
		data += e.len
	}
	if data != h.size || h.realSize < 0 {
		return fmt.Errorf("%w at %s: it speaks of %d bytes, and %d follow", errSparse, quote(h.name), data, h.size)
	}
	return nil
}
