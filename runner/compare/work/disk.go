package work

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const diskBlock = 4096

// diskFile is a file of o.Bytes on the host's disk, of bytes that compress to
// nothing less.
func diskFile(o *Options) (*os.File, float64, error) {
	f, err := os.CreateTemp(o.Disk, "work-")
	if err != nil {
		return nil, 0, err
	}
	os.Remove(f.Name())
	chunk := make([]byte, 1<<20)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(chunk)
	began := time.Now()
	for left := o.Bytes; left > 0 && err == nil; left -= int64(len(chunk)) {
		_, err = f.Write(chunk[:min(left, int64(len(chunk)))])
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, float64(o.Bytes) / 1e6 / time.Since(began).Seconds(), nil
}

func diskWrite(o *Options) (float64, error) {
	f, rate, err := diskFile(o)
	if err != nil {
		return 0, err
	}
	return rate, f.Close()
}

// forget drops what the kernel of this side keeps of f in memory. The host's
// own cache is out of reach from inside: the bytes that reached its disk tell.
func forget(f *os.File) error {
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

func diskRead(o *Options) (float64, error) {
	f, _, err := diskFile(o)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := forget(f); err != nil {
		return 0, err
	}
	chunk := make([]byte, 1<<20)
	began := time.Now()
	for at := int64(0); at < o.Bytes; at += int64(len(chunk)) {
		if n, err := f.ReadAt(chunk[:min(o.Bytes-at, int64(len(chunk)))], at); n == 0 {
			return 0, fmt.Errorf("read at %d: %w", at, err)
		}
	}
	return float64(o.Bytes) / 1e6 / time.Since(began).Seconds(), nil
}

func diskRandomRead(o *Options) (float64, error) {
	f, _, err := diskFile(o)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := forget(f); err != nil {
		return 0, err
	}
	return randomly(o, f.ReadAt)
}

func diskRandomWrite(o *Options) (float64, error) {
	f, _, err := diskFile(o)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return randomly(o, func(p []byte, at int64) (int, error) {
		n, err := f.WriteAt(p, at)
		if err == nil {
			err = unix.Fdatasync(int(f.Fd()))
		}
		return n, err
	})
}

// randomly moves blocks at places that are the same in every run.
func randomly(o *Options, move func([]byte, int64) (int, error)) (float64, error) {
	random := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, diskBlock)
	return micro(o, 1, func() error {
		_, err := move(buf, random.Int64N(o.Bytes/diskBlock)*diskBlock)
		return err
	})
}

// metadata is the microseconds of one file, made, looked at and removed.
func metadata(o *Options) (float64, error) {
	dir, err := os.MkdirTemp(o.Disk, "files-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	name := func(i int) string { return filepath.Join(dir, strconv.Itoa(i)) }
	began := time.Now()
	for i := range o.Files {
		fd, err := unix.Open(name(i), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return 0, &os.PathError{Op: "create", Path: name(i), Err: err}
		}
		unix.Close(fd)
	}
	var st unix.Stat_t
	for i := range o.Files {
		if err := unix.Stat(name(i), &st); err != nil {
			return 0, &os.PathError{Op: "stat", Path: name(i), Err: err}
		}
	}
	for i := range o.Files {
		if err := unix.Unlink(name(i)); err != nil {
			return 0, &os.PathError{Op: "unlink", Path: name(i), Err: err}
		}
	}
	return float64(time.Since(began).Microseconds()) / float64(o.Files), nil
}
