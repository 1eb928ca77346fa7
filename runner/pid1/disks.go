package pid1

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner/guest"
)

// deviceWait bounds how long a disk may take to show up.
const deviceWait = 5 * time.Second

func (s *session) mountDisks() error {
	for _, d := range s.config.Disks {
		if err := mountDisk(d); err != nil {
			return fmt.Errorf("mount disk %s (%s): %w", d.Device, d.Type, err)
		}
	}
	return nil
}

func mountDisk(d guest.Disk) error {
	if err := os.MkdirAll(d.Target, 0o755); err != nil {
		return err
	}
	flags := uintptr(unix.MS_NODEV)
	if d.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	for end := time.Now().Add(deviceWait); ; time.Sleep(time.Millisecond) {
		err := unix.Mount(findDisk(d.Device), d.Target, d.Type, flags, d.Options)
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENXIO) || time.Now().After(end) {
			return err
		}
	}
}

func (s *session) mountShares() error {
	for _, sh := range s.config.Shares {
		if err := mountShare(sh); err != nil {
			return fmt.Errorf("mount share %s (%s): %w", sh.Target, sh.Type, err)
		}
	}
	return nil
}

func mountShare(sh guest.Share) error {
	if sh.Type == "link" {
		return os.Symlink(sh.Source, sh.Target)
	}
	source, options := sh.Source, sh.Options
	if sh.Type == "hostfs" {
		// hostfs takes the directory as its option.
		source, options = "none", sh.Source
	}
	target := sh.Target
	if sh.File != "" {
		target = sh.Target + ".dir"
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	flags := uintptr(unix.MS_NODEV | unix.MS_NOSUID)
	if sh.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount(source, target, sh.Type, flags, options); err != nil || sh.File == "" {
		return err
	}
	if err := os.WriteFile(sh.Target, nil, 0o644); err != nil {
		return err
	}
	return unix.Mount(filepath.Join(target, sh.File), sh.Target, "", unix.MS_BIND, "")
}

// firstDisk is the disk that a guest has which has one.
const firstDisk = "/sys/block/vda"

// findDisk is the device file of a disk, also of one that is known by its
// serial number; what is not there is mounted in vain.
func findDisk(device string) string {
	serial, ok := strings.CutPrefix(device, guest.SerialPrefix)
	if !ok {
		return device
	}
	// Where it nearly always is, see findPort.
	if isCalled(firstDisk+"/serial", serial) {
		return "/dev/" + filepath.Base(firstDisk)
	}
	files, _ := filepath.Glob("/sys/block/*/serial")
	for _, f := range files {
		if isCalled(f, serial) {
			return "/dev/" + filepath.Base(filepath.Dir(f))
		}
	}
	return "/dev/" + serial
}
