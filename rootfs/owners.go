package rootfs

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// owners says whose the files become.
type owners struct {
	// keep: as the archive says. Otherwise all are the caller's, and get the
	// permissions that the caller needs to read and to remove them.
	keep     bool
	uid, gid int64 // the caller's, which a new file has by itself
	kept     bool  // see UnpackOptions
}

// ourOwners: an owner can be kept by who has CAP_CHOWN, in a user namespace
// that maps more than one id.
func ourOwners() owners {
	o := owners{uid: int64(os.Geteuid()), gid: int64(os.Getegid())}
	if o.uid != 0 || !hasChown() {
		return o
	}
	// "inside outside count" lines, user_namespaces(7)
	if b, err := os.ReadFile("/proc/self/uid_map"); err == nil {
		if f := strings.Fields(string(b)); len(f) == 3 && f[2] == "1" {
			return o
		}
	}
	o.keep = true
	return o
}

func hasChown() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_CHOWN) != 0
}

// mode gives the permission bits that a file gets; need are the owner's bits
// that it must have when the owner is not privileged.
func (o owners) mode(m, need uint32) (mode uint32, changed bool) {
	if o.keep || o.kept || m&need == need {
		return m, false
	}
	return m | need, true
}

// chown gives an open file its owner, and tells whether that was a change
// (which clears set-id bits).
func (o owners) chown(fd int, h *header, st *Stats) (bool, error) {
	if !o.keep {
		o.count(h, st)
		return false, nil
	}
	if h.uid == o.uid && h.gid == o.gid {
		return false, nil
	}
	err := unix.Fchown(fd, int(h.uid), int(h.gid))
	if o.kept && errors.Is(err, unix.EINVAL) {
		st.Owners++
		return false, nil
	}
	return true, o.unmapped(err, h)
}

// count notes an owner that is not kept. Root's files are not counted: the
// caller is root inside the box.
func (o owners) count(h *header, st *Stats) {
	if h.uid != 0 || h.gid != 0 {
		st.Owners++
	}
}

func (o owners) unmapped(err error, h *header) error {
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOVERFLOW) {
		return fmt.Errorf("owner %d:%d has no place in this user namespace's id map: %w; "+
			"give the namespace a larger range of /etc/subuid and /etc/subgid", h.uid, h.gid, err)
	}
	return err
}

// applyAt gives a link or a node that cannot be opened its owner, mode and
// times.
func (o owners) applyAt(dir int, name string, h *header, st *Stats) error {
	if !o.keep {
		o.count(h, st)
	} else if h.uid != o.uid || h.gid != o.gid {
		err := unix.Fchownat(dir, name, int(h.uid), int(h.gid), unix.AT_SYMLINK_NOFOLLOW)
		if o.kept && errors.Is(err, unix.EINVAL) {
			st.Owners++
		} else if err := o.unmapped(err, h); err != nil {
			return err
		}
	}
	if h.kind != typeSymlink { // a link has no mode; what is here was made just now and is no link
		if err := unix.Fchmodat(dir, name, h.mode, 0); err != nil {
			return err
		}
	}
	for _, x := range h.xattrs {
		st.leftOut(x.name)
	}
	return unix.UtimesNanoAt(dir, name, times(h), unix.AT_SYMLINK_NOFOLLOW)
}

// times gives access and modification time; without the former, the latter
// stands for both, so that the same archive makes the same tree.
func times(h *header) []unix.Timespec {
	a := h.atime
	if a.IsZero() {
		a = h.mtime
	}
	return []unix.Timespec{timespec(a), timespec(h.mtime)}
}

func timespec(t time.Time) unix.Timespec {
	var ts unix.Timespec
	ts.Sec, ts.Nsec = setSec(ts.Sec, t.Unix()), setSec(ts.Nsec, int64(t.Nanosecond()))
	return ts
}

// setSec converts to the field's type, which differs between architectures.
func setSec[T int32 | int64](_ T, v int64) T { return T(v) }

// add sums up.
func (s *Stats) add(o Stats) {
	s.Entries += o.Entries
	s.Bytes += o.Bytes
	s.Owners += o.Owners
	s.Modes += o.Modes
	s.Devices += o.Devices
	s.Xattrs += o.Xattrs
	for _, n := range o.XattrNames {
		s.nameXattr(n)
	}
}

// leftOut counts an attribute and remembers its name.
func (s *Stats) leftOut(name string) {
	s.Xattrs++
	s.nameXattr(name)
}

func (s *Stats) nameXattr(name string) {
	if len(s.XattrNames) >= 16 || len(name) > 255 {
		return
	}
	for _, n := range s.XattrNames {
		if n == name {
			return
		}
	}
	s.XattrNames = append(s.XattrNames, name)
}
