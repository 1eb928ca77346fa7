package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"hutch/rootfs"
	"hutch/runner"
	"hutch/runner/native"
)

// What a box writes: --keep holds on to it, --diff saves it as a layer.

// parseDiff tries the file, so that one that cannot be written is an error
// before the start. It is made when the run is over: a hutch that is killed
// leaves none.
func (q *request) parseDiff() error {
	if q.diff == "" || q.dryRun != "" {
		return nil
	}
	for _, odd := range [...]string{".zst", ".xz", ".bz2"} {
		if strings.HasSuffix(q.diff, odd) {
			return misuse("name it .tar or .tar.gz, and compress it afterwards", "option --diff: %s: hutch writes no %s", q.diff, odd)
		}
	}
	if info, err := os.Stat(q.diff); err == nil && !info.Mode().IsRegular() {
		return misuse("name a new file, or a regular one", "diff file %s: is not a regular file", q.diff)
	}
	f, err := createBeside(q.diff)
	if err != nil {
		return misuse("name a file in a directory that exists and that you can write", "diff file %s: %s", q.diff, bare(err))
	}
	f.Close()
	return os.Remove(f.Name())
}

// takeUpper takes the place of the writes, before the run.
func (q *request) takeUpper(root *rootfs.Root, spec *runner.Spec) error {
	spec.Root.Diff = q.diff != ""
	if q.keep == "" {
		return spec.Validate()
	}
	spec.Root.Keep = "/keep" // what is asked for is checked before anything is made
	if err := spec.Validate(); err != nil {
		return err
	}
	if q.dryRun != "" {
		path, err := rootfs.KeepPath("", q.keep)
		spec.Root.Keep = path
		return upperError(err)
	}
	opt := rootfs.KeepOptions{Lowers: root.Lowers, Source: q.ref.String()}
	if root.Kind == rootfs.KindImage {
		opt.Image = root.Digest
	}
	if q.disk {
		opt.Disk = spec.Root.Disk
	}
	if q.inodes {
		opt.Inodes = spec.Root.Inodes
	}
	kept, err := rootfs.OpenKeep(q.keep, opt)
	if err != nil {
		return upperError(err)
	}
	q.kept, spec.Root.Keep = kept, kept.Path
	q.engine.Hold(kept.Lock())
	if err := q.sweepKept(spec); err != nil {
		return err
	}
	if q.choice.name != "native" {
		return q.showKept(spec)
	}
	return nil
}

func (q *request) release() {
	if q.choice.kept != "" {
		q.kept.DropImage()
	}
	q.kept.Close()
}

// upperError makes a hint of what stands behind a semicolon.
func upperError(err error) error {
	if err == nil {
		return nil
	}
	e := &runner.Error{Stage: runner.StagePrepare, Err: err, Hint: "hutch keep ls lists what is kept"}
	text := err.Error()
	if i := strings.LastIndex(text, "; "); i > 0 {
		e.Err, e.Hint = reworded{text[:i], err}, text[i+2:]
	}
	return e
}

// writeDiff saves what a box has written. The box is gone: nothing changes
// any more, and nothing it left is followed.
func (q *request) writeDiff(ctx context.Context, spec *runner.Spec, p runner.Process) error {
	if q.diff == "" {
		return nil
	}
	err := interruptedOr(ctx, saveWritten(ctx, spec, p, q.diff))
	if err == nil {
		return nil
	}
	return &runner.Error{Stage: runner.StageRun, Step: "diff file " + q.diff, Err: err, Hint: "the run itself is over, and its result is what --result says"}
}

// saveWritten saves what a box has written: a guest sends it as a layer.
func saveWritten(ctx context.Context, spec *runner.Spec, p runner.Process, name string) error {
	if _, ok := p.(interface{ Layer() (*os.File, error) }); ok && spec.Root.Keep == "" {
		layer, err := layerOf(p)
		if err != nil {
			return err
		}
		defer layer.Close()
		return saveLayer(name, func(to *os.File, zip bool) error { return copyLayer(to, ctxFile{ctx, layer}, zip) })
	}
	upper, err := upperOf(spec, p)
	if err != nil {
		return err
	}
	defer upper.Close()
	return saveLayer(name, func(to *os.File, zip bool) error { return packUpper(ctx, spec, upper, to, zip) })
}

func copyLayer(to *os.File, layer io.Reader, zip bool) error {
	if !zip {
		_, err := io.Copy(to, layer)
		return err
	}
	z, err := gzip.NewWriterLevel(to, gzip.BestSpeed)
	if err == nil {
		_, err = io.Copy(z, layer)
	}
	if err != nil {
		return err
	}
	return z.Close()
}

// upperOf opens what was written, of a box that is gone.
func upperOf(spec *runner.Spec, p runner.Process) (*os.File, error) {
	if spec.Root.Keep != "" {
		return keptUpper(spec.Root.Keep)
	}
	if h, ok := p.(interface{ Upper() *os.File }); ok {
		if upper := h.Upper(); upper != nil {
			return upper, nil
		}
	}
	return nil, errors.New("what was written is gone with the box")
}

