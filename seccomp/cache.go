package seccomp

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// cacheFormat is raised when the same policy comes to mean another filter.
const cacheFormat = "hutch filter 2\n"

// A Key names what a policy compiles to on this machine: two policies with one
// key have the same filter.
type Key [sha256.Size]byte

// Key hashes all that the filter depends on: the meaning of the policy, the
// compiler and the architecture.
func (p *Policy) Key() Key {
	digest := p.Digest()
	b := append([]byte(compilerVersion()), digest[:]...)
	return sha256.Sum256(binary.LittleEndian.AppendUint32(b, uint32(Native())))
}

// CompilerVersion tells one libseccomp, the tables and the groups from others:
// as long as it stays, a policy compiles to the same filter on this machine.
func CompilerVersion() string {
	return compilerVersion() + "\n" + tableVersion + "\n" + groupsDigest + "\n" + cacheFormat
}

// Digest hashes what the policy means, whatever the machine and the compiler:
// its words and the tables that they stand for. Reasons do not count.
func (p *Policy) Digest() Key {
	b := []byte(cacheFormat)
	str := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	list := func(l []string) {
		b = binary.AppendUvarint(b, uint64(len(l)))
		for _, s := range l {
			str(s)
		}
	}
	str(tableVersion)
	str(groupsDigest)
	str(p.Default)
	str(p.Errno)
	str(p.Newer)
	list(p.Architectures)
	list(p.Allow)
	list(p.Deny)
	b = binary.AppendUvarint(b, uint64(len(p.Rules)))
	for _, r := range p.Rules {
		b = binary.AppendVarint(b, int64(r.Rank))
		str(r.Action)
		str(r.Errno)
		list(r.Calls)
		b = binary.AppendUvarint(b, uint64(len(r.Args)))
		for _, a := range r.Args {
			b = binary.AppendVarint(b, int64(a.Index))
			str(a.Op)
			str(string(a.Value))
			str(string(a.Mask))
		}
	}
	return sha256.Sum256(b)
}

// Load compiles a policy, or takes the filter from dir where it was compiled
// before. The directory is made if it is missing, mode 0700. A directory or
// file that is not the caller's own or that others can write to, and a file
// that does not hold what Load wrote, is not used. An empty dir means no cache.
// That the cache cannot be written is no error: the filter is compiled again
// the next time.
func Load(p *Policy, dir string) (Filter, error) {
	if dir == "" {
		return Compile(p)
	}
	key := p.Key()
	cache, err := OpenCache(dir)
	if err != nil {
		return Compile(p)
	}
	defer cache.Close()
	if f, err := cache.load(key); err == nil {
		return f, nil
	}
	f, err := Compile(p)
	if err != nil {
		return nil, err
	}
	_ = cache.Put(filters(), key, f) // a full disk costs time, not the run
	return f, nil
}

// A Cache is a directory that has been found trustworthy: the caller's own, and
// nobody else can write to it. Files are reached through its descriptor, so that
// nobody can put another in its place.
type Cache struct{ root *os.Root }

// A CacheKind is one kind of files in a cache.
type CacheKind struct {
	// Format stands at the head of a file. It is changed whenever the same key
	// comes to mean other bytes.
	Format string
	// Suffix ends the name of a file, behind its key: ".bpf".
	Suffix string
	// Most is the largest number of bytes that are kept under a key.
	Most int
}

func filters() CacheKind {
	return CacheKind{Format: cacheFormat, Suffix: ".bpf", Most: maxInstructions * instructionSize}
}

var errUntrusted = errors.New("others can write to it")

// OpenCache opens the cache in dir, which is made if it is missing, mode 0700. A
// directory that is another's or that others can write to is an error.
func OpenCache(dir string) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(filepath.Clean(dir))
	if err != nil {
		return nil, err
	}
	info, err := root.Stat(".")
	if err == nil {
		err = trusted(info)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return &Cache{root}, nil
}

// Close lets go of the directory.
func (c *Cache) Close() error { return c.root.Close() }

// trusted says whether nobody but the caller can have written.
func trusted(info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return errUntrusted
	}
	return nil
}

func (k Key) file() string { return filters().file(k) }

func (kind CacheKind) file(k Key) string { return hex.EncodeToString(k[:]) + kind.Suffix }

func (k Key) seal(f Filter) []byte { return filters().seal(k, f) }

// seal is what stands before the data in a file: a sum over key and data, so
// that a file under a wrong name is as bad as a damaged one.
func (kind CacheKind) seal(k Key, data []byte) []byte {
	h := sha256.New()
	h.Write([]byte(kind.Format))
	h.Write(k[:])
	h.Write(data)
	return h.Sum([]byte(kind.Format))
}

var errCorrupt = errors.New("not what was stored under this key")

// Get returns what Put stored under a key. A file that is another's, that others
// can write to or that holds anything else is an error.
func (c *Cache) Get(kind CacheKind, key Key) ([]byte, error) {
	// Without O_NONBLOCK a FIFO under this name would hold the run up.
	file, err := c.root.OpenFile(kind.file(key), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if err := trusted(info); err != nil || !info.Mode().IsRegular() {
		return nil, errUntrusted
	}
	most := len(kind.Format) + sha256.Size + kind.Most
	if info.Size() > int64(most) {
		return nil, errCorrupt
	}
	// A byte more, so that a file which grows meanwhile is seen to be longer.
	data := make([]byte, info.Size()+1)
	n, err := io.ReadFull(file, data)
	if err != io.ErrUnexpectedEOF {
		return nil, errCorrupt
	}
	return kind.open(key, data[:n])
}

// open breaks the seal.
func (kind CacheKind) open(key Key, file []byte) ([]byte, error) {
	head := len(kind.Format) + sha256.Size
	if len(file) < head {
		return nil, errCorrupt
	}
	data := slices.Clip(file[head:])
	if !bytes.Equal(kind.seal(key, data), file[:head]) {
		return nil, errCorrupt
	}
	return data, nil
}

func (c *Cache) load(key Key) (Filter, error) {
	data, err := c.Get(filters(), key)
	if err != nil {
		return nil, err
	}
	return Filter(data), Filter(data).Trusted()
}

// Trusted says whether bytes from a cache can be a filter of ours.
func (f Filter) Trusted() error {
	if err := f.Check(); err != nil {
		return err
	}
	return f.plausible()
}

// plausible asks what holds for every filter of ours: a call of an architecture
// that does not exist kills.
func (f Filter) plausible() error {
	if f.run(&Data{Arch: 0xdeadbeef}) != ActionKillProcess {
		return errCorrupt
	}
	return nil
}

// Put stores data under a key. It writes beside and renames, so that no reader
// sees half a file.
func (c *Cache) Put(kind CacheKind, key Key, data []byte) error {
	if len(data) > kind.Most {
		return errTooLong
	}
	name := kind.file(key)
	temp := name + "." + randomSuffix()
	file, err := c.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(kind.seal(key, data), data...))
	if e := file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = c.root.Rename(temp, name)
	}
	if err != nil {
		_ = c.root.Remove(temp)
	}
	return err
}

var errTooLong = errors.New("longer than what is kept")

func randomSuffix() string {
	var b [8]byte
	_, _ = unix.Getrandom(b[:], 0) // eight bytes always come; O_EXCL guards the rest
	return hex.EncodeToString(b[:])
}
