package native

import (
	"encoding/binary"
	"syscall"
	"unsafe"
)

// An arena is memory outside Go's heap for all that the ops of a box point
// to: strings, structs, stacks. It does not move, and the garbage collector
// does not look at it.
type arena struct {
	mem  []byte
	used int
	// texts remembers what lies where, for --dry-run=syscalls.
	texts map[uintptr]string
}

// newArena maps size bytes; pages that are not touched cost nothing.
func newArena(size int, trace bool) (*arena, error) {
	mem, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return nil, err
	}
	a := &arena{mem: mem}
	if trace {
		a.texts = map[uintptr]string{}
	}
	return a, nil
}

func (a *arena) free() { syscall.Munmap(a.mem) }

// room takes n bytes, aligned to 8, or nil when the arena is full.
func (a *arena) room(n int) []byte {
	start := (a.used + 7) &^ 7
	if start+n > len(a.mem) {
		panic("native: arena too small: size it by the plan") // encode sizes it
	}
	a.used = start + n
	return a.mem[start : start+n : start+n]
}

func at(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// int32At is the address of a field in room's memory.
func int32At(b []byte, off int) *int32 { return (*int32)(unsafe.Pointer(&b[off : off+4][0])) }

// str is s with a final zero byte.
func (a *arena) str(s string) uintptr {
	b := a.room(len(s) + 1)
	copy(b, s)
	if a.texts != nil {
		a.texts[at(b)] = s
	}
	return at(b)
}

func (a *arena) bytes(data []byte) uintptr {
	b := a.room(len(data) + 1)
	copy(b, data)
	return at(b)
}

// words is an array of 64-bit words.
func (a *arena) words(w ...uint64) []byte {
	b := a.room(8 * len(w))
	for i, v := range w {
		binary.NativeEndian.PutUint64(b[8*i:], v)
	}
	return b
}

// ints is an array of 32-bit words.
func (a *arena) ints(w ...uint32) []byte {
	b := a.room(4*len(w) + 4)
	for i, v := range w {
		binary.NativeEndian.PutUint32(b[4*i:], v)
	}
	return b
}

// vector is a null-terminated array of strings, as execve(2) takes it.
func (a *arena) vector(list []string) uintptr {
	v := make([]uint64, len(list)+1)
	for i, s := range list {
		v[i] = uint64(a.str(s))
	}
	return at(a.words(v...))
}

// stack is room for a child, which grows down from its end.
func (a *arena) stack() (base, size uint64) {
	b := a.room(stackSize)
	base = (uint64(at(b)) + 15) &^ 15
	return base, stackSize - 16
}

const stackSize = 16 << 10

// holds says whether address lies in the arena.
func (a *arena) holds(address uintptr) bool {
	base := at(a.mem)
	return address >= base && address < base+uintptr(len(a.mem))
}