// keptUpper opens the directory of kept writes.
func keptUpper(path string) (*os.File, error) {
	if strings.HasSuffix(path, ".img") {
		return native.MountImage(path, "upper")
	}
	fd, err := unix.Open(path+"/upper", unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s/upper: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// saveLayer has a layer written to a file, which appears whole or not at all.
func saveLayer(name string, write func(to *os.File, zip bool) error) error {
	f, err := createBeside(name)
	if err != nil {
		return bare(err)
	}
	defer f.Close()
	zip := strings.HasSuffix(name, ".gz") || strings.HasSuffix(name, ".tgz")
	err = write(f, zip)
	if err == nil {
		err = f.Chmod(0o666 &^ os.FileMode(umask()))
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// packUpper has what belongs to a box's ids read by a helper that has them;
// what root keeps on disk has its owners as they are inside.
func packUpper(ctx context.Context, spec *runner.Spec, upper, to *os.File, zip bool) error {
	if spec.Root.Keep != "" && os.Geteuid() == 0 {
		return pack(ctx, to, upper, zip)
	}
	args := []string{"helper", "pack"}
	if zip {
		args = append(args, "gz")
	}
	return helper(ctx, spec, args, upper, to)
}

func umask() int {
	old := unix.Umask(0o077)
	unix.Umask(old)
	return old
}

// helper runs a verb of helperCommand with the ids of a box; what it says on
// standard error is its error.
func helper(ctx context.Context, spec *runner.Spec, args []string, in, out *os.File) error {
	_, err := helperSays(ctx, spec, args, in, out)
	return err
}

// helperSays is helper, and what that says when all went well.
func helperSays(ctx context.Context, spec *runner.Spec, args []string, in, out *os.File) (string, error) {
	// A file, not a pipe: it may say nothing, or much, and nobody waits.
	said, err := os.CreateTemp("", "hutch-helper-")
	if err != nil {
		return "", bare(err)
	}
	os.Remove(said.Name())
	defer said.Close()
	err = native.Helper(ctx, spec, args, runner.Stdio{In: in, Out: out, Err: said})
	var words [4096]byte
	n, _ := said.ReadAt(words[:], 0)
	text := strings.TrimPrefix(strings.TrimSpace(string(words[:n])), "hutch: ")
	if err != nil && text != "" {
		return "", errors.New(text)
	}
	return text, err
}

// helperCommand is what hutch does with the ids of a box, in a process of its
// own. Standard input is a directory.
func helperCommand() *cli.Command {
	return &cli.Command{
		Name: "helper", Hidden: true, OnUsageError: usageError,
		Usage: "work on what a box has written, with its ids",
		Action: func(c *cli.Context) error {
			dir := os.Stdin
			if info, err := dir.Stat(); err != nil || !info.IsDir() {
				return misuse("it is for hutch itself", "standard input is not a directory")
			}
			ctx, stop := notifyContext(syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if strings.HasPrefix(c.Args().First(), "copy-") {
				return helpCopy(ctx, c.Args().Slice())
			}
			if work, ok := strings.CutPrefix(c.Args().First(), "keep-"); ok {
				return helpKeep(ctx, work, c.Args().Get(1), dir)
			}
			switch strings.Join(c.Args().Slice(), " ") {
			case "pack", "pack gz":
				err := pack(ctx, os.Stdout, dir, c.NArg() > 1)
				if ctx.Err() != nil { // Ctrl-C reaches the helper as it does hutch
					err = errors.New("interrupted; nothing of it is left")
				}
				return err
			case "remove":
				return rootfs.RemoveKept(dir)
			}
			return misuse("it is for hutch itself", "no such help")
		},
	}
}

func pack(ctx context.Context, w io.Writer, upper *os.File, zip bool) error {
	if !zip {
		_, err := rootfs.Pack(ctx, w, int(upper.Fd()), rootfs.PackLimits{})
		return err
	}
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if _, err := rootfs.Pack(ctx, z, int(upper.Fd()), rootfs.PackLimits{}); err != nil {
		return err
	}
	return z.Close()
}

// keepCommand is about what runs with --keep have left.
func keepCommand() *cli.Command {
	return &cli.Command{
		Name: "keep", Usage: "list or remove what hutch run --keep has kept",
		OnUsageError: usageError,
		Subcommands: []*cli.Command{
			{Name: "ls", Usage: "list what is kept: name, size on disk, cap, last use, root", OnUsageError: usageError, Action: keepList},
			{Name: "rm", Usage: "remove what is kept under each NAME", ArgsUsage: "NAME...", OnUsageError: usageError, Action: keepRemove},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misuse("it is one of: ls, rm", "hutch keep: no such verb: %q", c.Args().First())
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

func keepList(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	list, err := rootfs.Keeps("")
	if err != nil {
		return upperError(err)
	}
	var b bytes.Buffer
	for _, k := range list {
		limit, note := "-", ""
		if k.Disk > 0 {
			limit = fmt.Sprintf("%dM", k.Disk>>20)
		}
		if k.Busy {
			note = "  (in use)"
		}
		fmt.Fprintf(&b, "%-20s %6dM %7s  %s  %s%s\n", k.Name, k.Bytes>>20, limit, k.Used.Local().Format("2006-01-02 15:04"), printable(k.Source), note)
	}
	_, err = os.Stdout.Write(b.Bytes())
	return err
}

func keepRemove(c *cli.Context) error {
	if !c.Args().Present() {
		return misuse("hutch keep ls lists them", "no NAME was given")
	}
	var failed error
	for _, name := range c.Args().Slice() {
		if err := removeKept(name); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// removeKept removes what is there; what belongs to subordinate ids of an
// ordinary user, a helper removes that has them.
func removeKept(name string) error {
	k, err := rootfs.FindKeep("", name)
	if err != nil {
		return upperError(err)
	}
	defer k.Close()
	if os.Geteuid() != 0 {
		dir, err := k.Dir()
		if err != nil {
			return upperError(err)
		}
		defer dir.Close()
		if err := helper(context.Background(), &runner.Spec{IDMap: runner.IDMapAuto}, []string{"helper", "remove"}, dir, os.Stderr); err != nil {
			return &runner.Error{Stage: runner.StagePrepare, Step: "remove what is kept under " + name, Err: err}
		}
	}
	return upperError(k.Remove())
}
