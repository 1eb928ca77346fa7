package rootfs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// An entry's file sums (of one that is an image: see imageSum) has one line for each name in its tree, in the order of
// a walk that sorts names:
//
//	HEX HEX NAME
//
// where the first is of the content, and the second of everything else that
// stat(2) and the extended attributes say. It is there to find what a disk, a
// power failure or a careless hand did; whoever may write to the store may
// write it too. Hence a checksum that costs nothing, CRC-32C (RFC 3720).

// A sumItem is a name that is being summed up.
type sumItem struct {
	path string // from the tree's root, "." for itself
	line chan sumLine
}

type sumLine struct {
	text string
	err  error
}

// eachSum calls line with the line of each name below dir, in order.
func eachSum(ctx context.Context, dir string, line func(path, text string) error) error {
	root, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	table := crc32.MakeTable(crc32.Castagnoli)
	work, ordered := make(chan sumItem, 64), make(chan sumItem, 256)
	var crew sync.WaitGroup
	defer crew.Wait()
	for range min(max(runtime.GOMAXPROCS(0), 1), 4) {
		crew.Go(func() {
			buf := make([]byte, 256<<10)
			for it := range work {
				text, err := sumOf(ctx, root, it.path, table, buf)
				it.line <- sumLine{text, err}
			}
		})
	}
	crew.Go(func() {
		defer close(ordered)
		defer close(work)
		walkSorted(ctx, root, ".", func(path string) bool {
			it := sumItem{path, make(chan sumLine, 1)}
			select {
			case ordered <- it:
			case <-ctx.Done():
				return false
			}
			work <- it
			return true
		})
	})
	for it := range ordered {
		l := <-it.line
		if l.err == nil {
			l.err = line(it.path, l.text)
		}
		if l.err != nil {
			cancel()
			for it := range ordered {
				<-it.line
			}
			return l.err
		}
	}
	return ctx.Err()
}

// walkSorted visits path and all below it. An unreadable directory ends in an
// error when its own sum is taken.
func walkSorted(ctx context.Context, root int, path string, visit func(string) bool) bool {
	if ctx.Err() != nil || !visit(path) {
		return false
	}
	fd, err := openat2(root, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, sumResolve)
	if err != nil {
		return true // no directory
	}
	names, err := allNames(fd)
	unix.Close(fd)
	if err != nil {
		return true
	}
	slices.Sort(names)
	for _, n := range names {
		below := n
		if path != "." {
			below = path + "/" + n
		}
		if !walkSorted(ctx, root, below, visit) {
			return false
		}
	}
	return true
}

const sumResolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_SYMLINKS

// sumOf makes the line of one name.
func sumOf(ctx context.Context, root int, path string, table *crc32.Table, buf []byte) (string, error) {
	fd, err := openat2(root, path, unix.O_PATH|unix.O_NOFOLLOW, sumResolve)
	if err != nil {
		return "", fmt.Errorf("%s: %w", quoteOdd(path), err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", fmt.Errorf("%s: %w", quoteOdd(path), err)
	}
	var content uint32
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		err = eachData(ctx, fd, buf, func(at int64, b []byte) {
			var where [8]byte
			binary.LittleEndian.PutUint64(where[:], uint64(at))
			content = crc32.Update(crc32.Update(content, table, where[:]), table, b)
		})
	case unix.S_IFLNK:
		var to string
		to, err = readlinkFD(fd)
		content = crc32.Checksum([]byte(to), table)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", quoteOdd(path), err)
	}
	about := fmt.Appendf(nil, "%o %d %d %d", st.Mode, st.Uid, st.Gid, st.Rdev)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		about = fmt.Appendf(about, " %d %d", st.Size, st.Mtim.Nano())
	}
	about = appendXattrs(about, fd)
	return fmt.Sprintf("%08x %08x %s", content, crc32.Checksum(about, table), strconv.Quote(path)), nil
}

