package rootfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// cap makes the place of kept writes one that cannot grow beyond opt.Disk: by
// a project quota where the file system has them, else as a file system of
// that size in a file.
func (k *Keep) cap(opt KeepOptions) error {
	if !isRoot() {
		return errors.New("an ordinary user's kept writes cannot be capped, for that needs a project quota or a mount; " +
			"leave --disk out, or ask the administrator for a quota of your own (setquota(8))")
	}
	if err := setQuota(k.Path, opt.Disk, opt.Inodes); err == nil {
		k.Capped = true
		return nil
	} else if !errors.Is(err, errNoQuota) {
		return err
	}
	if err := os.Remove(k.Path); err != nil {
		return bare(err)
	}
	k.Path = k.dir + "/disk.img"
	k.Capped = true
	return makeImage(k.Path, opt.Disk, opt.Inodes)
}

// isRoot says that the caller is root of the machine, and not of a user
// namespace, who may neither set a quota nor mount a disk.
func isRoot() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(b))
	return os.Geteuid() == 0 && err == nil && len(f) == 3 && f[0] == "0" && f[1] == "0" && f[2] == "4294967295"
}

func noQuota(err error) error {
	return fmt.Errorf("its disk cannot be capped: %w; leave --disk out, or begin under another name with it", err)
}

// makeImage makes an ext4 of size bytes in a sparse file. There is no library
// for it; the program is part of every distribution.
func makeImage(path string, size, inodes int64) error {
	program, err := findProgram("mke2fs")
	if err != nil {
		return err
	}
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return bare(err)
	}
	defer os.Remove(part)
	err = f.Truncate(size)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("disk of %d bytes: %w", size, bare(err))
	}
	// No journal: what a kill or a full disk leaves is in memory all the same,
	// and a journal would take a tenth of a small disk.
	args := []string{"-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-E", "root_owner=0:0,lazy_itable_init=1,nodiscard"}
	if inodes > 0 {
		args = append(args, "-N", itoa(inodes+16)) // ext4's own
	}
	cmd := exec.Command(program, append(args, part)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "MKE2FS_SYNC=0"}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("disk of %d bytes: %s: %w: %s; choose a larger --disk, or a smaller --inodes", size, program, err, strings.TrimSpace(string(out)))
	}
	return os.Rename(part, path)
}

// findProgram looks where an administrator's programs are, also for a caller
// whose PATH lacks the place.
func findProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range [...]string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("a disk that is capped needs %s; install e2fsprogs", name)
}

// errNoQuota says that the file system has no project quotas, or that they
// are off.
var errNoQuota = errors.New("the file system has no project quotas; mount it with prjquota")

// Project quotas, quotactl(2), linux/quota.h and linux/dqblk_xfs.h.
const (
	prjQuota  = 2
	qGetQuota = 0x800007
	qSetQuota = 0x800008
	qifLimits = 1 | 4 // of blocks, of inodes
	qifBlock  = 1024
	inherit   = 0x200 // FS_XFLAG_PROJINHERIT
)

// setQuota caps what is in dir, and what will be, by a project of its own.
func setQuota(dir string, bytes, inodes int64) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	attr, err := getProject(fd)
	if err != nil {
		return errNoQuota
	}
	if attr.project == 0 {
		if attr.project, err = freeProject(fd); err != nil {
			return err
		}
		attr.flags |= inherit
		if err := setProject(fd, &attr); err != nil {
			return fmt.Errorf("%w (%w)", errNoQuota, err)
		}
	}
	q := diskQuota{blockHard: uint64((bytes + qifBlock - 1) / qifBlock), inodeHard: uint64(inodes), valid: qifLimits}
	return quotactl(fd, qSetQuota, attr.project, &q)
}

// freeProject is a number that nothing on the file system counts for.
func freeProject(fd int) (uint32, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, err
	}
	for i := range uint32(100) {
		id := 0x68000000 | (uint32(st.Ino)+i*7919)&0xffffff
		var q diskQuota
		err := quotactl(fd, qGetQuota, id, &q)
		if errors.Is(err, syscall.ENOENT) || err == nil && q.space == 0 && q.inodes == 0 && q.blockHard == 0 {
			return id, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, errors.New("no project number is free for a quota; remove what is kept and not needed")
}
