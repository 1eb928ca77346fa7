package seccomp

import (
	"fmt"
	"runtime"
	"sort"
	"sync"
)

//go:generate go run hutch/seccomp/internal/gen

// An Arch is an AUDIT_ARCH_* of linux/audit.h, as in struct seccomp_data.
type Arch uint32

// The architectures whose calls this package knows by number.
const (
	ArchX86_64  Arch = 0xc000003e
	ArchAArch64 Arch = 0xc00000b7
)

// The architectures that a policy can name beside the machine's own. x32 has
// the AUDIT_ARCH of x86_64 and numbers from 0x40000000.
const (
	archX86 Arch = 0x40000003
	archARM Arch = 0x40000028
)

// Native returns the architecture of this program.
func Native() Arch {
	if runtime.GOARCH == "arm64" {
		return ArchAArch64
	}
	return ArchX86_64
}

// String returns the name that uname -m prints.
func (a Arch) String() string {
	switch a {
	case ArchX86_64:
		return "x86_64"
	case ArchAArch64:
		return "aarch64"
	case archX86:
		return "x86"
	case archARM:
		return "arm"
	}
	return fmt.Sprintf("%#x", uint32(a))
}

// A call is a system call of a table: sorted by number.
type call struct {
	nr   uint32
	name string
}

func table(a Arch) []call {
	switch a {
	case ArchX86_64:
		return tableX86_64[:]
	case ArchAArch64:
		return tableAArch64[:]
	}
	return nil
}

// Name returns the name of call number nr, "" if there is none.
func Name(a Arch, nr int) string {
	t := table(a)
	i := sort.Search(len(t), func(i int) bool { return int(t[i].nr) >= nr })
	if i < len(t) && int(t[i].nr) == nr {
		return t[i].name
	}
	return ""
}

// numbers are the tables by name, made when the first name is looked up: to
// compile a policy is to look a thousand up.
var numbers [2]struct {
	once sync.Once
	of   map[string]uint32
}

// Number returns the number of the call that is named, false if a has none.
func Number(a Arch, name string) (int, bool) {
	n := &numbers[0]
	if a == ArchAArch64 {
		n = &numbers[1]
	} else if a != ArchX86_64 {
		return 0, false
	}
	n.once.Do(func() {
		t := table(a)
		n.of = make(map[string]uint32, len(t))
		for _, c := range t {
			n.of[c.name] = c.nr
		}
	})
	nr, ok := n.of[name]
	return int(nr), ok
}

// Last returns the largest number in the table of a.
func Last(a Arch) int {
	t := table(a)
	if len(t) == 0 {
		return -1
	}
	return int(t[len(t)-1].nr)
}

// Names returns the names of all calls of a, in the order of their numbers.
func Names(a Arch) []string {
	t := table(a)
	names := make([]string, len(t))
	for i, c := range t {
		names[i] = c.name
	}
	return names
}
