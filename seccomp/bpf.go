package seccomp

// The instructions of classic BPF that seccomp takes, linux/bpf_common.h. The
// names are the kernel's mnemonics; K is a constant operand and X the index
// register.
const (
	ldAbs  = 0x20 // BPF_LD|BPF_W|BPF_ABS: a word of struct seccomp_data
	ldImm  = 0x00
	ldMem  = 0x60
	ldLen  = 0x80
	ldxImm = 0x01
	ldxMem = 0x61
	ldxLen = 0x81
	st     = 0x02
	stx    = 0x03

	addK = 0x04
	subK = 0x14
	mulK = 0x24
	divK = 0x34
	orK  = 0x44
	andK = 0x54
	lshK = 0x64
	rshK = 0x74
	neg  = 0x84
	xorK = 0xa4
	addX = 0x0c
	subX = 0x1c
	mulX = 0x2c
	divX = 0x3c
	orX  = 0x4c
	andX = 0x5c
	lshX = 0x6c
	rshX = 0x7c
	xorX = 0xac

	ja    = 0x05
	jeqK  = 0x15
	jgtK  = 0x25
	jgeK  = 0x35
	jsetK = 0x45
	jeqX  = 0x1d
	jgtX  = 0x2d
	jgeX  = 0x3d
	jsetX = 0x4d

	retK = 0x06
	retA = 0x16
	tax  = 0x07
	txa  = 0x87
)

// struct seccomp_data, linux/seccomp.h.
const (
	offsetNr   = 0
	offsetArch = 4
	offsetIP   = 8
	offsetArgs = 16
	dataSize   = 64

	// scratchWords is BPF_MEMWORDS.
	scratchWords = 16
)
