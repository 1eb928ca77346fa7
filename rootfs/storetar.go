package rootfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// meta is meta.json.
type meta struct {
	Digest   string    `json:"digest"`
	Source   string    `json:"source"`
	Size     int64     `json:"size"`            // of the archive
	Bytes    int64     `json:"bytes"`           // of the files in the tree
	Image    int64     `json:"image,omitempty"` // on disk, of the EROFS image, if it is one
	Entries  int64     `json:"entries"`
	Unpacked time.Time `json:"unpacked"`
	Stats    Stats     `json:"stats"`
}

// diffID is the digest of the tar itself, without compression.
func (m meta) diffID() string { return m.Stats.PlainDigest }

func (s store) meta(entry string) (m meta, err error) {
	b, err := os.ReadFile(s.path(layersDir, entry, "meta.json"))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return m, fmt.Errorf("store %s: %w", s.path(layersDir, entry), bare(err))
	}
	return m, nil
}

// prepareTar finds the file in the store by its identity, or unpacks it.
func (s store) prepareTar(ctx context.Context, ref Ref, opt Options) (*Root, error) {
	if ref.Path == "-" {
		if opt.Stdin == nil {
			return nil, errors.New("root -: there is no standard input")
		}
		return s.unpackNew(ctx, ref, opt, opt.Stdin, 0)
	}
	var st unix.Stat_t
	if err := unix.Stat(ref.Path, &st); err != nil {
		return nil, fmt.Errorf("root %s: %w", ref, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFIFO:
	case unix.S_IFDIR:
		return nil, fmt.Errorf("root %s: is a directory, and a tar was meant; write %s/ for the directory", ref, ref.Path)
	default:
		return nil, fmt.Errorf("root %s: is a %s, not a tar file", ref, fileKind(goMode(st.Mode)))
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		r, err := s.byIdentity(&st)
		if err != nil {
			r, err = s.byImageKey(tarImageKey(&st))
		}
		if err == nil && r.in(opt.Format) {
			return r, nil
		}
		_ = r.Close()
		release, err := s.turn(ctx, identity(&st))
		if err != nil {
			return nil, fmt.Errorf("root %s: %w", ref, err)
		}
		defer release()
		if r, err := s.byIdentity(&st); err == nil && r.in(opt.Format) {
			return r, nil // another process has made it
		} else if err == nil {
			_ = r.Close()
		}
	}
	return s.fromFile(ctx, ref, opt)
}

// identity names a file and its state: two stats with the same result are of
// the same content, unless it changed twice within a tick of the clock, which
// remember excludes.
func identity(st *unix.Stat_t) string {
	b := make([]byte, 0, 96)
	for _, v := range [...]uint64{
		st.Dev, st.Ino, uint64(st.Size),
		uint64(st.Mtim.Nano()), uint64(st.Ctim.Nano()),
	} {
		b = append(strconv.AppendUint(b, v, 16), '-')
	}
	return string(b[:len(b)-1])
}

func sizeKey(size int64) string { return "size-" + strconv.FormatInt(size, 16) }

func (s store) byIdentity(st *unix.Stat_t) (*Root, error) { return s.byKey(identity(st)) }

func (s store) byKey(key string) (*Root, error) {
	var b [80]byte
	n, err := unix.Readlink(s.path(indexDir, key), b[:])
	if err != nil {
		return nil, errGone
	}
	return s.use(string(b[:n]))
}

// tarImageKey is where a tar is remembered that turned out to be an image.
func tarImageKey(st *unix.Stat_t) string { return "img-" + identity(st) + "-tar" }

func (s store) byImageKey(key string) (*Root, error) {
	entry, err := os.Readlink(s.path(indexDir, key))
	if err != nil {
		return nil, errGone
	}
	return s.useImage(entry)
}

// fromFile opens the archive. A file of a size that the store has seen is
// hashed first: it is probably a copy, and hashing is much less than unpacking.
func (s store) fromFile(ctx context.Context, ref Ref, opt Options) (*Root, error) {
	f, err := os.Open(ref.Path)
	if err != nil {
		return nil, fmt.Errorf("root %s: %w", ref, bare(err))
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, fmt.Errorf("root %s: %w", ref, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return s.unpackNew(ctx, ref, opt, f, 0)
	}
	if st.Size == 0 {
		return nil, fmt.Errorf("root %s: is empty", ref)
	}
	if r, err := s.byKey(sizeKey(st.Size)); err == nil {
		_ = r.Close()
		digest, err := hashFile(ctx, f)
		if err != nil {
			return nil, fmt.Errorf("root %s: %w", ref, bare(err))
		}
		if r, err := s.useAs(opt.Format, entryName(digest)); err == nil {
			s.remember(ref.Path, &st, r.entries[0])
			return r, nil
		}
	}
	r, err := s.unpackNew(ctx, ref, opt, f, st.Size)
	switch {
	case err != nil:
	case r.Kind == KindImage:
		s.rememberAs(ref.Path, &st, tarImageKey(&st), entryName(r.Digest))
	default:
		s.remember(ref.Path, &st, r.entries[0])
	}
	return r, err
}

func hashFile(ctx context.Context, f *os.File) (string, error) {
	sum := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		n, err := f.Read(buf)
		sum.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return "", err
		}
	}
	_, err := f.Seek(0, io.SeekStart)
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), err
}

