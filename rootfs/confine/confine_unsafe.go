// Package confine takes a program's privileges away, for those that hutch starts
// to read what strangers have made.
package confine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nobody is a user without files of its own.
const nobody = 65534

// Self gives up, for all threads and for ever: the caller's environment but for
// proxies, a life after that of the program that started it, root's identity,
// every capability, new privileges, files (but for what is below readable, looked at
// with the rights of nobody or of an unprivileged caller), and as far as the
// kernel's Landlock goes, listening sockets and other processes. What an old
// kernel lacks is left out; an identity that cannot be given up is an error. It
// needs a program without cgo.
func Self(readable ...string) error { return self(true, readable) }

// Alone is Self for a program that needs neither files nor a network nor
// children: a seccomp filter forbids those.
func Alone() error {
	if err := self(false, nil); err != nil {
		return err
	}
	return forbid()
}

func self(connect bool, readable []string) error {
	forget()
	// It holds passwords: no core, no tracing by others of the same user.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	// It writes to pipes and sockets only, which this does not count.
	for _, limit := range [...]int{unix.RLIMIT_FSIZE, unix.RLIMIT_CORE} {
		if err := unix.Setrlimit(limit, &unix.Rlimit{}); err != nil {
			return fmt.Errorf("setrlimit: %w", err)
		}
	}
	parent := os.Getppid()
	if err := dropIdentity(); err != nil {
		return err
	}
	// After that: a change of identity resets it, prctl(2).
	if err := everywhere(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0); err != nil {
		return fmt.Errorf("parent-death signal: %w", err)
	}
	if os.Getppid() != parent {
		return errors.New("hutch is gone")
	}
	if err := everywhere(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	return landlock(connect, readable)
}

// forget takes the caller's variables away, and their bytes, where the kernel
// has put them: credential helpers have run, and the secrets among them are of
// no use any more. What is about proxies is read later.
func forget() {
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasSuffix(strings.ToUpper(name), "_PROXY") {
			os.Unsetenv(name)
		}
	}
	// What that leaves are the runtime's copies, package runtime's goenvs.
	clear(initialEnvironment())
}

// initialEnvironment is between env_start and env_end of proc_pid_stat(5);
// without a /proc it is empty.
func initialEnvironment() []byte {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return nil
	}
	// The name of the program, in parentheses, may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const start, end = 50 - 3, 51 - 3
	if len(fields) <= end {
		return nil
	}
	from, _ := strconv.ParseUint(fields[start], 10, 64)
	to, _ := strconv.ParseUint(fields[end], 10, 64)
	if from == 0 || to <= from {
		return nil
	}
	address := uintptr(from)
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&address)), to-from)
}

func dropIdentity() error {
	if os.Geteuid() == 0 {
		err := syscall.Setgroups(nil)
		if err == nil {
			err = syscall.Setresgid(nobody, nobody, nobody)
		}
		if err == nil {
			err = syscall.Setresuid(nobody, nobody, nobody)
		}
		// A user namespace may have no such id; its root is then an ordinary user
		// outside, and loses its capabilities below.
		if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.EPERM) {
			return fmt.Errorf("become nobody: %w", err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	err := everywhere(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)), 0)
	runtime.KeepAlive(&none)
	if err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	return nil
}

// everywhere makes a system call on every thread, which a program with cgo
// could not: this one is built without.
func everywhere(trap, a, b, c uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall6(trap, a, b, c, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// The rights of the first Landlock, landlock(7), and what later ones added.
const (
	fsRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	fsFirst = 1<<13 - 1
)

// handled says what a ruleset of this version of Landlock can forbid.
func handled(abi int) (fs, net, scoped uint64) {
	fs = fsFirst
	for _, later := range [...]struct {
		abi  int
		what uint64
	}{{2, unix.LANDLOCK_ACCESS_FS_REFER}, {3, unix.LANDLOCK_ACCESS_FS_TRUNCATE}, {5, unix.LANDLOCK_ACCESS_FS_IOCTL_DEV}} {
		if abi >= later.abi {
			fs |= later.what
		}
	}
	if abi >= 4 {
		net = unix.LANDLOCK_ACCESS_NET_BIND_TCP
	}
	if abi >= 6 {
		scoped = 1<<0 | 1<<1 // abstract sockets, signals
	}
	return fs, net, scoped
}

func landlock(connect bool, readable []string) error {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return nil // ENOSYS, EOPNOTSUPP: the kernel has none
	}
	fs, net, scoped := handled(int(abi))
	if !connect && net != 0 {
		net |= unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	attr := [3]uint64{fs, net, scoped}
	size := uintptr(8)
	if abi >= 4 {
		size = 16
	}
	if abi >= 6 {
		size = 24
	}
	set, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	defer unix.Close(int(set))
	for _, path := range readable {
		if err := allowReading(set, path); err != nil {
			return fmt.Errorf("landlock: %s: %w", path, err)
		}
	}
	if err := everywhere(unix.SYS_LANDLOCK_RESTRICT_SELF, set, 0, 0); err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	return nil
}

func allowReading(set uintptr, path string) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // not there, or not for us
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	rights := uint64(unix.LANDLOCK_ACCESS_FS_READ_FILE)
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		rights = fsRead
	}
	// struct landlock_path_beneath_attr is packed: 8 bytes and 4.
	var rule [12]byte
	*(*uint64)(unsafe.Pointer(&rule[0])) = rights
	*(*int32)(unsafe.Pointer(&rule[8])) = int32(fd)
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, set, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
