package rootfs

import (
	"context"
	"errors"
	"hash/fnv"
	"time"

	"golang.org/x/sys/unix"
)

// turn waits until no other process makes what key stands for, so that many
// first runs of one archive unpack it once. The lock is of one byte of the
// store's version file, fcntl(2) "Open file description locks": nothing is left
// of it, whoever dies. Two keys that share a byte only wait for each other, and
// a file system without such locks only unpacks more often.
func (s store) turn(ctx context.Context, key string) (release func(), err error) {
	release = func() {}
	if err := s.create(); err != nil {
		return release, err
	}
	fd, err := unix.Open(s.path("version"), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return release, nil
	}
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(key))
	byteOf := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(sum.Sum64() >> 2), Len: 1}
	for {
		err = unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &byteOf)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EINTR) {
			return func() { unix.Close(fd) }, nil
		}
		select {
		case <-ctx.Done():
			unix.Close(fd)
			return release, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
