package seccomp

// Data is what a filter sees of a system call: struct seccomp_data,
// linux/seccomp.h.
type Data struct {
	Nr   int32
	Arch Arch
	IP   uint64
	Args [6]uint64
}

// word returns the 32 bits at an offset that Check has accepted.
func (d *Data) word(offset uint32) uint32 {
	var v uint64
	switch {
	case offset == offsetNr:
		return uint32(d.Nr)
	case offset == offsetArch:
		return uint32(d.Arch)
	case offset < offsetArgs:
		v = d.IP
	default:
		v = d.Args[(offset-offsetArgs)/8]
	}
	if offset%8 == 4 {
		v >>= 32
	}
	return uint32(v)
}
