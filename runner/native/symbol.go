package native

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The file is the application's own, so its tables are read by hand, each of a
// bounded size and each once: debug/elf unpacks sections, copies names and
// follows versions as far as the file says, which may be further than there is
// memory.
const (
	mostHeaders = 1024
	mostSymbols = 16 << 20 // bytes of a table of symbols, or of their names
	longestName = 256
)

// symbolIn names the function that the instruction at an offset of a file of
// this machine's belongs to, elf(5); "" where nothing says so.
func symbolIn(file io.ReaderAt, offset uint64) string {
	var h elf.Header64
	if !readTable(file, 0, &h) || string(h.Ident[:elf.EI_CLASS+1]) != elf.ELFMAG+string(rune(elf.ELFCLASS64)) ||
		h.Phnum > mostHeaders || h.Shnum > mostHeaders {
		return ""
	}
	segments, sections := make([]elf.Prog64, h.Phnum), make([]elf.Section64, h.Shnum)
	if !readTable(file, h.Phoff, segments) || !readTable(file, h.Shoff, sections) {
		return ""
	}
	for _, s := range segments {
		if elf.ProgType(s.Type) == elf.PT_LOAD && s.Off <= offset && offset-s.Off < s.Filesz {
			return nearestSymbol(file, sections, s.Vaddr+offset-s.Off)
		}
	}
	return ""
}

// nearestSymbol looks in the tables of symbols for the function before an address.
func nearestSymbol(file io.ReaderAt, sections []elf.Section64, address uint64) string {
	best, names, found := elf.Sym64{}, elf.Section64{}, false
	for _, kind := range [...]elf.SectionType{elf.SHT_SYMTAB, elf.SHT_DYNSYM} {
		i := slices.IndexFunc(sections, func(s elf.Section64) bool { return elf.SectionType(s.Type) == kind })
		if i < 0 || int(sections[i].Link) >= len(sections) {
			continue
		}
		s := &sections[i]
		data := contents(file, s)
		for ; len(data) >= elf.Sym64Size; data = data[elf.Sym64Size:] {
			y := elf.Sym64{
				Name: binary.NativeEndian.Uint32(data), Info: data[4],
				Value: word64(data[8:]), Size: word64(data[16:]),
			}
			if elf.ST_TYPE(y.Info) == elf.STT_FUNC && y.Value <= address && (!found || y.Value >= best.Value) && address-y.Value < max(y.Size, 4096) {
				best, names, found = y, sections[s.Link], true
			}
		}
	}
	if !found || uint64(best.Name) >= names.Size {
		return ""
	}
	text := make([]byte, min(names.Size-uint64(best.Name), longestName))
	n, _ := file.ReadAt(text, int64(names.Off+uint64(best.Name)))
	name, _, whole := bytes.Cut(text[:max(n, 0)], []byte{0})
	if !whole || len(name) == 0 {
		return ""
	}
	return fmt.Sprintf("%s+%#x", strings.ToValidUTF8(string(name), "?"), address-best.Value)
}

// contents are those of a section, nil for one that is too large or packed.
func contents(file io.ReaderAt, s *elf.Section64) []byte {
	if s.Size > mostSymbols || elf.SectionFlag(s.Flags)&elf.SHF_COMPRESSED != 0 {
		return nil
	}
	data := make([]byte, s.Size)
	if n, err := file.ReadAt(data, int64(s.Off)); n < len(data) && err != nil {
		return nil
	}
	return data
}

// readTable reads a header, or a list of them.
func readTable(file io.ReaderAt, at uint64, table any) bool {
	data := make([]byte, binary.Size(table))
	if n, _ := file.ReadAt(data, int64(at)); n < len(data) {
		return false
	}
	_, err := binary.Decode(data, binary.NativeEndian, table)
	return err == nil
}
