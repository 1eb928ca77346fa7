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
const cacheFormat = "hutch filter 1\n"

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
	cache, err := openCache(dir)
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
	_ = cache.store(key, f) // a full disk costs time, not the run
	return f, nil
}

// A cache is a directory that has been found trustworthy. Files are reached
// through its descriptor, so that nobody can put another in its place.
type cache struct{ *os.Root }

var errUntrusted = errors.New("others can write to it")

func openCache(dir string) (*cache, error) {
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
	return &cache{root}, nil
}

// trusted says whether nobody but the caller can have written.
func trusted(info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return errUntrusted
	}
	return nil
}

func (k Key) file() string { return hex.EncodeToString(k[:]) + ".bpf" }

// seal is what stands before the filter in a file: a sum over key and filter,
// so that a file under a wrong name is as bad as a damaged one.
func (k Key) seal(f Filter) []byte {
	h := sha256.New()
	h.Write([]byte(cacheFormat))
	h.Write(k[:])
	h.Write(f)
	return h.Sum([]byte(cacheFormat))
}

var errCorrupt = errors.New("not a filter that was stored under this key")

func (c *cache) load(key Key) (Filter, error) {
	// Without O_NONBLOCK a FIFO under this name would hold the run up.
	file, err := c.OpenFile(key.file(), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
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
	const most = len(cacheFormat) + sha256.Size + maxInstructions*instructionSize
	data, err := io.ReadAll(io.LimitReader(file, int64(most)+1))
	if err != nil {
		return nil, err
	}
	return unseal(key, data)
}

// unseal returns the filter in a file's bytes.
func unseal(key Key, data []byte) (Filter, error) {
	const head = len(cacheFormat) + sha256.Size
	if len(data) < head {
		return nil, errCorrupt
	}
	f := Filter(slices.Clip(data[head:]))
	if !bytes.Equal(key.seal(f), data[:head]) {
		return nil, errCorrupt
	}
	if err := f.Check(); err != nil {
		return nil, err
	}
	return f, f.plausible()
}

// plausible asks what holds for every filter of ours: a call of an architecture
// that does not exist kills.
func (f Filter) plausible() error {
	if f.run(&Data{Arch: 0xdeadbeef}) != ActionKillProcess {
		return errCorrupt
	}
	return nil
}

// store writes beside and renames, so that no reader sees half a file.
func (c *cache) store(key Key, f Filter) error {
	temp := key.file() + "." + randomSuffix()
	file, err := c.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(key.seal(f), f...))
	if e := file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = c.Rename(temp, key.file())
	}
	if err != nil {
		_ = c.Remove(temp)
	}
	return err
}

func randomSuffix() string {
	var b [8]byte
	_, _ = unix.Getrandom(b[:], 0) // eight bytes always come; O_EXCL guards the rest
	return hex.EncodeToString(b[:])
}
