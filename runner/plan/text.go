package plan

import (
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

// WriteTo prints the plan, a line a step, in paragraphs.
func (p *Plan) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	var para Paragraph
	fmt.Fprintf(&b, "clone with new %s\n", flags(p.Clone, namespaceNames[:]))
	for _, s := range p.Steps {
		if s.Paragraph != para {
			para = s.Paragraph
			fmt.Fprintf(&b, "\n%s\n", para)
		}
		fmt.Fprintf(&b, "  %-11s  %s\n", s.By, s)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// String says the step in words; it is what an error names.
func (s Step) String() string {
	switch s.Kind {
	case TakeTree:
		return "take " + s.Source + attributes(s)
	case TakeProc:
		return "make a proc file system"
	case TakeTmpfs:
		return "make a tmpfs for " + s.Target + size(s.Size)
	case TakeDevpts:
		return "make a devpts file system"
	case TakeScratch:
		return "take scratch directory " + s.Source + attributes(s)
	case Stage:
		return fmt.Sprintf("mount scratch tmpfs on %s%s, %d inodes", s.Target, size(s.Size), s.Inodes)
	case StageDir:
		return fmt.Sprintf("make scratch directory %s mode %#o", s.Target, s.Mode)
	case StageLayer:
		return fmt.Sprintf("attach %s at %s", s.Name, s.Target)
	case TakeImage:
		return "mount the file system in " + s.Source + attributes(s)
	case KeepDirs:
		return "make upper and a fresh work directory in " + s.Target
	case MountOverlay:
		if s.Target != "upper" {
			return "mount overlay of " + strings.Join(s.Words, ":") + ", written to " + s.Target + ", not synced at the end"
		}
		return "mount overlay of " + strings.Join(s.Words, ":")
	case ReaperFiles:
		if s.Name != "" {
			return "keep only the status socket and the " + s.Name
		}
		return "keep only the status socket"
	case MakeDir:
		return "make directory " + s.Target
	case MakeFile:
		return "make file " + s.Target
	case MakeLink:
		return "make link " + s.Target + " to " + s.Data
	case Place:
		return "place " + s.Name + " on " + s.Target
	case PlaceDevice:
		return "place device /dev/" + s.Target
	case Mask:
		return "hide " + s.Target
	case Protect:
		return "make " + s.Target + " read-only"
	case WriteProc:
		return "write " + s.Data + " to /proc/" + s.Target
	case InstallSeccomp:
		return fmt.Sprintf("install seccomp filter %s, %d instructions", s.Data, len(s.Bytes)/8)
	case Execute:
		return "execute " + strings.Join(s.Words, " ")
	}
	return s.identity()
}

// identity says the steps about who the application is and what it may do.
func (s Step) identity() string {
	switch s.Kind {
	case Unshare:
		return "unshare " + flags(s.Bits, namespaceNames[:])
	case MapIDs:
		var b strings.Builder
		fmt.Fprintf(&b, "map %ss", s.Data)
		for _, m := range s.IDs {
			fmt.Fprintf(&b, " %d→%d+%d", m.Inside, m.Outside, m.Count)
		}
		return b.String()
	case OpenTerminal:
		return fmt.Sprintf("open a terminal of %s rows and %s columns, owned by %d:%d", s.Words[0], s.Words[1], s.UID, s.GID)
	case Become:
		return fmt.Sprintf("become %d:%d", s.UID, s.GID)
	case SetIDs:
		return fmt.Sprintf("set user %d, group %d", s.UID, s.GID)
	case SetGroups:
		return fmt.Sprintf("set supplementary groups %v", s.Groups)
	case Rlimit:
		return fmt.Sprintf("limit %s to %d", s.Data, s.Size)
	case DropBounding:
		return fmt.Sprintf("drop capabilities %#x from the bounding set", s.Bits)
	case SetCaps:
		return fmt.Sprintf("set permitted and effective capabilities %#x, inheritable 0", s.Bits)
	case Workdir:
		return "enter working directory " + s.Target
	case Umask:
		return fmt.Sprintf("set umask %#o", s.Mode)
	case Hostname:
		return "set hostname " + s.Data
	case LandlockCreate:
		return fmt.Sprintf("create landlock ruleset, rights %#x, scopes %#x", s.Bits, s.Scopes)
	case LandlockAllow:
		return fmt.Sprintf("landlock: allow %#x below %s", s.Bits, s.Target)
	case NarrowCreate:
		return fmt.Sprintf("create landlock ruleset, rights %#x, ports %#x", s.Bits, s.Ports)
	case NarrowPath:
		return fmt.Sprintf("landlock: %s %s, rights %#x", s.Name, s.Target, s.Bits)
	case NarrowPort:
		return fmt.Sprintf("landlock: %s to port %d", s.Name, s.Port)
	}
	return s.plain()
}

// plain says the steps that have no object.
func (s Step) plain() string {
	for _, p := range [...]struct {
		kind Kind
		text string
	}{
		{DieWithParent, "die with hutch"},
		{CheckParent, "see that hutch is alive"},
		{NewSession, "start a session"},
		{NewKeyring, "join a new session keyring"},
		{AwaitHutch, "wait for hutch"},
		{JoinLimits, "enter the control groups (cgroup v1)"},
		{OwnFiles, "own the table of file descriptors"},
		{PrivateMounts, "make all mounts private"},
		{HandTerminal, "hand the master of the terminal to hutch"},
		{OwnTerminal, "make the terminal that of the session"},
		{OwnGroup, "start a process group and put it in the foreground"},
		{HandOver, "hand a descriptor of the scratch tmpfs to hutch"},
		{MountRoot, "mount a tmpfs for the root"},
		{Pivot, "pivot into the root"},
		{DetachHost, "detach the host's root"},
		{OpenRoot, "open the root"},
		{LoopbackUp, "bring loopback up"},
		{HandRoot, "hand a copy of the whole tree to hutch"},
		{AwaitCopies, "wait for what hutch copies in"},
		{ReadOnlyRoot, "make the root read-only"},
		{Undumpable, "close the memory to other processes"},
		{StartApp, "start the application's process"},
		{AwaitReaper, "wait until process 1 is the reaper"},
		{Stdio, "set standard streams"},
		{NoNewPrivs, "set no_new_privs"},
		{LandlockSelf, "enforce the landlock ruleset"},
		{NarrowSelf, "enforce it too"},
		{CloseFiles, "close all file descriptors that are not its own"},
		{ResetSignals, "set every signal to its default and unblock it"},
		{BecomeReaper, "execute the reaper"},
	} {
		if p.kind == s.Kind {
			return p.text
		}
	}
	return string(s.Kind)
}

func attributes(s Step) string {
	var b strings.Builder
	for _, a := range [...]struct {
		on   bool
		text string
	}{{s.ReadOnly, " read-only"}, {s.Recursive, " recursively"}, {s.IDMapped, " id-mapped"}} {
		if a.on {
			b.WriteString(a.text)
		}
	}
	return b.String()
}

func size(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" of %d bytes", n)
}

type bitName struct {
	bit  uint64
	name string
}

var namespaceNames = [...]bitName{
	{unix.CLONE_NEWUSER, "user"},
	{unix.CLONE_NEWNS, "mount"},
	{unix.CLONE_NEWPID, "pid"},
	{unix.CLONE_NEWIPC, "ipc"},
	{unix.CLONE_NEWUTS, "uts"},
	{unix.CLONE_NEWNET, "net"},
	{unix.CLONE_NEWCGROUP, "cgroup"},
}

func flags(bits uint64, names []bitName) string {
	var out []string
	for _, n := range names {
		if bits&n.bit != 0 {
			out = append(out, n.name)
		}
	}
	return strings.Join(out, " ")
}
