// Package rootfs turns a ROOT reference into something that a box can run on:
// the directories to stack as overlay layers, and the image's configuration.
//
// A tar is unpacked once into a content-addressed store and found there again
// by the file's identity, so that the second run starts at once. Whoever made
// the archive is an attacker: everything is created through Unpack's one
// confined creator, and read back through View, which never leaves the layers.
package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A Config is the part of an image's configuration that a run honours.
// The words are those of the OCI image specification.
type Config struct {
	Entrypoint []string
	Cmd        []string
	// Env holds KEY=value.
	Env []string
	// User is "name", "uid", "name:group" or "uid:gid"; see LookupUser.
	User       string
	WorkDir    string
	StopSignal string
}

// A Root is ready to run on. Close it when the box is gone.
type Root struct {
	Kind Kind
	// Lowers are absolute host directories, the topmost layer first. One that
	// ends in LayerImage and is a file is an EROFS image; see TakeLayer.
	Lowers []string
	// Config is nil for everything but an image.
	Config *Config
	// Digest is "sha256:…" of the archive, empty for host and dir.
	Digest string
	// Stats says what was left out when the tree was unpacked; it is zero
	// when the tree was already in the store.
	Stats Stats

	arch    string   // an image's, if it says so
	entries []string // of layers, that it stacks
	lock    int      // descriptor that holds the shared lock on the store entry, -1 without
}

// Close lets go of the store entry, so that GC may remove it. It may be called
// more than once, and on a nil Root.
func (r *Root) Close() error {
	if r == nil || r.lock < 0 {
		return nil
	}
	closeViews(r.Lowers)
	fd := r.lock
	r.lock = -1
	return unix.Close(fd)
}

// View looks at the root's files without leaving it.
func (r *Root) View() View { return View{Lowers: r.Lowers} }

// Options say how a root is prepared. The zero value is usable.
type Options struct {
	// Store is the store's directory; empty means DefaultStore.
	Store string
	// Stdin is read for the reference "-".
	Stdin io.Reader
	// Progress, if not nil, is called at most every 100 ms while a tree is
	// unpacked, and once at its end, always from one goroutine.
	Progress func(Progress)
	// Limits bound what an archive may do; zero fields mean the defaults.
	Limits UnpackLimits
	// Platform is the one of an image that is made for several.
	Platform Platform
	// Puller opens the program that fetches from registries; see package
	// registry. Without it nothing is fetched.
	Puller func() (*os.File, error)
	// OnThread, if not nil, is called on the thread that starts that program,
	// just before: what threads have, programs inherit.
	OnThread func()
	// Format is how what has to be made in the store is kept. What is there in
	// another one is made anew where it can be, else it is an error.
	Format Format
	// PlainHTTP allows a registry without TLS that is not on this machine.
	PlainHTTP bool
	// Stall and Pause are those of registry.Open.
	Stall, Pause time.Duration

	plain bool // note the digest of the tar without its compression
}

// Progress tells how far an unpacking is.
type Progress struct {
	Name    string // the reference
	Read    int64  // bytes of the archive read
	Total   int64  // its size in bytes, 0 when unknown
	Written int64  // bytes of files written
	Entries int64
	Done    bool
}

// Prepare makes ref ready to run on. For a directory that is two system calls;
// for a tar that is in the store already, six; else the tar is unpacked.
//
// When ctx ends, what was unpacked so far is removed and ctx's error returned.
func Prepare(ctx context.Context, ref Ref, opt Options) (*Root, error) {
	r, err := prepareAny(ctx, ref, opt)
	if err != nil {
		return nil, explain(err)
	}
	if err := r.runs(); err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("root %s: %w", ref, err)
	}
	return r, nil
}

func prepareAny(ctx context.Context, ref Ref, opt Options) (*Root, error) {
	if err := opt.checkFormat(ctx, ref); err != nil {
		return nil, err
	}
	switch ref.Kind {
	case KindHost:
		return &Root{Kind: KindHost, Lowers: []string{"/"}, lock: -1}, nil
	case KindDir:
		return prepareDir(ref)
	case KindTar, KindOCI, KindOCIArchive, KindDockerArchive:
		s, err := storeAt(opt.Store)
		if err != nil {
			return nil, err
		}
		if ref.Kind == KindTar {
			return s.prepareTar(ctx, ref, opt)
		}
		return s.localImage(ctx, ref, "", opt)
	case KindImage:
		return prepareImage(ctx, ref, opt)
	}
	return nil, fmt.Errorf("root %s: unknown kind %q; %s", ref, ref.Kind, forms)
}

// checkFormat tells whether the store can keep ref in the format that is asked for.
func (opt Options) checkFormat(ctx context.Context, ref Ref) error {
	switch {
	case opt.Format == "":
		return nil
	case opt.Format.Check() != nil:
		return opt.Format.Check()
	case ref.Kind == KindHost || ref.Kind == KindDir:
		return fmt.Errorf("root %s: is not kept in the store, so it has no store format; leave --store-format out", ref)
	}
	s, err := storeAt(opt.Store)
	if err != nil {
		return err
	}
	return s.can(ctx, opt.Format)
}

// runs tells whether this machine can run what was made for the root's architecture.
func (r *Root) runs() error {
	if r.arch == "" || r.arch == runtime.GOARCH || foreignRuns(r.arch) {
		return nil
	}
	return fmt.Errorf("the image is for linux/%s, and this machine is linux/%s; take an image for that, or install qemu-user-static, which runs others",
		r.arch, runtime.GOARCH)
}

// Stored gives the root of ref if nothing has to be unpacked or fetched for it,
// else nil: then Prepare says why or does it. It takes microseconds.
func Stored(ref Ref, opt Options) *Root {
	s, err := storeAt(opt.Store)
	if err != nil || opt.Platform != "" {
		return nil
	}
	var r *Root
	var st unix.Stat_t
	switch ref.Kind {
	case KindImage:
		r, err = s.byName(ref.FullName())
	case KindTar:
		if err = unix.Stat(ref.Path, &st); err == nil {
			if r, err = s.byIdentity(&st); err != nil {
				r, err = s.byImageKey(tarImageKey(&st))
			}
		}
	case KindOCI, KindOCIArchive, KindDockerArchive:
		if err = unix.Stat(ref.file(), &st); err == nil {
			r, err = s.byImageKey(imageKey(ref, &st, opt))
		}
	}
	if err != nil || r == nil {
		return nil
	}
	if r.runs() != nil || !r.in(opt.Format) {
		_ = r.Close()
		return nil
	}
	return r
}

// prepareDir is on the start-up path: open tells at once whether it is there,
// a directory, and readable.
func prepareDir(ref Ref) (*Root, error) {
	path, err := filepath.Abs(ref.Path)
	if err != nil {
		return nil, fmt.Errorf("root %s: %w", ref, err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOTDIR):
		return nil, fmt.Errorf("root %s: not a directory", ref)
	case errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("root %s: %w; the directory must be readable by the user who runs hutch", ref, err)
	case err != nil:
		return nil, fmt.Errorf("root %s: %w", ref, err)
	}
	unix.Close(fd)
	return &Root{Kind: KindDir, Lowers: []string{path}, lock: -1}, nil
}
