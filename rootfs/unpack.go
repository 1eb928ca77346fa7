package rootfs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Whiteouts says what the names .wh.NAME and .wh..wh..opq mean.
type Whiteouts int

const (
	// WhiteoutsNone: nothing; they are ordinary names. For a plain tar.
	WhiteoutsNone Whiteouts = iota
	// WhiteoutsOverlay: NAME is hidden, the directory is opaque, in the way
	// of overlayfs: a character device 0:0, an attribute. For a layer.
	WhiteoutsOverlay
)

// UnpackOptions say how an archive is unpacked. The zero value is usable.
type UnpackOptions struct {
	Limits    UnpackLimits
	Whiteouts Whiteouts
	// NoEndOK accepts an archive without an end marker: one that is verified
	// by its digest cannot have been cut short.
	NoEndOK bool
	// PlainDigest asks for Stats.PlainDigest.
	PlainDigest bool
	// Progress is called at most every 100 ms and at the end.
	Progress func(read, written, entries int64, done bool)
	// Workers is how many goroutines write files; 0 means as many as there
	// are processors, at least 2 and at most 8.
	Workers int
	// Beside is how many other archives are unpacked at the same time: they
	// share the buffers and the writers that one alone would have.
	Beside int

	// kept: what a box has written to its root comes back to where it is kept, as
	// PackLimits.Exact says. Modes stay as they are, owners that the caller has
	// not become its own and are counted, and no device is made.
	kept bool
	// check looks at the whole before the directories get their modes; an
	// error of its is Unpack's.
	check func(Stats) error
}

// Unpack unpacks a tar, plain or compressed, into dir, an existing empty
// directory. Nothing outside dir is changed, whatever the archive holds.
// What is not kept is counted in Stats. On an error, dir is empty again.
//
// Errors unwrap to *LimitError, io.ErrUnexpectedEOF (the archive is cut
// short), ctx's error, or the errno.
func Unpack(ctx context.Context, r io.Reader, dir string, opt UnpackOptions) (Stats, error) {
	root, err := openTree(dir)
	if err != nil {
		return Stats{}, err
	}
	defer unix.Close(root)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	u := newUnpacker(ctx, root, opt)
	if err := u.run(r); err != nil {
		if rerr := removeContents(root); rerr != nil {
			err = fmt.Errorf("%w (and %s could not be emptied: %w)", err, dir, rerr)
		}
		return Stats{}, explain(err)
	}
	return u.stats, nil
}

// explain puts the commonest ends into words.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(cutError)): // that is in words
	case errors.Is(err, io.ErrUnexpectedEOF):
		return cutError{}
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		if strings.Contains(err.Error(), "; make room") {
			return err
		}
		return fmt.Errorf("%w; make room, or put the store on another disk (XDG_DATA_HOME, or for root a link at /var/lib/hutch)", err)
	}
	return err
}

// A cutError is io.ErrUnexpectedEOF in words.
type cutError struct{}

func (cutError) Error() string { return "the archive is cut short; make or fetch it again" }
func (cutError) Unwrap() error { return io.ErrUnexpectedEOF }

// openTree opens dir, checks that it is empty, and makes it private and plain
// while it is filled: nothing in it inherits a default ACL or a group.
func openTree(dir string) (int, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("%s: %w", dir, err)
	}
	names, err := readNames(fd, 1)
	if err == nil && len(names) > 0 {
		err = unix.ENOTEMPTY
	}
	if err == nil {
		err = unix.Fchmod(fd, 0o700)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("%s: %w", dir, err)
	}
	_ = unix.Fremovexattr(fd, aclDefault) // it is an error not to have one
	return fd, nil
}

// An unpacker reads the entries in order. Directories, links and nodes it
// makes at once; files it hands to the writers. Where an entry could touch
// what a writer is still at, it waits for them all first (barrier), so that
// the result is that of one entry after the other.
type unpacker struct {
	ctx    context.Context
	opt    UnpackOptions
	lim    UnpackLimits
	owners owners
	umask  uint32
	stats  Stats
	bytes  int64 // of all files so far, holes included
	tree   tree
	crew   *crew
	in     *stream
	busy   map[place]struct{} // files handed out since the last barrier
	last   time.Time
}

// A place is a name in a directory.
type place struct {
	dir  *dirNode
	name string
}

// busyMost bounds the memory of busy.
const busyMost = 1 << 14

func newUnpacker(ctx context.Context, root int, opt UnpackOptions) *unpacker {
	u := &unpacker{ctx: ctx, opt: opt, lim: opt.Limits.withDefaults(), owners: ourOwners(), busy: map[place]struct{}{}}
	u.tree.init(root)
	u.owners.kept = opt.kept
	if u.opt.Workers <= 0 {
		u.opt.Workers = min(max(runtime.GOMAXPROCS(0), 2), 8)
	}
	if u.opt.check == nil {
		u.opt.check = func(Stats) error { return nil }
	}
	u.opt.Workers = max(2, u.opt.Workers/(1+max(0, u.opt.Beside)))
	return u
}

