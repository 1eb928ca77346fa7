package kvm

import (
	"fmt"
	"os"
	"time"

	"hutch/runner"
	"hutch/runner/guest"
)

const (
	// defaultMemory is that of a guest without a memory limit.
	defaultMemory = 512 << 20
	// kernelMemory is what the guest's kernel and process 1 need of their own.
	kernelMemory = 128 << 20
	// overhead is what QEMU may use besides the guest's memory: itself, and
	// under TCG the translated code.
	overhead = (96 + translations) << 20
	// processes bounds QEMU's threads: processors, disk and share workers.
	processes = 128
)

// guestMemory is what the guest is given: the limit of the run is held inside
// by a control group.
func guestMemory(s *runner.Spec) int64 {
	if n := s.Limits.MemoryBytes; n > 0 {
		return guest.Memory(n + kernelMemory)
	}
	return defaultMemory
}

// A layout says what QEMU's process sees, and where that is in the guest.
type layout struct {
	files  []runner.Mount
	shares []share
	config *guest.Config
}

// translate is the Spec with the guest's paths, and what is behind them.
func translate(s *runner.Spec, disks []string) *layout {
	inside := *s
	l := &layout{config: &guest.Config{Spec: &inside, Time: time.Now()}}
	inside.Root.Lowers = nil
	l.config.TakeKeep()
	for i, disk := range disks {
		d := guest.Disk{
			Device: guest.SerialPrefix + diskSerial(i), Type: guest.LayerType,
			Target: fmt.Sprintf("/layer/%d", i), ReadOnly: true,
		}
		l.config.Disks = append(l.config.Disks, d)
		l.files = append(l.files, runner.Mount{Type: runner.MountBind, Source: disk, Target: fmt.Sprintf("%s/%d", boxDisks, i), ReadOnly: true})
		inside.Root.Lowers = append(inside.Root.Lowers, d.Target)
	}
	if s.Root.Kind == runner.RootHost {
		l.hostRoot()
	}
	inside.Mounts = append([]runner.Mount(nil), s.Mounts...)
	for i := range inside.Mounts {
		if m := &inside.Mounts[i]; m.Type == runner.MountBind {
			target := fmt.Sprintf("/share/bind%d", i)
			l.share(m.Source, target, m.ReadOnly)
			m.Shown, m.Source = m.Source, target
		}
	}
	return l
}

// hostRoot shows the guest what a host root consists of, at the same places.
func (l *layout) hostRoot() {
	for _, dir := range runner.HostDirs {
		if link, err := os.Readlink(dir); err == nil {
			l.config.Shares = append(l.config.Shares, guest.Share{Type: "link", Source: link, Target: dir})
		} else if info, err := os.Stat(dir); err == nil && info.IsDir() {
			l.share(dir, dir, true)
		}
	}
	if s := l.config.Spec; s.User == "" {
		s.User = fmt.Sprintf("%d:%d", os.Geteuid(), os.Getegid())
	}
}

// share shows source to the guest at target. A file is shown alone in a
// directory, which is what 9p can share.
func (l *layout) share(source, target string, readOnly bool) {
	n := len(l.shares)
	s := guest.Share{
		Type: "9p", Source: shareTag(n), Target: target, ReadOnly: readOnly,
		// Nothing is kept in the guest: both sides see what the other writes.
		Options: "trans=virtio,version=9p2000.L,msize=512000,cache=none,access=any",
	}
	inBox := fmt.Sprintf("%s/%d", boxShares, n)
	if info, err := os.Stat(source); err == nil && !info.IsDir() {
		inBox += "/file"
		s.File = "file"
	}
	l.files = append(l.files, runner.Mount{Type: runner.MountBind, Source: source, Target: inBox, ReadOnly: readOnly})
	l.shares = append(l.shares, share{readOnly})
	l.config.Shares = append(l.config.Shares, s)
}
