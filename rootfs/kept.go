package rootfs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"hutch/rootfs/internal/erofs"
)

// A guest cannot write to the directory in which a Keep holds what boxes have
// written: it sees it as an image, on top of the other layers, and what it has
// written comes back as one more layer, which MergeKept puts over it.
//
// The functions here work on the open directory that holds upper and work of the
// overlay. Owners are those of the inside where the caller has the ids of the
// box, and they follow no link: what is in there is not to be trusted.

const (
	upperDir = "upper"
	// mergeDir is what MergeKept makes, and, once that has taken the place of
	// upper, what it removes.
	mergeDir = "merged"
)

// KeptImage writes what is kept as an EROFS image to out, an empty file. Nothing
// is written where nothing is kept.
func KeptImage(ctx context.Context, dir, out *os.File) error {
	upper, err := openDir(int(dir.Fd()), upperDir)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(upper)
	tree, err := erofs.Scan(ctx, "/proc/self/fd/"+itoa(int64(upper)))
	if err != nil {
		return fmt.Errorf("image of what is kept: %w", err)
	}
	defer tree.Close()
	if tree.Empty() {
		return nil
	}
	st, err := tree.Write(ctx, out, erofs.Options{})
	if err == nil && st.Unreadable > 0 {
		err = fmt.Errorf("%d files of it cannot be read", st.Unreadable)
	}
	if err != nil {
		return fmt.Errorf("image of what is kept: %w", explain(err))
	}
	return nil
}

// KeptRoom is how many bytes and files there is room for where something is kept,
// less what the file system takes for itself; inodes is 0 where it does not count.
func KeptRoom(dir *os.File) (bytes, inodes int64, err error) {
	var fs unix.Statfs_t // of a project quota, where there is one, statfs(2)
	if err := unix.Fstatfs(int(dir.Fd()), &fs); err != nil {
		return 0, 0, err
	}
	bytes = int64(fs.Bavail) * fs.Bsize
	bytes -= bytes/32 + 64<<10
	if fs.Files > 0 {
		inodes = max(int64(fs.Ffree), 32) // with less than these two no box can be made
	}
	return max(bytes, 64<<10), inodes, nil
}

// MergeKept puts a layer over what is kept. A layer is what Pack writes that is
// told to be exact, with at most size bytes of data; it may be a hostile guest's: nothing but the directory is
// written to. What is kept is what it was, or all of the new, at every moment,
// also when the caller is killed; then SweepKept has to be called before anything
// else is.
//
// Stats say what of the layer could not be kept.
func MergeKept(ctx context.Context, dir, layer *os.File, size int64) (Stats, error) {
	if err := SweepKept(dir); err != nil {
		return Stats{}, err
	}
	in, err := plainTar(layer)
	if in == nil || err != nil {
		return Stats{}, err
	}
	at := int(dir.Fd())
	if err := unix.Mkdirat(at, mergeDir, 0o700); err != nil {
		return Stats{}, err
	}
	st, err := mergeKept(ctx, at, in, size)
	if rerr := SweepKept(dir); err == nil {
		err = rerr
	}
	return st, explain(err)
}

func mergeKept(ctx context.Context, at int, layer io.Reader, size int64) (Stats, error) {
	merged, err := openDir(at, mergeDir)
	if err != nil {
		return Stats{}, err
	}
	defer unix.Close(merged)
	st, err := Unpack(ctx, layer, "/proc/self/fd/"+itoa(int64(merged)), UnpackOptions{
		Limits: UnpackLimits{Bytes: size}, kept: true,
	})
	if err != nil {
		return st, err
	}
	upper, err := openDir(at, upperDir)
	if errors.Is(err, unix.ENOENT) {
		return st, unix.Renameat2(at, mergeDir, at, upperDir, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		return st, err
	}
	defer unix.Close(upper)
	err = addDir(ctx, merged, upper)
	if err == nil { // of the root itself a layer does not say what it is like
		err = copyDirAttrs(merged, upper)
	}
	if err != nil {
		return st, fmt.Errorf("put the layer over what is kept: %w", err)
	}
	return st, unix.Renameat2(at, mergeDir, at, upperDir, unix.RENAME_EXCHANGE)
}

// SweepKept removes what a MergeKept has left that was killed.
func SweepKept(dir *os.File) error { return gone(removeAt(int(dir.Fd()), mergeDir)) }

// plainTar is the reader of a layer, or nil for an empty one.
func plainTar(layer *os.File) (io.Reader, error) {
	if _, err := layer.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(layer, 256<<10)
	head, err := in.Peek(2 * blockSize)
	if err != nil {
		return nil, errors.New("the layer that came back is cut short")
	}
	if len(bytes.Trim(head, "\x00")) == 0 { // the end of a tar
		return nil, nil
	}
	return in, nil
}