func (u *unpacker) run(r io.Reader) error {
	var err error
	if u.umask, err = probeUmask(u.tree.root.fd); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(u.ctx)
	defer cancel()
	if u.in, err = openStream(ctx, r, u.lim, u.opt); err != nil {
		return err
	}
	u.in.tick = u.progress
	u.crew = startCrew(u.opt.Workers, u.owners, u.umask)
	err = u.entries()
	// The writers end before anything is removed or the directories get
	// their modes.
	if werr := u.crew.stop(); err == nil || errors.Is(err, errWriter) {
		err = werr
	}
	u.stats.add(u.crew.stats())
	if err == nil {
		u.sums()
		err = u.opt.check(u.stats)
	}
	if err == nil {
		err = u.finishDirs()
	}
	u.tree.closeAll()
	if err == nil {
		u.report(true)
	}
	return err
}

// sums takes the digests, when all has been read.
func (u *unpacker) sums() {
	u.stats.Digest = "sha256:" + hex.EncodeToString(u.in.sum.Sum(nil))
	u.stats.Read = u.in.read.Load()
	if u.in.plain != nil {
		u.stats.PlainDigest = "sha256:" + hex.EncodeToString(u.in.plain.Sum(nil))
	}
}

// entries works through the archive up to its end, and reads what follows.
func (u *unpacker) entries() error {
	t := tarReader{in: u.in, lim: u.lim, lax: u.opt.NoEndOK, kept: u.opt.kept}
	for {
		if err := u.ctx.Err(); err != nil {
			return err
		}
		if u.crew.failed() {
			return errWriter
		}
		h, err := t.next()
		if errors.Is(err, errEnd) {
			return u.in.drain()
		}
		if err != nil {
			return err
		}
		u.stats.Entries++
		if u.stats.Entries > u.lim.Entries {
			return &LimitError{What: "entries", Limit: u.lim.Entries, Entry: h.name}
		}
		if err := u.entry(h); err != nil {
			return err
		}
	}
}

// entry makes one entry and takes its data off the stream.
func (u *unpacker) entry(h *header) error {
	left := h.size
	if h.kind == typeVolume {
		return u.in.skip(left + padding(left))
	}
	path, err := u.checkEntry(h)
	if err != nil {
		return err
	}
	if h.kind == typeFile && !u.isWhiteout(path) {
		if err = u.file(path, h); err == nil {
			err = u.in.skip(padding(left))
		}
	} else if err = u.node(path, h); err == nil {
		err = u.in.skip(left + padding(left))
	}
	var limit *LimitError
	if err == nil || errors.As(err, &limit) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errWriter) {
		return err
	}
	return fmt.Errorf("%s: %w", quoteOdd(h.name), err)
}

// checkEntry looks at the numbers and gives the path, relative and clean.
func (u *unpacker) checkEntry(h *header) (string, error) {
	path, err := u.clean(h.name)
	if err != nil {
		return "", err
	}
	const idMax = 1<<32 - 2 // the next one is (uid_t)-1
	if h.uid < 0 || h.uid > idMax || h.gid < 0 || h.gid > idMax {
		return "", fmt.Errorf("%w at %s: owner %d:%d is out of range", errHeader, quote(h.name), h.uid, h.gid)
	}
	if h.kind != typeFile {
		return path, nil
	}
	size := h.realSize
	if u.opt.kept { // its holes take no room here either
		size = h.size
	}
	if size > u.lim.Bytes-u.bytes {
		return "", &LimitError{What: "bytes", Limit: u.lim.Bytes, Entry: h.name}
	}
	u.bytes += size
	if path == "" {
		return "", fmt.Errorf("%w: a file without a name", errHeader)
	}
	return path, nil
}

// progress is called for every chunk.
func (u *unpacker) progress() {
	if u.opt.Progress == nil {
		return
	}
	if now := time.Now(); now.Sub(u.last) >= 100*time.Millisecond {
		u.last = now
		u.report(false)
	}
}

func (u *unpacker) report(done bool) {
	if u.opt.Progress != nil {
		u.opt.Progress(u.in.read.Load(), u.bytes, u.stats.Entries, done)
	}
}

// probeUmask learns what the kernel takes off a mode, without touching the
// process's umask, which other goroutines share.
func probeUmask(root int) (uint32, error) {
	const name = ".hutch-probe"
	if err := unix.Mkdirat(root, name, 0o777); err != nil {
		return 0, os.NewSyscallError("mkdir", err)
	}
	var st unix.Stat_t
	err := unix.Fstatat(root, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if rerr := unix.Unlinkat(root, name, unix.AT_REMOVEDIR); err == nil {
		err = rerr
	}
	return 0o777 &^ st.Mode, err
}
