package seccomp

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// A Filter is an array of struct sock_filter as the kernel takes it, 8 bytes
// each in the machine's byte order, which is little-endian wherever this
// package runs.
type Filter []byte

// maxInstructions is BPF_MAXINSNS.
const maxInstructions = 4096

// instructionSize is the size of struct sock_filter.
const instructionSize = 8

// An instruction is struct sock_filter, linux/filter.h.
type instruction struct {
	code   uint16
	jt, jf uint8
	k      uint32
}

// Len returns the number of instructions.
func (f Filter) Len() int { return len(f) / instructionSize }

// Digest returns "sha256:" and 64 hexadecimal digits.
func (f Filter) Digest() string {
	sum := sha256.Sum256(f)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (f Filter) at(i int) instruction {
	b := f[i*instructionSize:]
	return instruction{
		code: binary.LittleEndian.Uint16(b),
		jt:   b[2],
		jf:   b[3],
		k:    binary.LittleEndian.Uint32(b[4:]),
	}
}

func (f Filter) instructions() []instruction {
	list := make([]instruction, f.Len())
	for i := range list {
		list[i] = f.at(i)
	}
	return list
}

func assemble(list []instruction) Filter {
	f := make(Filter, 0, len(list)*instructionSize)
	for _, in := range list {
		f = binary.LittleEndian.AppendUint16(f, in.code)
		f = append(f, in.jt, in.jf)
		f = binary.LittleEndian.AppendUint32(f, in.k)
	}
	return f
}

var errFilterLength = errors.New("the length of a filter is between 1 and 4096 instructions of 8 bytes")

// Check says whether the filter is one: every instruction is
// one that seccomp knows, every jump and load stays inside, the last returns.
// It follows bpf_check_classic and seccomp_check_filter of the kernel, but takes
// a scratch word that was never stored for 0 where the kernel refuses.
func (f Filter) Check() error {
	n := f.Len()
	if len(f)%instructionSize != 0 || n == 0 || n > maxInstructions {
		return errFilterLength
	}
	for i := range n {
		in := f.at(i)
		if err := in.check(n - i - 1); err != nil {
			return fmt.Errorf("instruction %d: %w", i, err)
		}
	}
	if last := f.at(n - 1).code; last != retK && last != retA {
		return fmt.Errorf("instruction %d: the last one must return", n-1)
	}
	return nil
}

// check judges one instruction that has rest others behind it.
func (in instruction) check(rest int) error {
	switch in.code {
	case ldAbs:
		if in.k%4 != 0 || in.k >= dataSize {
			return fmt.Errorf("load from offset %d: outside of struct seccomp_data", in.k)
		}
	case ldMem, ldxMem, st, stx:
		if in.k >= scratchWords {
			return fmt.Errorf("scratch word %d: there are %d", in.k, scratchWords)
		}
	case ja:
		if in.k >= uint32(rest) {
			return fmt.Errorf("jump by %d: behind the end", in.k)
		}
	case jeqK, jgtK, jgeK, jsetK, jeqX, jgtX, jgeX, jsetX:
		if int(max(in.jt, in.jf)) >= rest {
			return fmt.Errorf("jump by %d or %d: behind the end", in.jt, in.jf)
		}
	case divK:
		if in.k == 0 {
			return errors.New("division by 0")
		}
	case lshK, rshK:
		if in.k >= 32 {
			return fmt.Errorf("shift by %d: a word has 32 bits", in.k)
		}
	case retK, retA, ldImm, ldLen, ldxImm, ldxLen, tax, txa, neg,
		addK, subK, mulK, andK, orK, xorK,
		addX, subX, mulX, divX, andX, orX, xorX, lshX, rshX:
	default:
		return fmt.Errorf("code %#04x: seccomp does not know it", in.code)
	}
	return nil
}
