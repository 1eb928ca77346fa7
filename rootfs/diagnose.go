package rootfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// The few words of elf(5) that are needed here; package debug/elf would bring
// its DWARF reader and their tables into every start of the binary.
const (
	elfMagic  = "\x7fELF"
	elf32     = 1 // EI_CLASS
	elf64     = 2
	elfExec   = 2 // e_type
	elfDyn    = 3
	elfInterp = 3 // p_type

	em386   = 3 // e_machine
	emMIPS  = 8
	emPPC64 = 21
	emS390  = 22
	emARM   = 40
	emAMD64 = 62
	emARM64 = 183
	emRISCV = 243
)

// An ExecProblem says why a command could not be executed.
type ExecProblem struct {
	Code    int    // exit status: 127 not found, 126 found but cannot be executed
	Path    string // the file that was looked at, empty when none was found
	Message string // one sentence
	Hint    string // what to do, empty when there is nothing better to say
}

func (p ExecProblem) Error() string { return p.Message }

// DiagnoseExec tells why command did not start; it is called only after an
// execve failed. dirs are the directories of PATH. A command with a slash is
// looked up as it is, so the caller makes it absolute.
func DiagnoseExec(v View, command string, dirs []string) ExecProblem {
	if command == "" {
		return ExecProblem{Code: 127, Message: "the command is empty"}
	}
	if strings.Contains(command, "/") {
		fi, err := v.Stat(command)
		if err != nil {
			return missing(command, err)
		}
		return diagnoseFile(v, command, fi, 0)
	}
	var second *ExecProblem // the first file of that name that cannot be executed
	for _, d := range dirs {
		p := path.Join("/", d, command)
		fi, err := v.Stat(p)
		if err != nil {
			continue
		}
		if fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return diagnoseFile(v, p, fi, 0)
		}
		if second == nil {
			problem := diagnoseFile(v, p, fi, 0)
			second = &problem
		}
	}
	if second != nil {
		return *second
	}
	hint := "give the full path inside the root, or set PATH with --env"
	if strings.HasPrefix(command, "-") {
		hint = "what stands behind ROOT is the command: options of hutch run go before ROOT"
	}
	return ExecProblem{
		Code:    127,
		Message: fmt.Sprintf("%s: not found in the root; looked in %s", command, strings.Join(dirs, ":")),
		Hint:    hint,
	}
}

func missing(p string, err error) ExecProblem {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return ExecProblem{Code: 127, Message: p + ": not found in the root", Hint: "give a path inside the root"}
	case errors.Is(err, unix.ELOOP):
		return ExecProblem{Code: 127, Path: p, Message: p + ": its symbolic links go round in a circle"}
	}
	return ExecProblem{Code: 126, Path: p, Message: err.Error()}
}

// diagnoseFile looks at a file that exists. depth counts the interpreters on
// the way, which the kernel follows 5 deep, execve(2).
func diagnoseFile(v View, p string, fi fs.FileInfo, depth int) ExecProblem {
	bad := func(hint, format string, arg ...any) ExecProblem {
		return ExecProblem{Code: 126, Path: p, Message: p + ": " + fmt.Sprintf(format, arg...), Hint: hint}
	}
	switch {
	case fi.IsDir():
		return bad("give a program inside it", "is a directory")
	case !fi.Mode().IsRegular():
		return bad("", "is a %s, not a program", fileKind(fi.Mode()))
	case fi.Mode()&0o111 == 0:
		return bad("chmod +x it, or run it through its interpreter", "is not executable: no x in its mode %04o", fi.Mode().Perm())
	}
	head, err := v.readHead(p, 64<<10)
	switch {
	case err != nil:
		return ExecProblem{Code: 126, Path: p, Message: err.Error()}
	case len(head) == 0:
		return bad("", "is an empty file")
	case bytes.HasPrefix(head, []byte("#!")):
		return diagnoseScript(v, p, head, depth, bad)
	case bytes.HasPrefix(head, []byte(elfMagic)):
		return diagnoseELF(v, p, head, bad)
	case bytes.HasPrefix(head, []byte("MZ")):
		return bad("a program for Linux is needed", "is a Windows program")
	case bytes.HasPrefix(head, []byte{0xcf, 0xfa, 0xed, 0xfe}):
		return bad("a program for Linux is needed", "is a macOS program")
	}
	return bad("a script needs a first line such as #!/bin/sh", "is neither a program nor a script with a #! line")
}

type report func(hint, format string, arg ...any) ExecProblem

