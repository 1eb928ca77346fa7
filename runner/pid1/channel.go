package pid1

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// virtioPrefix begins the name of a virtio port.
const virtioPrefix = "virtio:"

// openChannel opens what ChannelVar names, which may take wait to show up.
func openChannel(name string, wait time.Duration) (*os.File, error) {
	port, virtio := strings.CutPrefix(name, virtioPrefix)
	if virtio {
		var err error
		if name, err = findPort(port, wait); err != nil {
			return nil, err
		}
	}
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	if !virtio {
		if err := makeRaw(fd); err != nil {
			return nil, &os.PathError{Op: "make raw", Path: name, Err: err}
		}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// makeRaw lets every byte through as it is, termios(3).
func makeRaw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8 | unix.CREAD | unix.CLOCAL
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

const (
	// portWait bounds how long the host's port may take to show up.
	portWait = 10 * time.Second
	// unloadedWait does where a module is missing, most likely the port's.
	unloadedWait = time.Second
)

// firstPort is the port that a guest has which has one, in sysfs.
const firstPort = "vport0p1"

// findPort is the device of the virtio port called name. The one that it nearly
// always is, is looked at first: what goes through directories is dear where
// all code runs for the first time, in an emulator.
func findPort(name string, wait time.Duration) (string, error) {
	for end := time.Now().Add(wait); ; time.Sleep(2 * time.Millisecond) {
		if isCalled("/sys/class/virtio-ports/"+firstPort+"/name", name) {
			return "/dev/" + firstPort, nil
		}
		files, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
		for _, f := range files {
			if isCalled(f, name) {
				return "/dev/" + filepath.Base(filepath.Dir(f)), nil
			}
		}
		if time.Now().After(end) {
			return "", fmt.Errorf("no virtio port is called %q", name)
		}
	}
}

// isCalled says whether name is all that a file of sysfs holds.
func isCalled(file, name string) bool {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	b := make([]byte, 128)
	n, err := unix.Read(fd, b)
	return err == nil && strings.TrimSpace(string(b[:n])) == name
}
