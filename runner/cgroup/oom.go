package cgroup

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// An oomWatch counts the times that a v1 group ran into its own limit with
// nothing left to reclaim. v1 keeps no such counter: oom_kill also counts the
// victims of the machine's own shortage, and usage reaches the limit also when
// dropping a page of cache is enough. Only the event of memory.oom_control is
// raised by a limit alone (cgroup-v1/memory.rst, section 10): for the group
// that is full and for those below it, which hitLimit tells apart.
type oomWatch struct{ eventfd int }

// watch subscribes. Where the kernel refuses, OOMKilled makes do with
// the peak of usage.
func (w *oomWatch) watch(d dir) {
	control, err := unix.Openat(d.fd, "memory.oom_control", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(control)
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return
	}
	if err := writeAt(d.fd, "cgroup.event_control", fmt.Sprintf("%d %d", fd, control)); err != nil {
		unix.Close(fd)
		return
	}
	w.eventfd = fd
}

// happened reports whether the event was raised, and whether that is known.
func (w *oomWatch) happened() (yes, known bool) {
	if w.eventfd < 0 {
		return false, false
	}
	var buf [8]byte
	n, err := unix.Read(w.eventfd, buf[:])
	if errors.Is(err, unix.EAGAIN) {
		return false, true
	}
	if err != nil || n != len(buf) {
		return false, false
	}
	// Reading empties the counter, and the question may be asked again.
	_, _ = unix.Write(w.eventfd, buf[:])
	return binary.NativeEndian.Uint64(buf[:]) > 0, true
}

func (w *oomWatch) close() {
	if w.eventfd >= 0 {
		unix.Close(w.eventfd)
		w.eventfd = -1
	}
}

// OOMKilled reports whether a process of the group was killed because the
// group was at its own memory limit, and not because the machine, or a group
// above, had no memory left. It is asked before Remove.
func (g *Group) OOMKilled() (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.dirs {
		if d := &g.dirs[i]; d.ctl.has(memory) {
			if g.closed {
				return false, errors.New("cgroup " + g.name + " is removed: ask what was killed before that")
			}
			if d.v2 {
				return oomV2(d)
			}
			return g.oomV1(d)
		}
	}
	return false, nil
}

// oomV2: memory.events counts oom_kill for the group and those below, whoever
// killed; memory.events.local counts oom where this group's limit was the
// full one. A limit that a box set on a group inside is not the box's own.
func oomV2(d *dir) (bool, error) {
	all, err := readAt(d.fd, "memory.events")
	if err != nil {
		return false, fmt.Errorf("%s/memory.events: %w", d.path, err)
	}
	if kills, _ := keyed(all, "oom_kill"); kills == 0 {
		return false, nil
	}
	if local, err := readAt(d.fd, "memory.events.local"); err == nil {
		all = local
	}
	oom, _ := keyed(all, "oom")
	return oom > 0, nil
}

func (g *Group) oomV1(d *dir) (bool, error) {
	text, err := readAt(d.fd, "memory.oom_control")
	if err != nil {
		return false, fmt.Errorf("%s/memory.oom_control: %w", d.path, err)
	}
	kills, known := keyed(text, "oom_kill")
	under, _ := keyed(text, "under_oom")
	if known && kills == 0 && under == 0 {
		return false, nil
	}
	if !d.hitLimit() {
		return false, nil
	}
	yes, known := g.oom.happened()
	return yes || !known, nil
}

// nearLimit is how far below its limit a group may stand when the kernel gives
// up: the largest allocation that it kills for is 8 pages, and of 4 KiB here to
// 64 KiB elsewhere.
const nearLimit = 512 << 10

// hitLimit reports whether this group's usage ever reached its own limit. Not
// by failcnt, which stays 0 for groups of some recent kernels (6.18 seen).
func (d *dir) hitLimit() bool {
	for _, kind := range [...]string{"memory.", "memory.memsw."} {
		limit, peak := number(d.fd, kind+"limit_in_bytes"), number(d.fd, kind+"max_usage_in_bytes")
		if limit != nil && peak != nil && *peak >= *limit-min(nearLimit, *limit/8) {
			return true
		}
	}
	return false
}
