package seccomp

import (
	"bufio"
	"fmt"
	"io"
)

// Disassemble writes a filter, an instruction a line: its number, its four
// fields in hexadecimal, and what it means. Numbers that are compared with the
// call's number carry its name.
func Disassemble(w io.Writer, f Filter) error {
	if err := f.Check(); err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	d := disassembler{arch: Native()}
	for i, in := range f.instructions() {
		fmt.Fprintf(b, "%4d  %04x %02x %02x %08x  %s\n", i, in.code, in.jt, in.jf, in.k, d.line(i, in))
	}
	return b.Flush()
}

// A disassembler remembers what was loaded last, in the order of the text;
// libseccomp reloads at each place where another load could have led.
type disassembler struct {
	loaded uint32
	arch   Arch
}

func (d *disassembler) line(i int, in instruction) string {
	switch in.code {
	case ldAbs:
		d.loaded = in.k
		return "load " + field(in.k)
	case ja:
		return fmt.Sprintf("goto %d", i+1+int(in.k))
	case jeqK, jgtK, jgeK, jsetK:
		return fmt.Sprintf("if %s %s goto %d else %d",
			operator(in.code), d.constant(in), i+1+int(in.jt), i+1+int(in.jf))
	case jeqX, jgtX, jgeX, jsetX:
		return fmt.Sprintf("if %s x goto %d else %d", operator(in.code), i+1+int(in.jt), i+1+int(in.jf))
	case retK:
		return "return " + Action(in.k).String()
	}
	return mnemonic(in)
}

// constant writes the operand of a comparison in terms of what was loaded.
func (d *disassembler) constant(in instruction) string {
	switch d.loaded {
	case offsetArch:
		if in.code == jeqK {
			d.arch = Arch(in.k)
		}
		return Arch(in.k).String()
	case offsetNr:
		if name := Name(d.arch, int(in.k)); name != "" {
			return fmt.Sprintf("%d (%s)", in.k, name)
		}
	}
	return fmt.Sprintf("%#x", in.k)
}

// field names a word of struct seccomp_data.
func field(offset uint32) string {
	switch {
	case offset == offsetNr:
		return "nr"
	case offset == offsetArch:
		return "arch"
	case offset < offsetArgs:
		return "ip." + half(offset)
	}
	return fmt.Sprintf("args[%d].%s", (offset-offsetArgs)/8, half(offset))
}

func half(offset uint32) string {
	if offset%8 == 4 {
		return "high"
	}
	return "low"
}

func operator(code uint16) string {
	switch code {
	case jeqK, jeqX:
		return "=="
	case jgtK, jgtX:
		return ">"
	case jgeK, jgeX:
		return ">="
	}
	return "&"
}

// mnemonic writes what neither jumps, loads from the call nor returns a constant.
func mnemonic(in instruction) string {
	switch in.code {
	case retA:
		return "return a"
	case ldImm:
		return fmt.Sprintf("a = %#x", in.k)
	case ldMem:
		return fmt.Sprintf("a = mem[%d]", in.k)
	case ldxImm:
		return fmt.Sprintf("x = %#x", in.k)
	case ldxMem:
		return fmt.Sprintf("x = mem[%d]", in.k)
	case st:
		return fmt.Sprintf("mem[%d] = a", in.k)
	case stx:
		return fmt.Sprintf("mem[%d] = x", in.k)
	case ldLen:
		return "a = length"
	case ldxLen:
		return "x = length"
	case tax:
		return "x = a"
	case txa:
		return "a = x"
	case neg:
		return "a = -a"
	}
	const byX = 0x08 // BPF_X
	if in.code&byX != 0 {
		return "a " + arithmetic(in.code&^byX) + " x"
	}
	return fmt.Sprintf("a %s %#x", arithmetic(in.code), in.k)
}

func arithmetic(code uint16) string {
	switch code {
	case addK:
		return "+="
	case subK:
		return "-="
	case mulK:
		return "*="
	case divK:
		return "/="
	case orK:
		return "|="
	case andK:
		return "&="
	case lshK:
		return "<<="
	case rshK:
		return ">>="
	}
	return "^="
}