// eachData calls data with the parts of a file that are not zeros, and where they
// are: a hole is not read, and does not differ from zeros that were written.
func eachData(ctx context.Context, fd int, buf []byte, data func(at int64, b []byte)) error {
	f, err := unix.Open("/proc/self/fd/"+itoa(int64(fd)), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(f)
	for pos := int64(0); ; {
		n, err := readFull(f, buf, pos)
		if err != nil || n == 0 {
			return err
		}
		at, zero := pos, buf[0] == 0 && bytes.Equal(buf[:n-1], buf[1:n])
		pos += int64(n)
		if !zero {
			data(at, buf[:n])
			if err := ctx.Err(); err != nil {
				return err
			}
			continue
		}
		// An archive may say that a hole of a terabyte follows.
		next, err := unix.Seek(f, pos, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err == nil {
			pos = max(pos, next/int64(len(buf))*int64(len(buf)))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// readFull fills buf from a place in a file, as far as that goes.
func readFull(fd int, buf []byte, at int64) (int, error) {
	n := 0
	for n < len(buf) {
		m, err := unix.Pread(fd, buf[n:], at+int64(n))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || m == 0 {
			return n, err
		}
		n += m
	}
	return n, nil
}

// appendXattrs adds the attributes that an archive can set. Others, such as a
// security module's label, belong to the host.
func appendXattrs(about []byte, fd int) []byte {
	path := "/proc/self/fd/" + itoa(int64(fd))
	var list [4096]byte
	n, err := unix.Listxattr(path, list[:])
	if err != nil || n <= 0 {
		return about
	}
	names := strings.Split(strings.TrimRight(string(list[:n]), "\x00"), "\x00")
	slices.Sort(names)
	for _, name := range names {
		if !strings.HasPrefix(name, "user.") && name != "security.capability" {
			continue
		}
		var value [4096]byte
		if n, err := unix.Getxattr(path, name, value[:]); err == nil {
			about = fmt.Appendf(about, " %q=%q", name, value[:n])
		}
	}
	return about
}

// writeSums writes the sums of a draft.
func writeSums(ctx context.Context, dir string) error {
	f, err := os.OpenFile(dir+"/sums", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return bare(err)
	}
	w := bufio.NewWriterSize(f, 64<<10)
	err = eachSum(ctx, dir+"/fs", func(_, text string) error {
		w.WriteString(text)
		return w.WriteByte('\n')
	})
	return errors.Join(err, w.Flush(), f.Close())
}

// errDamaged says that an entry is not what it was made as.
var errDamaged = errors.New("damaged")

// checkSums compares an entry with its sums. The error names what differs
// first, and is errDamaged, ctx's, or of the store.
func checkSums(ctx context.Context, dir string) error {
	if formatOf(dir) == FormatErofs {
		return checkImage(ctx, dir)
	}
	f, err := os.Open(dir + "/sums")
	if err != nil {
		return fmt.Errorf("%w: its sums: %w", errDamaged, bare(err))
	}
	defer f.Close()
	want := bufio.NewReaderSize(f, 64<<10)
	err = eachSum(ctx, dir+"/fs", func(path, text string) error {
		line, err := want.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		return compareSums(path, text, string(bytes.TrimSuffix(line, []byte{'\n'})))
	})
	if err == nil {
		if _, rerr := want.ReadByte(); rerr == nil {
			err = fmt.Errorf("%w: names are missing at its end", errDamaged)
		}
	}
	if err != nil && !errors.Is(err, errDamaged) && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", errDamaged, err) // it cannot be read
	}
	return err
}

func compareSums(path, got, want string) error {
	if got == want {
		return nil
	}
	g, w := strings.SplitN(got, " ", 3), strings.SplitN(want, " ", 3)
	what := "is there too much, or another is missing before it"
	if len(w) == 3 && w[2] == g[2] {
		what = "has another owner, mode, time, size or attribute"
		if w[0] != g[0] {
			what = "has another content"
		}
	}
	return fmt.Errorf("%w: %s %s", errDamaged, quoteOdd(path), what)
}
