package native

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
)

// What is read by hand is what debug/elf reads.
func TestSymbolIn(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, name := range []string{self, "/bin/sh", "/usr/bin/python3"} {
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		f, err := elf.NewFile(file)
		if err != nil {
			t.Fatal(err)
		}
		symbols, _ := f.Symbols()
		dynamic, _ := f.DynamicSymbols()
		for _, s := range append(symbols, dynamic...) {
			if elf.ST_TYPE(s.Info) != elf.STT_FUNC || s.Size < 2 || s.Name == "" || len(s.Name) >= longestName {
				continue
			}
			for _, p := range f.Progs {
				if p.Type != elf.PT_LOAD || s.Value < p.Vaddr || s.Value-p.Vaddr >= p.Filesz || tried%97 != 0 {
					continue
				}
				got, _, _ := strings.Cut(symbolIn(file, s.Value-p.Vaddr+p.Off+1), "+")
				if !called(append(symbols, dynamic...), got, s.Value) {
					t.Errorf("%s: %q, want %q", name, got, s.Name)
				}
			}
			tried++
		}
	}
	if tried < 1000 {
		t.Errorf("%d symbols tried", tried)
	}
}

// called says whether a symbol of that name begins there: several may.
func called(symbols []elf.Symbol, name string, at uint64) bool {
	for _, s := range symbols {
		if s.Name == name && s.Value == at {
			return true
		}
	}
	return false
}

// A small file that says that its tables are huge, or packed, costs little.
func TestSymbolInBomb(t *testing.T) {
	for _, c := range []struct {
		name    string
		symbols elf.Section64
		names   elf.Section64
		want    string
	}{
		{"as it should be", elf.Section64{Size: elf.Sym64Size}, elf.Section64{Size: 5}, "name+0x9"},
		{"huge symbols", elf.Section64{Size: 1 << 40}, elf.Section64{Size: 5}, ""},
		{"packed symbols", elf.Section64{Size: elf.Sym64Size, Flags: uint64(elf.SHF_COMPRESSED)}, elf.Section64{Size: 5}, ""},
		{"huge names", elf.Section64{Size: elf.Sym64Size}, elf.Section64{Size: 1 << 40}, "name+0x9"},
		{"no names", elf.Section64{Size: elf.Sym64Size}, elf.Section64{}, ""},
		{"symbols behind all numbers", elf.Section64{Size: elf.Sym64Size, Off: 1 << 63}, elf.Section64{Size: 5}, ""},
	} {
		file := tinyProgram(t, c.symbols, c.names)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := symbolIn(bytes.NewReader(file), 10)
		runtime.ReadMemStats(&after)
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
			t.Errorf("%s: %d MiB were used", c.name, used>>20)
		}
	}
}

// tinyProgram has one symbol, "name" at 1, and what the sections say of it.
func tinyProgram(t testing.TB, symbols, names elf.Section64) []byte {
	const symbolsAt, namesAt = 512, 512 + elf.Sym64Size
	symbols.Type, symbols.Link = uint32(elf.SHT_SYMTAB), 1
	if symbols.Off == 0 {
		symbols.Off = symbolsAt
	}
	names.Type, names.Off = uint32(elf.SHT_NOTE), namesAt
	h := elf.Header64{Phoff: 64, Phnum: 1, Shoff: 128, Shnum: 2}
	copy(h.Ident[:], elf.ELFMAG+"\x02\x01\x01")
	file := make([]byte, symbolsAt+elf.Sym64Size)
	for at, v := range map[int]any{
		0: h, 64: elf.Prog64{Type: uint32(elf.PT_LOAD), Filesz: 100}, 128: []elf.Section64{symbols, names},
		symbolsAt: elf.Sym64{Info: byte(elf.STT_FUNC), Value: 1, Size: 100},
	} {
		if _, err := binary.Encode(file[at:], binary.NativeEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	return append(file, "name\x00"...)
}

func FuzzSymbolIn(f *testing.F) {
	f.Add(tinyProgram(f, elf.Section64{Size: elf.Sym64Size}, elf.Section64{Size: 5}), uint64(10))
	f.Fuzz(func(t *testing.T, data []byte, offset uint64) {
		if got := symbolIn(bytes.NewReader(data), offset); len(got) > 3*longestName+len(fmt.Sprintf("+%#x", ^uint64(0))) {
			t.Errorf("%d bytes", len(got))
		}
	})
}
