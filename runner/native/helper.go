package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"hutch/runner"
	"hutch/runner/plan"
)

// Helper runs this binary with args as root of a user namespace that has the
// ids which the box of s has: as root, for files that lie in memory of the
// box's; as another user, for files that belong to subordinate ids. It returns
// when the helper has ended.
//
// A box that is gone has no namespace to enter, and a new one with the same
// map has the same rights over files.
//
// When ctx ends, so does the helper, and ctx's error is returned.
func Helper(ctx context.Context, s *runner.Spec, args []string, stdio runner.Stdio) error {
	m, err := mapIDs(s)
	if err != nil {
		return err
	}
	// A box of single.uid 1000 inside has no id 0 to become; the helper is
	// root in any case.
	if !m.privileged && len(m.uid) == 1 {
		m.uid[0].Inside, m.gid[0].Inside = 0, 0
	}
	facts := &plan.Facts{Privileged: m.privileged, UIDs: m.uid, GIDs: m.gid}
	b := &box{
		spec: &runner.Spec{Command: []string{"hutch"}}, plan: plan.Helper(*facts, args, []string{"HUTCH=helper"}),
		ids: m, facts: facts, pidfd: -1, status: -1, upper: -1, image: -1, copies: -1, tree: -1, kept: -1,
	}
	if err := b.start(New(), stdio); err != nil {
		b.cleanup()
		var e *runner.Error
		if errors.As(err, &e) && errors.Is(e.Err, syscall.EACCES) {
			e.Hint = "make hutch's binary executable for everybody (chmod 755)"
		}
		return err
	}
	unwatch := context.AfterFunc(ctx, func() { _ = b.Kill() })
	r, err := b.Wait()
	unwatch()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case r.ExitCode != nil && *r.ExitCode == 0:
		return nil
	case r.ExitCode != nil:
		return fmt.Errorf("the helper ended with status %d", *r.ExitCode)
	}
	return fmt.Errorf("the helper was ended by signal %s", r.Signal)
}

// MountImage mounts the file system in a file that keeps the writes of boxes
// and opens a directory of it, owners as they are; only root may. The mount is
// gone when the file is closed.
func MountImage(path, dir string) (*os.File, error) {
	tree, err := mountImage(path)
	if err != nil {
		return nil, fmt.Errorf("mount the file system in %s: %w", path, err)
	}
	root := os.NewFile(uintptr(tree), path)
	defer root.Close()
	return openBelow(root, dir)
}