func diagnoseScript(v View, p string, head []byte, depth int, bad report) ExecProblem {
	line, _, _ := bytes.Cut(head[2:min(len(head), 256)], []byte("\n"))
	interp, _, _ := strings.Cut(strings.Trim(string(line), " \t"), " ")
	interp, _, _ = strings.Cut(interp, "\t")
	switch {
	case interp == "":
		return bad("write an interpreter after #!, such as #!/bin/sh", "its #! line names no interpreter")
	case strings.HasSuffix(interp, "\r"):
		return bad("remove the carriage returns: sed -i 's/\\r$//' FILE", "has Windows line ends, so its interpreter is %q", interp)
	}
	fi, err := v.Stat(interp)
	if err != nil {
		return bad("install it in the root, or change the #! line",
			"is a script, and its interpreter %s is not in the root", quoteOdd(interp))
	}
	if depth >= 4 {
		return bad("", "its interpreters are scripts themselves, more than 4 deep")
	}
	inner := diagnoseFile(v, interp, fi, depth+1)
	return bad(inner.Hint, "is a script, and its interpreter cannot be executed: %s", inner.Message)
}

func diagnoseELF(v View, p string, head []byte, bad report) ExecProblem {
	if len(head) < 52 {
		return bad("", "is an ELF program that was cut short")
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if head[5] == 2 {
		order = binary.BigEndian
	}
	want, wantClass := nativeMachine()
	machine, class := order.Uint16(head[18:]), head[4]
	if machine != want || class != wantClass || order != binary.ByteOrder(binary.LittleEndian) {
		return bad("a root for this machine's architecture is needed",
			"is a program for %s, and this machine is %s", machineName(machine, class), runtime.GOARCH)
	}
	if t := order.Uint16(head[16:]); t != elfExec && t != elfDyn {
		return bad("", "is an ELF file of type %d (object or core file), not a program", t)
	}
	interp, err := programInterpreter(head, order, class)
	switch {
	case err != nil:
		return bad("", "is a damaged ELF program: %v", err)
	case interp == "":
		return bad("look at the denied list and at the mount options (noexec)", "is a sound program, and yet could not be executed")
	}
	fi, err := v.Stat(interp)
	if err != nil {
		return bad("install the C library that it was linked with (glibc: libc6, musl: musl), or use a static program",
			"needs the dynamic loader %s, which is not in the root", quoteOdd(interp))
	}
	if !fi.Mode().IsRegular() || fi.Mode()&0o111 == 0 {
		return bad("", "its dynamic loader %s cannot be executed", quoteOdd(interp))
	}
	return bad("look at the denied list and at the mount options (noexec)",
		"and its dynamic loader %s are there, and yet could not be executed", quoteOdd(interp))
}

// programInterpreter reads PT_INTERP, elf(5), from the head of a file.
func programInterpreter(head []byte, order binary.ByteOrder, class byte) (string, error) {
	cut := errors.New("it ends inside its headers")
	var off, size, num uint64
	if class == elf64 {
		if len(head) < 64 {
			return "", cut
		}
		off, size, num = order.Uint64(head[32:]), uint64(order.Uint16(head[54:])), uint64(order.Uint16(head[56:]))
	} else {
		off, size, num = uint64(order.Uint32(head[28:])), uint64(order.Uint16(head[42:])), uint64(order.Uint16(head[44:]))
	}
	for i := range num {
		at := off + i*size
		if size < 32 || class == elf64 && size < 56 || at < off || at > uint64(len(head)) || uint64(len(head))-at < size {
			return "", cut
		}
		h := head[at:]
		if order.Uint32(h) != elfInterp {
			continue
		}
		fileOff, fileSize := uint64(order.Uint32(h[4:])), uint64(order.Uint32(h[16:]))
		if class == elf64 {
			fileOff, fileSize = order.Uint64(h[8:]), order.Uint64(h[32:])
		}
		if fileSize > unix.PathMax || fileOff > uint64(len(head)) || uint64(len(head))-fileOff < fileSize {
			return "", cut
		}
		return string(bytes.TrimRight(head[fileOff:fileOff+fileSize], "\x00")), nil
	}
	return "", nil
}

func nativeMachine() (machine uint16, class byte) {
	switch runtime.GOARCH {
	case "amd64":
		return emAMD64, elf64
	case "arm64":
		return emARM64, elf64
	case "riscv64":
		return emRISCV, elf64
	case "386":
		return em386, elf32
	case "arm":
		return emARM, elf32
	}
	return 0, 0
}

// machineName uses Go's words, which are also those of an image's platform.
func machineName(m uint16, c byte) string {
	switch {
	case m == emAMD64 && c == elf32:
		return "x32 (amd64 with 32-bit pointers)"
	case m == emAMD64:
		return "amd64"
	case m == em386:
		return "386 (32-bit x86)"
	case m == emARM64:
		return "arm64"
	case m == emARM:
		return "arm"
	case m == emRISCV:
		return "riscv"
	case m == emPPC64:
		return "ppc64"
	case m == emS390:
		return "s390x"
	case m == emMIPS:
		return "mips"
	}
	return fmt.Sprintf("ELF machine %d", m)
}

// quoteOdd leaves an ordinary path as it is.
func quoteOdd(s string) string {
	if len(s) < 200 && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
		return s
	}
	return quote(s)
}
