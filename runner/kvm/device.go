package kvm

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hutch/runner"
)

// alternatives ends every error about /dev/kvm.
const alternatives = "--accel tcg emulates a processor, slowly; --engine uml needs no such device"

// device is the host's /dev/kvm for the box. Root's boxes have ids that own
// nothing on the host, so root makes a node of its own for them, in a
// directory that nobody else can enter.
func (e *Engine) device() (runner.Device, error) {
	fd, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return runner.Device{}, deviceError(err)
	}
	defer unix.Close(fd)
	d := runner.Device{Source: "/dev/kvm", Name: "kvm"}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || os.Geteuid() != 0 || st.Mode&0o006 == 0o006 {
		return d, nil
	}
	d.Source = filepath.Join(e.Cache, "kvm-device")
	err = unix.Mknod(d.Source, unix.S_IFCHR|0o600, int(st.Rdev))
	if err == nil || errors.Is(err, unix.EEXIST) {
		err = unix.Chmod(d.Source, 0o666)
	}
	if err != nil {
		return d, &runner.Error{Stage: runner.StageStart, Step: "make a node of /dev/kvm for the guest's box", Err: err, Hint: "as root: chmod 666 /dev/kvm; or: " + alternatives}
	}
	return d, nil
}

func deviceError(err error) error {
	step, hint := "/dev/kvm", alternatives
	switch {
	case errors.Is(err, unix.ENOENT):
		step, err = "there is no /dev/kvm", nil
		hint = "switch virtualization on in the firmware, or nested virtualization around this machine, and as root: modprobe kvm_intel or kvm_amd; or: " + alternatives
	case errors.Is(err, unix.EACCES):
		step, err = "this user may not open /dev/kvm", nil
		hint = "as root: usermod -aG kvm USER, and log in again; or: " + alternatives
	}
	return &runner.Error{Stage: runner.StageStart, Step: step, Err: err, Hint: hint}
}

// broken is the error about a /dev/kvm that opens and does not work.
func broken(why string) error {
	return &runner.Error{
		Stage: runner.StageStart, Step: "/dev/kvm opens and does not work here: " + why,
		Hint: alternatives,
	}
}