// remember notes the file's identity, if the file is still what it was before
// it was read, and did not change within the clock's last tick, in which it
// could change again and look the same.
func (s store) remember(path string, before *unix.Stat_t, name string) {
	s.link(sizeKey(before.Size), name)
	s.rememberAs(path, before, identity(before), name)
}

// rememberAs is remember, under a key that holds the identity.
func (s store) rememberAs(path string, before *unix.Stat_t, key, name string) {
	var after, now unix.Stat_t
	if unix.Stat(path, &after) != nil || identity(&after) != identity(before) {
		return
	}
	// The store's clock is asked, for the kernel's ticks are coarser than time.Now.
	if unix.Stat(s.path(indexDir), &now) != nil || now.Ctim.Nano()-after.Ctim.Nano() < int64(20*time.Millisecond) {
		return
	}
	s.link(key, name)
}

// link puts an index entry in place. It is a hint: what fails costs time only.
func (s store) link(key, name string) {
	part := s.path(indexDir, ".new-"+strconv.Itoa(os.Getpid())+"-"+key)
	_ = os.Remove(part)
	if os.Symlink(name, part) == nil {
		_ = os.Rename(part, s.path(indexDir, key))
	}
}

// unpackNew unpacks r into a new entry. size is the archive's, 0 if unknown.
func (s store) unpackNew(ctx context.Context, ref Ref, opt Options, r io.Reader, size int64) (*Root, error) {
	if err := s.create(); err != nil {
		return nil, err
	}
	s.sweep()
	d, err := s.draft()
	if err != nil {
		return nil, err
	}
	o := UnpackOptions{Limits: opt.Limits, NoEndOK: false, PlainDigest: opt.plain}
	if opt.Progress != nil {
		o.Progress = func(read, written, entries int64, done bool) {
			opt.Progress(Progress{Name: ref.String(), Read: read, Total: size, Written: written, Entries: entries, Done: done})
		}
	}
	st, err := Unpack(ctx, r, d.dir+"/fs", o)
	if err == nil && st.Entries == 0 {
		err = errors.New("the archive is empty")
	}
	if err == nil && isSavedImage(d.dir+"/fs") {
		// Told apart by content: what was unpacked is where the image is taken from.
		defer d.discard()
		root, err := s.fromTree(ctx, d.dir+"/fs", ref, "", opt)
		if err != nil {
			return nil, fmt.Errorf("root %s: a saved image: %w", ref, err)
		}
		return root, nil
	}
	m := newMeta(st, ref.Path)
	if err == nil {
		m.Image, err = d.seal(ctx, opt.Format)
	}
	if err == nil {
		err = writeJSON(d.dir+"/meta.json", m)
	}
	if err != nil {
		d.discard()
		return nil, fmt.Errorf("root %s: %w", ref, err)
	}
	root, err := s.keep(d, layersDir, opt.Format.in(entryName(st.Digest)))
	if err == nil {
		root.Stats = st
	}
	return root, err
}

// isSavedImage tells a saved image from a root.
func isSavedImage(dir string) bool {
	has := func(name string) bool {
		_, err := os.Lstat(dir + "/" + name)
		return err == nil
	}
	switch {
	case has("usr"), has("bin"), has("etc"):
		return false
	case has("oci-layout"):
		return has("index.json")
	}
	return has("manifest.json")
}

func newMeta(st Stats, source string) meta {
	if abs, err := filepath.Abs(source); err == nil && source != "" && source != "-" {
		source = abs
	}
	return meta{
		Digest: st.Digest, Source: source, Size: st.Read, Bytes: st.Bytes,
		Entries: st.Entries, Unpacked: time.Now().UTC(), Stats: st,
	}
}
