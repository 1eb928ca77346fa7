package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func unpackZstd(b *bench, runs int) (samples, error) { return b.unpack(runs, b.cache, zstd()) }

func unpackGzip(b *bench, runs int) (samples, error) { return b.unpack(runs, b.cache, gzip()) }

func unpackZstdMemory(b *bench, runs int) (samples, error) { return b.unpack(runs, memoryDir, zstd()) }

func unpackGzipMemory(b *bench, runs int) (samples, error) { return b.unpack(runs, memoryDir, gzip()) }

// memoryDir is a tmpfs that everybody may write to (shm_overview(7)).
const memoryDir = "/dev/shm"

// A compressor is a command that writes its last argument, compressed, to standard output.
type compressor struct {
	suffix string
	argv   []string
}

func zstd() compressor { return compressor{".zst", []string{"zstd", "-q", "-T0", "-c"}} }
func gzip() compressor { return compressor{".gz", []string{"gzip", "-n", "-c"}} }

// unpack compares `hutch unpack FILE DIR` with GNU tar, each into a new directory
// below dir, the compressed file in the page cache.
func (b *bench) unpack(runs int, dir string, by compressor) (samples, error) {
	tar, name, err := peer("tar", "tar", "--version")
	if err != nil {
		return samples{}, err
	}
	file, err := b.minbase(by)
	if err != nil {
		return samples{}, err
	}
	into, err := os.MkdirTemp(dir, "hutch-bench-unpack-")
	if err != nil {
		return samples{}, err
	}
	defer os.RemoveAll(into)
	to := filepath.Join(into, "tree")
	empty := func() error { return os.Mkdir(to, 0o755) }
	// What one unpacked must not be written to disk while the other runs.
	remove := func() error { return errors.Join(removeAll(to), syncfs(into)) }
	ours := command{name: "hutch unpack", argv: []string{b.hutch, "unpack", file, to}, before: empty, after: remove}
	theirs := command{name: "tar -x", argv: []string{tar, "-x", "-f", file, "-C", to}, before: empty, after: remove}
	s, err := b.pairs(runs, b.wall, ours, theirs)
	s.peerName = name
	return s, err
}

// minbase is Debian's smallest root filesystem as a compressed tar, made once.
func (b *bench) minbase(by compressor) (string, error) {
	plain := filepath.Join(b.cache, "minbase.tar")
	if _, err := os.Stat(plain); errors.Is(err, fs.ErrNotExist) {
		if _, err := exec.LookPath("mmdebstrap"); err != nil {
			return "", missingPeer{"mmdebstrap", "apt-get install mmdebstrap"}
		}
		fmt.Fprintln(os.Stderr, "making Debian minbase once …")
		if err := makeFile(plain, "mmdebstrap", "--quiet", "--variant=minbase", "--format=tar", "bookworm"); err != nil {
			return "", err
		}
	}
	packed := plain + by.suffix
	if _, err := os.Stat(packed); errors.Is(err, fs.ErrNotExist) {
		if err := makeFile(packed, by.argv[0], append(by.argv[1:], plain)...); err != nil {
			return "", err
		}
	}
	return packed, nil
}

// makeFile writes what a program prints, and leaves no half of a file.
func makeFile(name, program string, args ...string) error {
	half, err := os.Create(name + ".half")
	if err != nil {
		return err
	}
	defer half.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout = half
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", program, err), os.Remove(half.Name()))
	}
	return os.Rename(half.Name(), name)
}

// removeAll removes a tree whose directories may be without write permission.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return err
	})
	return os.RemoveAll(dir)
}

// syncfs waits until the file system of dir is written (sync(2)).
func syncfs(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: dir, Err: err}
	}
	return nil
}
