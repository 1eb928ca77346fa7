package rootfs

// UnpackLimits bound what an archive may do. In each field, 0 means the
// default and a negative number means no limit.
type UnpackLimits struct {
	Bytes   int64 // of all files together, holes included; 256 GiB
	Entries int64 // 2,000,000
	Ratio   int64 // unpacked bytes for each byte read, from 256 MiB on; 250
	Depth   int64 // components of a path; 512
	PAX     int64 // bytes of one extended header; 1 MiB
	Name    int64 // bytes of a path; 4095 (PATH_MAX)
}

// ratioFrom is the size under which the compression ratio is not looked at:
// small archives may be extreme without doing harm.
const ratioFrom = 256 << 20

func (l UnpackLimits) withDefaults() UnpackLimits {
	set := func(v *int64, def int64) {
		switch {
		case *v == 0:
			*v = def
		case *v < 0:
			*v = 1<<63 - 1
		}
	}
	set(&l.Bytes, 256<<30)
	set(&l.Entries, 2_000_000)
	set(&l.Ratio, 250)
	set(&l.Depth, 512)
	set(&l.PAX, 1<<20)
	set(&l.Name, 4095)
	return l
}

// Stats say what an unpacking did and what it could not keep.
type Stats struct {
	Entries int64
	Bytes   int64 // of file data written
	// Owners counts entries whose owner could not be kept: they belong to the caller.
	Owners int64
	// Modes counts entries that were given more permission for their owner
	// than the archive says, because an unprivileged owner could otherwise
	// not read or remove them.
	Modes int64
	// Devices counts device nodes that were left out.
	Devices int64
	// Xattrs counts extended attributes that were left out, and XattrNames
	// names up to 16 different ones.
	Xattrs     int64
	XattrNames []string
	// Digest is "sha256:…" of the archive as it was read, Read its size.
	Digest string
	Read   int64
	// PlainDigest is that of the unpacked archive, if it was asked for (an
	// image calls it the diff id).
	PlainDigest string
}

// A LimitError says which limit an archive went over.
type LimitError struct {
	What  string // as in UnpackLimits: "bytes", "entries", "ratio", "depth", "pax", "name"
	Limit int64
	Entry string // the entry at which it happened
}

func (e *LimitError) Error() string {
	s := "archive goes over the limit of " + itoa(e.Limit) + " "
	switch e.What {
	case "bytes":
		s += "bytes of files"
	case "entries":
		s += "entries"
	case "ratio":
		s += "unpacked bytes for each byte read (a decompression bomb?)"
	case "depth":
		s += "levels of directories"
	case "pax":
		s += "bytes in one extended header"
	case "name":
		s += "bytes in a path"
	}
	if e.Entry != "" {
		s += " at " + quote(e.Entry)
	}
	return s
}
