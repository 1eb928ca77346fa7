package seccomp

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// An Action is what a filter returns: SECCOMP_RET_* in the upper half, data in
// the lower, seccomp(2).
type Action uint32

// The actions of the kernel.
const (
	ActionKillProcess Action = 0x80000000
	ActionKillThread  Action = 0x00000000
	ActionTrap        Action = 0x00030000
	ActionErrno       Action = 0x00050000
	ActionNotify      Action = 0x7fc00000
	ActionTrace       Action = 0x7ff00000
	ActionLog         Action = 0x7ffc0000
	ActionAllow       Action = 0x7fff0000
)

// maxErrno is the largest number an errno has on Linux, ERFKILL and EHWPOISON.
const maxErrno = 133

// actionErrno returns the action that answers e.
func actionErrno(e syscall.Errno) Action { return ActionErrno | Action(e) }

// Kind returns the action without its data.
func (a Action) Kind() Action { return a & 0xffff0000 }

// Errno returns what the application sees in errno, 0 if a does not set it.
func (a Action) Errno() syscall.Errno {
	if a.Kind() != ActionErrno {
		return 0
	}
	return syscall.Errno(a & 0xffff)
}

// String returns the word that a policy uses, and the name of the errno.
func (a Action) String() string {
	switch a.Kind() {
	case ActionKillProcess:
		return "kill"
	case ActionKillThread:
		return "kill-thread"
	case ActionTrap:
		return "trap"
	case ActionErrno:
		return "errno " + errnoName(a.Errno())
	case ActionNotify:
		return "notify"
	case ActionTrace:
		return "trace"
	case ActionLog:
		return "log"
	case ActionAllow:
		return "allow"
	}
	return fmt.Sprintf("unknown %#x", uint32(a))
}

func errnoName(e syscall.Errno) string {
	if name := unix.ErrnoName(e); name != "" {
		return name
	}
	return fmt.Sprint(uint16(e))
}

// parseErrno takes the name of an errno; an empty one is fallback.
func parseErrno(name string, fallback syscall.Errno) (syscall.Errno, error) {
	switch name {
	case "":
		return fallback, nil
	case "EWOULDBLOCK":
		return unix.EAGAIN, nil
	case "ENOTSUP":
		return unix.EOPNOTSUPP, nil
	case "EDEADLOCK":
		return unix.EDEADLK, nil
	}
	names := make([]string, 0, maxErrno)
	for e := syscall.Errno(1); e <= maxErrno; e++ {
		known := unix.ErrnoName(e)
		if known == name {
			return e, nil
		}
		names = append(names, known)
	}
	return 0, unknown("errno", name, names)
}

// parseAction turns the word of a rule into an action.
func parseAction(word string, e syscall.Errno) (Action, error) {
	switch word {
	case "allow":
		return ActionAllow, nil
	case "errno":
		return actionErrno(e), nil
	case "kill":
		return ActionKillProcess, nil
	case "log":
		return ActionLog, nil
	case "notify":
		return ActionNotify, nil
	}
	return 0, unknown("action", word, []string{"allow", "errno", "kill", "log", "notify"})
}
