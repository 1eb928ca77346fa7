package native

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/plan"
)

// Hold gives the engine a descriptor of a lock, flock(2), that the reaper of a
// box that keeps its writes holds until it ends: the lock outlives hutch if
// hutch is killed and the box is still dying.
func (e *Engine) Hold(lock int) { e.lock = lock }

// Upper is the directory of what the box wrote to memory, O_PATH, when the box
// is gone; nil unless its Spec asked for it. Its owners are those of the box's
// ids, so it is for a Helper to read. It is the caller's to close.
func (b *box) Upper() *os.File {
	fd := b.upper
	if b.upper = -1; fd < 0 {
		return nil
	}
	return os.NewFile(uintptr(fd), "upper")
}

// openKeep opens what a box needs that keeps its writes.
func (b *box) openKeep(f *files) error {
	f.lock = b.lock
	keep := b.spec.Root.Keep
	if keep == "" || b.facts.IsDir[keep] {
		return nil
	}
	tree, err := mountImage(keep)
	if err != nil {
		return &runner.Error{
			Stage: runner.StageStart, Step: "mount the file system in " + keep, Err: err,
			Hint: "it needs a free loop device and ext4 in the kernel; hutch keep rm removes what is kept",
		}
	}
	b.image = tree
	f.addImage("keep", tree)
	return nil
}

func (f *files) addImage(name string, tree int) {
	if f.images == nil {
		f.images = map[string]int{}
	}
	f.images[name] = tree
}

// openLayers mounts the layers that are file systems in files.
func (b *box) openLayers(f *files) error {
	for i := range b.plan.Steps {
		s := &b.plan.Steps[i]
		if s.Kind != plan.TakeImage || !isLayer(s) {
			continue
		}
		tree, err := runner.TakeLayer(s.Source)
		if err != nil {
			return err
		}
		f.addImage(s.Name, b.keep(tree))
	}
	return nil
}

// keepIsFull says whether what keeps the writes had no block or no inode left
// when the box ended.
func (b *box) keepIsFull() bool {
	var fs unix.Statfs_t
	var err error
	switch keep := b.spec.Root.Keep; {
	case keep == "":
		return false
	case b.image >= 0:
		err = unix.Fstatfs(b.image, &fs)
	default:
		err = unix.Statfs(keep, &fs) // shows a project quota too, statfs(2)
	}
	// A few blocks are always left that no write can have; and not every file
	// system counts inodes.
	return err == nil && (fs.Bavail*uint64(fs.Bsize) < 64<<10 || fs.Files > 0 && fs.Ffree == 0)
}

// mountImage mounts the ext4 in a file on nothing: the mount and its loop
// device, loop(4), are gone when the last descriptor and the box's mount are.
func mountImage(path string) (tree int, err error) {
	file, err := unix.Open(path, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(file)
	if err := awaitUnmount(path); err != nil {
		return -1, err
	}
	device, name, err := runner.LoopDevice(file)
	if err != nil {
		return -1, err
	}
	defer unix.Close(device) // the mount holds it from here on
	fs, err := unix.Fsopen("ext4", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", name); err != nil {
		return -1, err
	}
	// Without it the end of a box waits until the file is on the disk.
	if err := unix.FsconfigSetFlag(fs, "nobarrier"); err != nil {
		return -1, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
}

// awaitUnmount waits while a box that was killed is still letting go of the
// file: two mounts of one file system destroy it.
func awaitUnmount(path string) error {
	for range 500 {
		backings, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(backings, func(b string) bool { return strings.TrimSuffix(readFile(b), "\n") == path }) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return unix.EBUSY
}

// openBelow opens a directory of root's.
func openBelow(root *os.File, dir string) (*os.File, error) {
	fd, err := unix.Openat2(int(root.Fd()), dir, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return os.NewFile(uintptr(fd), dir), nil
}
