package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// v2: io.max, io.stat. v1: blkio.throttle.*, which sees direct and read
// traffic only: writes through the page cache are counted against nobody.

func ioWanted(l *Limits) bool { return len(l.IO) > 0 }

func ioV2(l *Limits) ([]setting, error) {
	return eachDevice(l.IO, func(dev string, io *IOLimit, optional bool) []setting {
		value := dev
		for _, r := range io.rates() {
			if r.rate > 0 {
				value += " " + r.v2 + "=" + itoa(r.rate)
			}
		}
		return []setting{{file: "io.max", value: value, optional: optional, lacks: noThrottle, remedy: kernelWithThrottle}}
	})
}

func ioV1(l *Limits) ([]setting, error) {
	return eachDevice(l.IO, func(dev string, io *IOLimit, optional bool) []setting {
		var s []setting
		for _, r := range io.rates() {
			if r.rate > 0 {
				s = append(s, setting{
					file: "blkio.throttle." + r.v1, value: dev + " " + itoa(r.rate),
					optional: optional, lacks: noThrottle, remedy: kernelWithThrottle,
				})
			}
		}
		return s
	})
}

const (
	noThrottle         = "the kernel cannot throttle block devices (CONFIG_BLK_DEV_THROTTLING)"
	kernelWithThrottle = "use a kernel that can"
)

type ioRate struct {
	v1, v2 string
	rate   int64
}

func (l *IOLimit) rates() [4]ioRate {
	return [...]ioRate{
		{"read_bps_device", "rbps", l.ReadBytes},
		{"write_bps_device", "wbps", l.WriteBytes},
		{"read_iops_device", "riops", l.ReadOps},
		{"write_iops_device", "wiops", l.WriteOps},
	}
}

// eachDevice makes the settings for every limit and device. Limits for all
// devices come first, so that one for a single device overrides them.
func eachDevice(limits []IOLimit, f func(dev string, io *IOLimit, optional bool) []setting) ([]setting, error) {
	var s []setting
	for i := range limits {
		if limits[i].Device != "" {
			continue
		}
		devs, err := disks("/sys/block")
		if err != nil {
			return nil, err
		}
		for _, dev := range devs {
			s = append(s, f(dev, &limits[i], true)...)
		}
	}
	for i := range limits {
		if limits[i].Device == "" {
			continue
		}
		dev, err := diskOf(limits[i].Device)
		if err != nil {
			return nil, err
		}
		s = append(s, f(dev, &limits[i], false)...)
	}
	return s, nil
}

// disks lists the numbers of all disks, "8:0".
func disks(sysblock string) ([]string, error) {
	entries, err := os.ReadDir(sysblock)
	if err != nil {
		return nil, &Error{
			Controller: "io", Op: "list the disks", Err: err,
			Remedy: "mount sysfs on /sys, or name each device",
		}
	}
	var devs []string
	for _, e := range entries {
		if dev, err := readFile(filepath.Join(sysblock, e.Name(), "dev")); err == nil {
			devs = append(devs, dev)
		}
	}
	return devs, nil
}

// diskOf turns a device node or "8:1" into the number of the whole disk, since
// the kernel limits no partitions.
func diskOf(device string) (string, error) {
	dev, err := deviceNumber(device)
	if err != nil {
		return "", err
	}
	if path := "/sys/dev/block/" + dev; exists(path + "/partition") {
		if whole, err := readFile(path + "/../dev"); err == nil {
			return whole, nil
		}
	}
	return dev, nil
}

func deviceNumber(device string) (string, error) {
	if major, minor, ok := strings.Cut(device, ":"); ok {
		a, errA := strconv.ParseUint(major, 10, 12)
		b, errB := strconv.ParseUint(minor, 10, 20)
		if errA == nil && errB == nil {
			return fmt.Sprintf("%d:%d", a, b), nil
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		return "", fmt.Errorf("i/o limit: device %q: %w: name a disk as /dev/sda or 8:0", device, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return "", fmt.Errorf("i/o limit: %q is not a block device: name a disk as /dev/sda or 8:0", device)
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)), nil
}

func ioUsage(d *dir, u *Usage) {
	if d.v2 {
		if text, err := readAt(d.fd, "io.stat"); err == nil {
			u.ReadBytes, u.WrittenBytes = sumIOStat(text)
		}
		return
	}
	if text, err := readAt(d.fd, "blkio.throttle.io_service_bytes_recursive"); err == nil {
		u.ReadBytes, u.WrittenBytes = sumServiceBytes(text)
	}
}

// sumIOStat adds up v2's io.stat: "8:0 rbytes=1 wbytes=2 rios=… …".
func sumIOStat(text string) (read, written *int64) {
	var r, w int64
	for field := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(field, "=")
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case err != nil:
		case key == "rbytes":
			r += n
		case key == "wbytes":
			w += n
		}
	}
	return &r, &w
}

// sumServiceBytes adds up v1's lines: "8:0 Read 4096".
func sumServiceBytes(text string) (read, written *int64) {
	var r, w int64
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue // "Total N"
		}
		n, err := strconv.ParseInt(f[2], 10, 64)
		switch {
		case err != nil:
		case f[1] == "Read":
			r += n
		case f[1] == "Write":
			w += n
		}
	}
	return &r, &w
}
