package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/profiles"
	"hutch/rootfs"
	"hutch/runner"
	"hutch/runner/guest"
	"hutch/runner/native"
	"hutch/runner/transfer"
)

// --copy-in and --copy-out. Who may read a side packs it and who may write the
// other places it: hutch has the host's, a helper with the ids of the box, and
// with no other right, has the box's.

// copyLimit is the most that is copied in, and out, where nothing else is said.
const copyLimit = 1 << 30

// copies is what a command line wants copied.
type copies struct {
	in, out []string // SRC:DST
	limit   int64
	// Open from the command line on: what the run does to names changes nothing.
	sources []int
	targets []transfer.Target
}

func (c *copies) settings() []setting {
	list := func(to *[]string) func(*runner.Override, string) error {
		return func(_ *runner.Override, v string) error {
			*to = append(*to, v)
			return nil
		}
	}
	return []setting{
		{name: "copy-in", list: true, usage: "copy the host's `SRC:DST` into the root before the start, for the application's user", set: list(&c.in)},
		{name: "copy-out", list: true, usage: "copy `SRC:DST` out of the root when the run is over, however it ended", set: list(&c.out)},
		{name: "copy-limit", usage: "cap what is copied in, and what is copied out, at `SIZE` (default: 1G)", set: func(_ *runner.Override, v string) error {
			n, err := profiles.ParseSize(v)
			if err == nil && n <= 0 {
				err = fmt.Errorf("size %q: expected more than nothing", v)
			}
			c.limit = int64(n)
			return err
		}},
	}
}

// parse opens the host's side of every copy.
func (c *copies) parse() error {
	if c.limit == 0 {
		c.limit = copyLimit
	}
	for _, v := range c.in {
		if err := c.openSource(v); err != nil {
			return err
		}
	}
	for _, v := range c.out {
		if err := c.openTarget(v); err != nil {
			return err
		}
	}
	return nil
}

// The path of the host may hold colons.
func cutIn(v string) runner.Copy {
	i := strings.LastIndex(v, ":")
	if i < 0 {
		return runner.Copy{Source: v}
	}
	return runner.Copy{Source: v[:i], Target: v[i+1:]}
}

func cutOut(v string) runner.Copy {
	src, dst, _ := strings.Cut(v, ":")
	return runner.Copy{Source: src, Target: dst}
}

func inside(option, v, path, other string) error {
	if other == "" || path == "" {
		return misuse("write SRC:DST", "option --%s: %q", option, v)
	}
	if path[0] != '/' {
		return misuse("write an absolute path inside the root, as in /work", "option --%s: %q is not absolute", option, path)
	}
	return nil
}

