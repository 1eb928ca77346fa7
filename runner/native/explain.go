package native

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/plan"
)

// explain turns a failed step into an error with advice.
func (b *box) explain(step int, errno syscall.Errno) error {
	s := &b.plan.Steps[step]
	if s.Kind == plan.Execute {
		return b.explainExec(errno)
	}
	e := &runner.Error{Stage: runner.StageStart, Step: s.String(), Err: errno, Hint: hintStep(s, errno)}
	if e.Hint == "" {
		e.Hint = hintErrno(errno)
	}
	return e
}

// hintStep is advice for a step's likely failures; the kernel's errno alone
// often misleads.
func hintStep(s *plan.Step, errno syscall.Errno) string {
	switch {
	case s.Kind == plan.CheckParent:
		return "hutch ended while the box was starting"
	case s.Kind == plan.TakeTree && s.IDMapped && errno == unix.EINVAL:
		return fmt.Sprintf("the file system of %s cannot map ids: put it on ext4, xfs, btrfs or tmpfs, or run hutch as an ordinary user", s.Source)
	case s.Kind == plan.TakeImage && s.IDMapped && errno == unix.EINVAL:
		return "EROFS maps ids since Linux 5.19; import the image with --store-format dir"
	case s.Kind == plan.TakeTree && errno == unix.EPERM:
		return "without privilege a tree can only be taken whole; check that every mount below " + s.Source + " is reachable"
	case s.Kind == plan.TakeTree:
		return "check that the path exists and that you may reach it"
	case s.Kind == plan.TakeProc:
		return "a fresh /proc is only granted where the host's is fully visible: in a container, start it with an unmasked /proc (podman --security-opt unmask=/proc/*)"
	case s.Kind == plan.MountOverlay:
		return "overlay in a user namespace needs Linux 5.11, at most two stacked overlays, and readable layers; the kernel log says more (dmesg)"
	case s.Kind == plan.MakeDir && errno == unix.ELOOP, s.Kind == plan.Place && errno == unix.ELOOP:
		return "the root has a symbolic link at " + s.Target + ", which could lead elsewhere; remove it from the image"
	case s.Kind == plan.MakeDir && errno == unix.ENOTDIR:
		return "the root has something at " + s.Target + " that is not a directory"
	case (s.Kind == plan.MakeDir || s.Kind == plan.MakeFile) && errno == unix.EROFS:
		return s.Target + " does not exist, and what it lies in is read-only: make it there first"
	case s.Kind == plan.MakeDir && errno == unix.EACCES, s.Kind == plan.MakeFile && errno == unix.EACCES:
		return s.Target + " does not exist, and the box may not make it where it lies"
	case s.Kind == plan.Workdir && errno == unix.ENOENT:
		return "the root has no such directory; choose one with --workdir"
	case s.Kind == plan.Workdir:
		return "the application's user must be able to enter it; choose another with --workdir"
	case s.Kind == plan.NarrowPath && errno == unix.ENOENT, s.Kind == plan.NarrowPath && errno == unix.ENOTDIR:
		return "a path of landlock." + s.Name + " has to be there (and one of list a directory): correct the profile, or learn it anew"
	case s.Kind == plan.NarrowPath && errno == unix.EACCES:
		return "each path of landlock." + s.Name + " must be one that the application's user can reach"
	case s.Kind == plan.NarrowPort && errno == unix.EAFNOSUPPORT:
		return "the kernel was built without TCP (CONFIG_INET), so landlock." + s.Name + " has nothing to narrow: leave the key out"
	case s.Kind == plan.NarrowSelf && errno == unix.E2BIG:
		return "hutch runs inside of 15 or more Landlock layers already, and the kernel takes 16"
	case s.Kind == plan.JoinLimits && errno == unix.EINVAL:
		return "a group of cgroup v1's cpu controller takes no real-time process: start hutch without chrt"
	case s.Kind == plan.Rlimit:
		return "a limit cannot be raised over the caller's own hard limit (ulimit -H)"
	case s.Kind == plan.InstallSeccomp:
		return "the filter is not valid, or another filter refuses seccomp(2)"
	case s.Kind == plan.NewKeyring && errno == unix.EDQUOT:
		return "your quota of keys is used up: see /proc/key-users and sysctl kernel.keys.maxkeys"
	}
	return ""
}

// hintErrno is advice that fits any step.
func hintErrno(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return "a limit of namespaces or of memory is reached: see sysctl user.max_mnt_namespaces and free memory, or raise --disk"
	case errors.Is(err, unix.ENOMEM):
		return "the machine or the cgroup is out of memory"
	case errors.Is(err, unix.EAGAIN):
		return "too many processes: raise ulimit -u, or pids.max of the control group around hutch"
	case errors.Is(err, unix.ENOSYS):
		return "this kernel is too old (hutch needs Linux 5.12), or a seccomp filter around hutch hides the call"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return "hutch doctor says what this machine allows"
	}
	return "hutch doctor says what this machine can do"
}

// exhausted are the errnos of limits, which say nothing about the program.
func exhausted(errno syscall.Errno) bool {
	switch errno {
	case unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE:
		return true
	}
	return false
}

// explainExec finds out why execve failed, by looking at the layers: the box
// itself is gone.
func (b *box) explainExec(errno syscall.Errno) error {
	if l := &b.spec.Landlock; errno == unix.EACCES && (l.Execute != nil || l.Read != nil) {
		return &runner.Error{
			Stage: runner.StageExec, Step: "execute " + b.spec.Command[0], Err: errno, Exit: runner.ExitNotExecutable,
			Hint: "the profile's landlock.execute, or without that its landlock.read, has to name it, a script's interpreter and a program's loader; or its mode does not allow it",
		}
	}
	if e := b.spec.ExplainExec(); e != nil && !exhausted(errno) {
		return e
	}
	e := &runner.Error{Stage: runner.StageExec, Step: "execute " + b.spec.Command[0], Err: errno, Exit: runner.ExitNotExecutable}
	switch errno {
	case unix.ENOENT, unix.ENOTDIR:
		e.Exit = runner.ExitNotFound
		e.Hint = "the box has no such program: check the path, or its interpreter or libraries"
	case unix.EACCES:
		e.Hint = "it is not executable for the application's user, or lies outside the root"
	case unix.ENOEXEC:
		e.Hint = "it is not a program for this machine; a script begins with #! and its interpreter"
	case unix.E2BIG:
		e.Hint = "the arguments and the environment are too long"
	default:
		e.Hint = hintErrno(errno)
	}
	return e
}
