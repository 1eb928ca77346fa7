package uml

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/guest"
)

// Where things are in the box of the kernel's process.
const (
	boxKernel    = "/uml/linux"
	boxInitramfs = "/uml/initramfs"
	boxDisks     = "/disk"
	boxShares    = "/share"
	boxCopies    = "/uml/copies"
)

// A layout says what the kernel's process sees, and where that is in the guest.
type layout struct {
	kernel, initramfs string
	memory            int64 // of the guest, in bytes
	disks             []string
	copies            string // a disk with what is copied in, or nothing
	shares            []runner.Mount
}

// maxDisks is what the kernel's driver has, less one for what is copied in.
const maxDisks = 15

// ubd is the guest's name of a disk.
func ubd(i int) string { return "/dev/ubd" + string(rune('a'+i)) }

const (
	// defaultMemory is that of a guest without a memory limit.
	defaultMemory = 512 << 20
	// kernelMemory is what the guest's kernel and process 1 need of their own.
	kernelMemory = 96 << 20
)

// guestMemory is what the guest is given: the limit of the run is held inside
// by a control group.
func guestMemory(s *runner.Spec) int64 {
	if n := s.Limits.MemoryBytes; n > 0 {
		// A 32nd goes into what the kernel notes of each page.
		return guest.Memory(n + n/32 + kernelMemory)
	}
	return defaultMemory
}

// fits says whether the guest's memory, which is a file, may be that large.
func (l *layout) fits() error {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_FSIZE, &r) != nil || r.Cur >= uint64(l.memory) {
		return nil
	}
	return &runner.Error{
		Stage: runner.StageStart, Step: fmt.Sprintf("the limit on the size of files (ulimit -f) is %d KiB, and the guest's memory is a file of %d KiB", r.Cur>>10, l.memory>>10),
		Hint: "ulimit -f unlimited; or give the guest less with --memory",
	}
}

// fewProcesses adds to an error of the guest's that it may be of the host's making:
// what has no process there answers that no memory is left.
func fewProcesses(err error) error {
	var e *runner.Error
	var r unix.Rlimit
	switch {
	case !errors.As(err, &e), !errors.Is(err, unix.ENOMEM) && !errors.Is(err, unix.EAGAIN):
		return err
	case unix.Getrlimit(unix.RLIMIT_NPROC, &r) != nil, r.Cur >= manyProcesses:
		return err
	}
	told := *e
	told.Hint = fmt.Sprintf("most likely a limit of the caller's: for each process of the guest there is one here, and there may be %d, ulimit -u", r.Cur)
	return &told
}

// manyProcesses is more than a guest without a memory to speak of has.
const manyProcesses = 4096

// translate is the Spec with the guest's paths, and what is behind them.
func (l *layout) translate(s *runner.Spec) *guest.Config {
	inside := *s
	c := &guest.Config{Spec: &inside}
	inside.Root.Lowers = nil
	c.TakeKeep()
	for i := range l.disks {
		d := guest.Disk{Device: ubd(i), Type: guest.LayerType, Target: fmt.Sprintf("/layer/%d", i), ReadOnly: true}
		c.Disks = append(c.Disks, d)
		inside.Root.Lowers = append(inside.Root.Lowers, d.Target)
	}
	if s.Root.Kind == runner.RootHost {
		l.hostRoot(c)
	}
	inside.Mounts = append([]runner.Mount(nil), s.Mounts...)
	for i := range inside.Mounts {
		if m := &inside.Mounts[i]; m.Type == runner.MountBind {
			m.Shown, m.Source = m.Source, l.share(c, fmt.Sprintf("bind%d", i), m.Source, m.ReadOnly)
		}
	}
	return c
}

// hostRoot shows the guest what a host root consists of, at the same places.
func (l *layout) hostRoot(c *guest.Config) {
	for _, dir := range runner.HostDirs {
		if link, err := os.Readlink(dir); err == nil {
			c.Shares = append(c.Shares, guest.Share{Type: "link", Source: link, Target: dir})
		} else if isDir(dir) {
			l.shareAt(c, "host"+dir, dir, dir, true)
		}
	}
	if c.Spec.User == "" {
		c.Spec.User = fmt.Sprintf("%d:%d", os.Geteuid(), os.Getegid())
	}
}

// share shows source to the guest and is where.
func (l *layout) share(c *guest.Config, name, source string, readOnly bool) string {
	target := "/share/" + name
	l.shareAt(c, name, source, target, readOnly)
	return target
}

func (l *layout) shareAt(c *guest.Config, name, source, target string, readOnly bool) {
	inBox := boxShares + "/" + name
	s := guest.Share{Type: "hostfs", Source: inBox, Target: target, ReadOnly: readOnly}
	if info, err := os.Stat(source); err == nil && !info.IsDir() {
		inBox += "/file"
		s.File = "file"
	}
	l.shares = append(l.shares, runner.Mount{Type: runner.MountBind, Source: source, Target: inBox, ReadOnly: readOnly})
	c.Shares = append(c.Shares, s)
}

const (
	// overhead is what the kernel's process may use besides the guest's memory:
	// its own code and tables, and a process for each of the guest's.
	overhead = 96 << 20
	// processes bounds those.
	processes = 4096
)

// box is that of the kernel's process: it sees the kernel, what that is linked
// with, and the disks and shares.
func (e *Engine) box(l *layout) (*guest.Box, error) {
	libraries, err := guest.Libraries(l.kernel)
	if err != nil {
		return nil, err
	}
	b := &guest.Box{
		Engine: e.Box, Command: append([]string{boxKernel}, l.args()...),
		Files: []runner.Mount{
			{Type: runner.MountBind, Source: l.kernel, Target: boxKernel, ReadOnly: true},
			{Type: runner.MountBind, Source: l.initramfs, Target: boxInitramfs, ReadOnly: true},
		},
		Memory: l.memory, Overhead: overhead, Processes: processes,
		// The guest's memory is a file in /tmp.
		Scratch: l.memory + 16<<20,
		Seccomp: e.Filter, Cache: e.Cache,
	}
	b.Files = append(b.Files, guest.ReadOnly(libraries...)...)
	for i, disk := range l.disks {
		b.Files = append(b.Files, runner.Mount{Type: runner.MountBind, Source: disk, Target: fmt.Sprintf("%s/%d", boxDisks, i), ReadOnly: true})
	}
	if l.copies != "" {
		b.Files = append(b.Files, runner.Mount{Type: runner.MountBind, Source: l.copies, Target: boxCopies, ReadOnly: true})
	}
	b.Files = append(b.Files, l.shares...)
	return b, nil
}
