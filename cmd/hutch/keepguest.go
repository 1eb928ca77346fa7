package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hutch/rootfs"
	"hutch/runner"
	"hutch/runner/native"
)

// --keep for guests. A guest has no hand on what is kept: it sees an image of it,
// and sends what it has written as a layer, which is put in when it is gone. What
// belongs to the ids of a box is read and written by a helper that has them.

// showKept makes the image of what is kept, before the guest starts.
func (q *request) showKept(spec *runner.Spec) error {
	dir, err := keptDir(spec.Root.Keep)
	if err != nil {
		return upperError(err)
	}
	defer dir.Close()
	if q.kept.Capped {
		// The guest's own writes have a limit of their own: what has room here.
		room, inodes, err := rootfs.KeptRoom(dir)
		if err != nil {
			return q.keepError(err, "hutch keep rm removes what is kept")
		}
		spec.Root.Disk = min(spec.Root.Disk, room)
		if inodes > 0 && (spec.Root.Inodes == 0 || spec.Root.Inodes > inodes) {
			spec.Root.Inodes = inodes
		}
	}
	image, err := q.kept.NewImage()
	if err != nil {
		return upperError(err)
	}
	defer image.Close()
	if _, err := keptWork(context.Background(), spec, "image", dir, image); err != nil {
		q.kept.DropImage()
		return q.keepError(err, "there must be room in the store for an image of what is kept")
	}
	if info, err := image.Stat(); err != nil || info.Size() == 0 {
		q.kept.DropImage()
		return upperError(err)
	}
	q.choice.kept, err = q.kept.PlaceImage()
	return upperError(err)
}

// saveKept puts what a guest has written into what is kept. Until it is all there,
// what is kept is what it was before the run.
func (q *request) saveKept(ctx context.Context, spec *runner.Spec, p runner.Process) error {
	if q.kept == nil || q.choice.name == "native" {
		return nil
	}
	layer, err := layerOf(p)
	if err != nil {
		return q.keepError(err, asBefore)
	}
	defer layer.Close()
	dir, err := keptDir(spec.Root.Keep)
	if err == nil {
		defer dir.Close()
		err = q.merge(ctx, spec, dir, layer)
	}
	if err != nil {
		return q.keepError(interruptedOr(ctx, err), asBefore)
	}
	return nil
}

const asBefore = "what is kept is what it was before the run"

// keptAsBefore says so, beside how a guest was lost.
func keptAsBefore(err error) error {
	if e := (*runner.Error)(nil); errors.As(err, &e) {
		e.Hint = strings.TrimSuffix(asBefore+"; "+e.Hint, "; ")
	}
	return err
}

func layerOf(p runner.Process) (*os.File, error) {
	g, ok := p.(interface{ Layer() (*os.File, error) })
	if !ok {
		return nil, errors.New("what was written is gone with the guest")
	}
	return g.Layer()
}

// merge has the layer merged, and says what of it could not be kept.
func (q *request) merge(ctx context.Context, spec *runner.Spec, dir, layer *os.File) error {
	if err := holdKept(dir); err != nil {
		return err
	}
	if err := q.kept.Merging(true); err != nil {
		return err
	}
	words, err := keptWork(ctx, spec, "merge", dir, layer)
	if err != nil {
		// A helper that was killed has left what it was at.
		if _, swept := keptWork(context.Background(), spec, "sweep", dir, os.Stderr); swept != nil {
			return fmt.Errorf("%w (and %w)", err, swept)
		}
	}
	if words != "" {
		warn("keep %s: %s", q.keep, words)
	}
	return errors.Join(err, q.kept.Merging(false))
}

// sweepKept removes what a hutch has left that was killed while it merged.
func (q *request) sweepKept(spec *runner.Spec) error {
	q.kept.DropImage()
	if !q.kept.WasMerging() {
		return nil
	}
	dir, err := keptDir(q.kept.Path)
	if err != nil {
		return upperError(err)
	}
	defer dir.Close()
	if err = holdKept(dir); err == nil {
		_, err = keptWork(context.Background(), spec, "sweep", dir, os.Stderr)
	}
	if err == nil {
		err = q.kept.Merging(false)
	}
	if err != nil {
		return q.keepError(err, "hutch keep rm removes what is kept")
	}
	return nil
}

func (q *request) keepError(err error, hint string) error {
	return &runner.Error{Stage: runner.StageRun, Step: "keep " + q.keep, Err: err, Hint: hint}
}

// keptDir opens the directory that holds upper and work.
func keptDir(path string) (*os.File, error) {
	if strings.HasSuffix(path, ".img") {
		return native.MountImage(path, ".")
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// holdKept locks the directory. Its helper has the same lock, and so may live for
// a moment longer than a hutch that was killed, without anybody else at work there.
func holdKept(dir *os.File) (err error) {
	for range 500 {
		if err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

// keptWork does one of the three works on what is kept, and gives what there is
// to be said about it. Root needs no helper: it has every id, and what it keeps
// on disk has its owners as they are inside.
func keptWork(ctx context.Context, spec *runner.Spec, what string, dir, file *os.File) (string, error) {
	manyThreads()
	size := layerMost(spec)
	if os.Geteuid() == 0 {
		return keptHere(ctx, what, size, dir, file)
	}
	return helperSays(ctx, spec, []string{"helper", "keep-" + what, number64(size)}, dir, file)
}

// layerMost is how large the files of a layer may be in all: a guest can have
// written no more.
func layerMost(spec *runner.Spec) int64 { return spec.Root.Disk + 1<<30 }

func keptHere(ctx context.Context, what string, size int64, dir, file *os.File) (string, error) {
	switch what {
	case "image":
		return "", rootfs.KeptImage(ctx, dir, file)
	case "merge":
		st, err := rootfs.MergeKept(ctx, dir, file, size)
		return leftOut(st), err
	case "sweep":
		return "", rootfs.SweepKept(dir)
	}
	return "", misuse("it is for hutch itself", "no such help")
}

// helpKeep is keptWork in a helper, whose file is what is its standard output.
func helpKeep(ctx context.Context, what, size string, dir *os.File) error {
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return misuse("it is for hutch itself", "no such help")
	}
	words, err := keptHere(ctx, what, n, dir, os.Stdout)
	if ctx.Err() != nil { // Ctrl-C reaches the helper as it does hutch
		err = errors.New("interrupted")
	}
	if err == nil && words != "" {
		_, err = fmt.Fprintln(os.Stderr, words)
	}
	return err
}

// leftOut says what of a layer could not be kept.
func leftOut(st rootfs.Stats) string {
	var words []string
	for _, w := range []struct {
		n    int64
		what string
	}{
		{st.Owners, "the owner of %d files, for this user has no such ids: they are root's"},
		{st.Devices, "%d devices"},
		{st.Xattrs, "%d extended attributes"},
	} {
		if w.n > 0 {
			words = append(words, fmt.Sprintf(w.what, w.n))
		}
	}
	if words == nil {
		return ""
	}
	return "not kept: " + strings.Join(words, "; ")
}
