package rootfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"hutch/rootfs/internal/erofs"
)

// seal makes of a draft's tree what its format keeps, notes its checksums and
// gives the space of the image, 0 for a directory. The image is made of the tree
// that the confined creator has made, so that both formats show the same; the
// kernel's driver reads nothing but what our own writer has laid out.
func (d *draft) seal(ctx context.Context, f Format) (image int64, err error) {
	defer func() { err = explain(err) }()
	if f != FormatErofs {
		return 0, writeSums(ctx, d.dir)
	}
	return d.sealImage(ctx, d.dir+"/fs")
}

// sealImage is seal of the tree dir, as an image.
func (d *draft) sealImage(ctx context.Context, dir string) (image int64, err error) {
	if image, err = packTree(ctx, dir, d.dir+LayerImage); err != nil {
		return 0, err
	}
	line, err := imageSum(ctx, d.dir)
	if err == nil {
		err = os.WriteFile(d.dir+"/sums", line, 0o600)
	}
	if err == nil {
		err = removePath(d.dir + "/fs")
	}
	return image, err
}

// packTree writes the tree dir as the EROFS image to, owners as they are, and
// gives what it takes on the disk.
func packTree(ctx context.Context, dir, to string) (int64, error) {
	tree, err := erofs.Scan(ctx, dir)
	if err != nil {
		return 0, fmt.Errorf("erofs image: %w", err)
	}
	defer tree.Close()
	out, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, fmt.Errorf("erofs image: %w", bare(err))
	}
	st, err := tree.Write(ctx, out, erofs.Options{})
	if err == nil && st.Unreadable > 0 {
		err = fmt.Errorf("%d files cannot be read back", st.Unreadable)
	}
	// Read-only from here on, also for us: every box shares it.
	if err == nil {
		err = out.Chmod(0o400)
	}
	// Holes are no space: an archive must not push others out of the store.
	var file unix.Stat_t
	if err == nil {
		err = unix.Fstat(int(out.Fd()), &file)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return 0, fmt.Errorf("erofs image: %w", err)
	}
	return min(st.Bytes, file.Blocks*512), nil
}

// imageSum is what the file sums of an entry says that is an image: the size of
// the file, and the SHA-256 of what is not zeros in it, and of where that is. An
// archive of some kilobytes can ask for a terabyte of holes.
func imageSum(ctx context.Context, dir string) ([]byte, error) {
	fd, err := unix.Open(dir+LayerImage, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("fs%s: %w", erofsSuffix, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	h := sha256.New()
	if err = unix.Fstat(fd, &st); err == nil {
		err = eachData(ctx, fd, make([]byte, 256<<10), func(at int64, b []byte) {
			var where [8]byte
			binary.LittleEndian.PutUint64(where[:], uint64(at))
			h.Write(where[:])
			h.Write(b)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("fs%s: %w", erofsSuffix, err)
	}
	return fmt.Appendf(nil, "%d sha256:%s\n", st.Size, hex.EncodeToString(h.Sum(nil))), nil
}

// checkImage is checkSums of an entry that is an image.
func checkImage(ctx context.Context, dir string) error {
	want, err := os.ReadFile(dir + "/sums")
	if err != nil {
		return fmt.Errorf("%w: its sums: %w", errDamaged, bare(err))
	}
	got, err := imageSum(ctx, dir)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("%w: %w", errDamaged, err)
	case !bytes.Equal(got, want):
		return fmt.Errorf("%w: fs%s has another content", errDamaged, erofsSuffix)
	}
	return nil
}

// can says whether the format can be had here, before anything is fetched or
// unpacked for it: it mounts an image of nothing.
func (s store) can(ctx context.Context, f Format) error {
	if err := f.Check(); err != nil || f != FormatErofs {
		return err
	}
	if err := s.create(); err != nil {
		return err
	}
	d, err := s.draft()
	if err != nil {
		return err
	}
	defer d.discard()
	if _, err := packTree(ctx, d.dir+"/fs", d.dir+LayerImage); err != nil {
		return fmt.Errorf("store %s: %w", s.dir, explain(err))
	}
	tree, err := MountLayer(d.dir + LayerImage)
	if err != nil {
		return fmt.Errorf("store format erofs: %w", err)
	}
	unix.Close(tree)
	return nil
}
