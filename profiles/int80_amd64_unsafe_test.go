//go:build amd64

package profiles

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// makeInt80Getpid returns a function that calls getpid the way i386 programs
// do, which any x86_64 program may: the kernel then reports the architecture
// i386 to the filter.
func makeInt80Getpid() func() int {
	code := []byte{
		0xb8, 20, 0, 0, 0, // mov eax, 20 (getpid of i386)
		0xcd, 0x80, // int 0x80
		0xc3, // ret, the result in rax as Go wants it
	}
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		panic(err)
	}
	copy(page, code)
	if err := unix.Mprotect(page, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		panic(err)
	}
	// A func value points to a record that begins with the address of its code.
	record := new(unsafe.Pointer)
	*record = unsafe.Pointer(&page[0])
	return *(*func() int)(unsafe.Pointer(&record))
}