func (c *copies) openSource(v string) error {
	cp := cutIn(v)
	if err := inside("copy-in", v, cp.Target, cp.Source); err != nil {
		return err
	}
	fail := func(err error) error {
		return misuse("name a file or a directory that you can read", "copy in %s: %s", cp.Source, err)
	}
	fd, err := unix.Open(cp.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	c.sources = append(c.sources, fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fail(err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR:
	default:
		return fail(errors.New("is neither a file nor a directory"))
	}
	if err := unix.Faccessat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), unix.R_OK, unix.AT_EACCESS); err != nil {
		return fail(err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size > c.limit {
		return misuse("raise --copy-limit", "copy in %s: has %d bytes, more than the copy limit of %d", cp.Source, st.Size, c.limit)
	}
	return nil
}

func (c *copies) openTarget(v string) error {
	cp := cutOut(v)
	if err := inside("copy-out", v, cp.Source, cp.Target); err != nil {
		return err
	}
	fail := func(err error) error {
		return misuse("name a new file or directory where you can write, a file to replace, or a directory to copy into", "copy out to %s: %s", cp.Target, err)
	}
	t, err := transfer.OpenTarget(cp.Target, cp.Source)
	if err != nil {
		return fail(err)
	}
	for _, o := range c.targets {
		if o.Name == t.Name && sameDir(o.Dir, t.Dir) {
			return fail(errors.New("another copy goes there too"))
		}
	}
	c.targets = append(c.targets, t)
	return nil
}

func sameDir(a, b int) bool {
	var x, y unix.Stat_t
	return unix.Fstat(a, &x) == nil && unix.Fstat(b, &y) == nil && x.Dev == y.Dev && x.Ino == y.Ino
}

// ask puts the copies into the Spec, and into the engine what carries them out.
func (c *copies) ask(choice *engineChoice, e *native.Engine, s *runner.Spec) error {
	if len(c.in)+len(c.out) == 0 {
		return nil
	}
	for _, v := range c.in {
		s.CopyIn = append(s.CopyIn, cutIn(v))
	}
	for _, v := range c.out {
		s.CopyOut = append(s.CopyOut, cutOut(v))
	}
	if choice.name == "native" {
		e.Fill(func(root *os.File, owner native.Owner) error { return c.carryIn(s, root, owner) })
	} else {
		choice.copy = guest.Copy{Sources: c.packers(), Limit: c.limit}
	}
	return s.Validate()
}

// packers pack what is copied into a guest, one after the other.
func (c *copies) packers() []guest.Source {
	left := c.limit
	list := make([]guest.Source, len(c.sources))
	for i, source := range c.sources {
		list[i] = func(w io.Writer) error {
			n, err := transfer.Pack(w, source, transfer.PackOptions{Bytes: left, Links: true, Owner: -1})
			left -= n
			return err
		}
	}
	return list
}

// carryIn copies everything in, before the application starts.
func (c *copies) carryIn(s *runner.Spec, root *os.File, owner native.Owner) error {
	manyThreads()
	left := c.limit
	for i, cp := range s.CopyIn {
		n, err := inOne(s, root, c.sources[i], cp, left, owner)
		if err != nil {
			return guest.CopyError(runner.StageStart, "copy in", cp, err)
		}
		left -= n
	}
	return nil
}

// inOne packs here, and has it placed in the box. It gives the bytes written.
func inOne(s *runner.Spec, root *os.File, source int, cp runner.Copy, limit int64, owner native.Owner) (int64, error) {
	args := []string{"helper", "copy-in", cp.Target, cp.Source, number64(limit), "-", "-"}
	if !owner.One {
		args[5], args[6] = number64(int64(owner.UID)), number64(int64(owner.GID))
	}
	for _, m := range s.Mounts {
		if m.Type == runner.MountTmpfs {
			args = append(args, m.Target)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	type done struct {
		n   int64
		err error
	}
	packed := make(chan done, 1)
	go func() {
		n, err := transfer.Pack(w, source, transfer.PackOptions{Bytes: limit, Links: true, Owner: -1})
		w.Close()
		packed <- done{n, err}
	}()
	// The helper reads what is its standard output: its input is the root.
	err = helper(context.Background(), s, args, root, r)
	r.Close()
	p := <-packed
	// A packer whose reader has gone has nothing to say about why.
	if p.err != nil && !errors.Is(p.err, unix.EPIPE) {
		return 0, p.err
	}
	return p.n, err
}

func number64(n int64) string { return strconv.FormatInt(n, 10) }

// carryOut copies everything out of a box that is gone. One that fails keeps
// none of the others back. What it cannot do is the run's failure only where
// the application has none of its own: its status is not to be lost.
func (c *copies) carryOut(ctx context.Context, s *runner.Spec, p runner.Process, result *runner.Result) error {
	if len(s.CopyOut) == 0 {
		return nil
	}
	manyThreads()
	records := copyRecords()
	records.Sweep() // what resists is for hutch gc to name
	var failed []error
	tree, owner := boxTree(p)
	if out := guestCopies(p); out != nil {
		stop := context.AfterFunc(ctx, out.Interrupt)
		failed = c.carryAll(s, records, func(i int, o transfer.PlaceOptions) (int64, error) {
			return outOfGuest(out, c.targets[i], o)
		})
		stop()
		out.Close()
	} else if tree == nil {
		failed = append(failed, &runner.Error{Stage: runner.StageRun, Step: "copy out: the box's files are gone with it"})
	} else {
		defer tree.Close()
		failed = c.carryAll(s, records, func(i int, o transfer.PlaceOptions) (int64, error) {
			return outOne(ctx, s, tree, s.CopyOut[i], c.targets[i], o, owner)
		})
	}
	if len(failed) == 0 {
		return nil
	}
	for _, err := range failed[1:] {
		printError(err)
	}
	if result.ExitStatus() == 0 {
		return failed[0]
	}
	printError(failed[0])
	if result.Message == "" {
		result.Message = failed[0].Error()
	} else {
		result.Message += "; " + failed[0].Error()
	}
	return nil
}

// copyRecords says where copies are recorded whose making must not be cut off
// unseen; nowhere for a user without a home.
func copyRecords() *transfer.Records {
	store, err := rootfs.DefaultStore()
	if err != nil {
		return &transfer.Records{}
	}
	return &transfer.Records{Dir: filepath.Join(store, "copies")}
}

func boxTree(p runner.Process) (*os.File, native.Owner) {
	b, ok := p.(interface {
		Tree() *os.File
		Owner() native.Owner
	})
	if !ok {
		return nil, native.Owner{}
	}
	return b.Tree(), b.Owner()
}

// guestCopies are those of a guest, nil where there is none any more.
func guestCopies(p runner.Process) *guest.Copies {
	if g, ok := p.(*guest.Session); ok {
		return g.Copies()
	}
	return nil
}

// outOfGuest places what a guest sends, which may be anything.
func outOfGuest(from *guest.Copies, to transfer.Target, o transfer.PlaceOptions) (n int64, err error) {
	err = from.Next(o.Bytes, func(r io.Reader) error {
		n, err = transfer.Place(r, to.Dir, to.Name, o)
		return err
	})
	return n, err
}

// carryAll makes every copy by one. The bytes of all are limited together.
func (c *copies) carryAll(s *runner.Spec, records *transfer.Records, one func(int, transfer.PlaceOptions) (int64, error)) (failed []error) {
	left := c.limit
	for i, cp := range s.CopyOut {
		n, err := one(i, transfer.PlaceOptions{Bytes: left, Records: records, Umask: os.FileMode(umask())})
		if err != nil {
			failed = append(failed, guest.CopyError(runner.StageRun, "copy out", cp, err))
		}
		left -= n
	}
	return failed
}

// outOne has a helper pack, and places here. It gives the bytes written.
func outOne(ctx context.Context, s *runner.Spec, tree *os.File, cp runner.Copy, to transfer.Target, o transfer.PlaceOptions, owner native.Owner) (int64, error) {
	uid := int64(owner.UID)
	if owner.One {
		uid = 0
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	type placed struct {
		n   int64
		err error
	}
	done := make(chan placed, 1)
	go func() {
		n, err := transfer.Place(r, to.Dir, to.Name, o)
		r.Close()
		done <- placed{n, err}
	}()
	err = helper(ctx, s, []string{"helper", "copy-out", cp.Source, number64(o.Bytes), number64(uid)}, tree, w)
	w.Close()
	p := <-done
	switch {
	case p.err == nil:
		return p.n, nil
	case err != nil && errors.Is(p.err, transfer.ErrCutOff):
		return 0, interruptedOr(ctx, err)
	}
	return 0, p.err
}

// helpCopy is the helper's side: standard input is the root of the box, the
// stream is on standard output.
func helpCopy(ctx context.Context, args []string) error {
	// Ctrl-C reaches the helper as it does hutch: without a stream either end
	// gives up, and removes what it has made.
	defer context.AfterFunc(ctx, func() { os.Stdout.Close() })()
	err := helpCopyOne(args)
	if ctx.Err() != nil {
		return errors.New("interrupted; nothing of it is left")
	}
	return err
}

func helpCopyOne(args []string) error {
	root := int(os.Stdin.Fd())
	switch {
	case args[0] == "copy-out" && len(args) == 4:
		return helpCopyOut(root, args[1], args[2], args[3])
	case args[0] == "copy-in" && len(args) >= 6:
		return helpCopyIn(root, args[1:])
	}
	return misuse("it is for hutch itself", "no such help")
}

func helpCopyOut(root int, source, limit, owner string) error {
	bytes, err := strconv.ParseInt(limit, 10, 64)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(owner)
	if err != nil {
		return err
	}
	_, err = transfer.Out(os.Stdout, root, source, transfer.PackOptions{Bytes: bytes, Owner: uid})
	return err
}

func helpCopyIn(root int, args []string) error {
	target, source, owned := args[0], args[1], args[3] != "-"
	limit, err := strconv.ParseInt(args[2], 10, 64)
	o := transfer.PlaceOptions{Bytes: limit, Links: true, Chown: owned}
	if err == nil && owned {
		if o.UID, err = strconv.Atoi(args[3]); err == nil {
			o.GID, err = strconv.Atoi(args[4])
		}
	}
	if err != nil {
		return err
	}
	_, err = transfer.In(os.Stdout, root, target, source, args[5:], o)
	return err
}
