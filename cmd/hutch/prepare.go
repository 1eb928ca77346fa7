package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"hutch/profiles"
	"hutch/rootfs"
	"hutch/runner"
	"hutch/seccomp"
)

// prepare makes the root ready. Where that may take long, a signal stops it
// and is returned, and nothing half-made is left.
func (q *request) prepare() (*rootfs.Root, os.Signal, error) {
	var err error
	if q.ref, err = rootfs.Parse(q.root); err != nil {
		return nil, nil, rootError(q.root, err)
	}
	opt := rootfs.Options{Stdin: os.Stdin, Puller: puller, OnThread: ordinaryThread, Platform: rootfs.Platform(q.platform), PlainHTTP: q.plain, Format: rootfs.Format(q.format)}
	if root := rootfs.Stored(q.ref, opt); root != nil {
		return root, nil, nil
	}
	ctx, c := context.Background(), make(chan os.Signal, 1)
	if q.ref.Kind != rootfs.KindDir && q.ref.Kind != rootfs.KindHost {
		if err := q.foretell(); err != nil {
			return nil, nil, err
		}
		manyThreads()
		var cancel func()
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
		defer signal.Stop(c)
		got := c
		c = make(chan os.Signal, 1)
		go func() {
			select {
			case sig := <-got:
				c <- sig
				cancel()
			case <-ctx.Done():
			}
		}()
		if !q.quiet {
			opt.Progress = progress()
		}
	}
	root, err := rootfs.Prepare(ctx, q.ref, opt)
	select {
	case sig := <-c:
		if root != nil {
			root.Close()
		}
		return nil, sig, nil
	default:
	}
	if err != nil {
		return nil, nil, rootError(q.root, err)
	}
	return root, nil, nil
}

// rootError makes a hint of the advice that package rootfs puts behind a
// semicolon, after the name of the root.
func rootError(name string, err error) error {
	var ours *runner.Error
	if errors.As(err, &ours) {
		return err
	}
	e := &runner.Error{
		Stage: runner.StagePrepare, Err: err,
		Hint: "ROOT is host, a directory that you can read, a tar of a root file system, or an image",
	}
	text := err.Error()
	if strings.HasPrefix(text, "store ") {
		e.Hint = "the store is /var/lib/hutch for root, and $XDG_DATA_HOME/hutch or ~/.local/share/hutch for others: it must be a place that can be written"
	}
	if i := strings.LastIndex(text, "; "); i > len("root "+name) {
		e.Err, e.Hint = reworded{text[:i], err}, text[i+2:]
	}
	return e
}

// A reworded error is err in other words.
type reworded struct {
	text string
	err  error
}

func (r reworded) Error() string { return r.text }
func (r reworded) Unwrap() error { return r.err }

// foretell says what is wrong with the box before what may take minutes: a
// profile, and limits that cannot be had here.
func (q *request) foretell() error {
	p, _, err := q.loadProfile()
	if err != nil {
		return err
	}
	spec, err := runner.Resolve(p, &rootfs.Root{}, q.override)
	if err != nil || q.choice.name != "native" || q.dryRun != "" {
		return err
	}
	return q.engine.Limitable(spec)
}

// loadProfile returns the profile, and its filter unless another stands for it.
func (q *request) loadProfile() (*profiles.Profile, seccomp.Filter, error) {
	if q.loaded != nil {
		return q.loaded, q.filter, nil
	}
	if q.seccomp != "" {
		p, err := profiles.Load(q.profile)
		if err != nil {
			return nil, nil, profileError(err)
		}
		q.loaded = p
		return p, nil, nil
	}
	p, filter, err := profiles.Ready(q.profile, cacheDir())
	switch {
	case err == nil:
		q.loaded, q.filter = p, filter
	case p == nil:
		err = profileError(err)
	default:
		err = &runner.Error{Stage: runner.StageResolve, Err: err}
	}
	return p, filter, err
}
