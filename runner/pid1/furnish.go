package pid1

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/guest"
)

// A place is a file system that every guest has.
type place struct {
	fs, target, options string
	flags               uintptr
}

// early are the file systems of the initial root. To add one: a line here, in
// the order of mounting.
var early = [...]place{
	{"devtmpfs", "/dev", "mode=0755", unix.MS_NOSUID},
	{"proc", "/proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{"sysfs", "/sys", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
}

// late are those that follow once the root can be left behind, pivot_root(2),
// which the initial one cannot.
var late = [...]place{
	{"tmpfs", "/tmp", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
	{"devpts", "/dev/pts", "mode=0620,gid=5,ptmxmode=0666", unix.MS_NOSUID | unix.MS_NOEXEC},
	{"cgroup2", "/sys/fs/cgroup", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
}

func (p place) mount(root string) error {
	target := root + p.target
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(p.fs, target, p.fs, p.flags, p.options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", p.fs, p.target, err)
	}
	return nil
}

func mountAll(places []place, root string) error {
	for _, p := range places {
		if err := p.mount(root); err != nil {
			return err
		}
	}
	return nil
}

// modulesDir holds the modules that this guest needs, in the order of their
// names; initramfs.go of package guest puts them there.
const modulesDir = "/modules"

// loadModules loads them all; one that the kernel has built in is no error.
func loadModules() error {
	names, err := moduleFiles(modulesDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := loadModule(filepath.Join(modulesDir, name)); err != nil {
			return &runner.Error{
				Stage: runner.StagePrepare, Step: guest.Unloaded + name + " in the guest", Err: err,
				Hint: "its modules must be those of exactly this kernel: install them anew, or name another kernel with --kernel",
			}
		}
	}
	return nil
}

// moduleFiles lists a directory of modules in their order; none is no error.
func moduleFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted
	if os.IsNotExist(err) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func loadModule(name string) error {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.FinitModule(fd, "", 0); err != nil && err != unix.EEXIST {
		return err
	}
	return nil
}

// newRoot is where the guest's later root is made.
const newRoot = "/root"

// switchRoot moves to a root in memory. The initial one stays below it.
func switchRoot() error {
	if err := os.MkdirAll(newRoot, 0o755); err != nil {
		return err
	}
	if err := (place{"tmpfs", newRoot, "mode=0755", 0}).mount(""); err != nil {
		return err
	}
	for _, p := range early {
		if err := os.Mkdir(newRoot+p.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(p.target, newRoot+p.target, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", p.target, err)
		}
	}
	if err := unix.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	// A kernel with tunnels built in has an interface of each in every network
	// namespace, ip-sysctl.rst. The box is to have only its loopback.
	os.WriteFile("/proc/sys/net/core/fb_tunnels_only_for_init_net", []byte("2"), 0)
	return mountAll(late[:], "")
}
