package rootfs

import (
	"context"
	"errors"
	"fmt"

	"hutch/rootfs/registry"
)

// Pull fetches an image from its registry, also when one of that name is in
// the store; layers that are there are not fetched again. Close the root.
func Pull(ctx context.Context, ref Ref, opt Options) (*Root, error) {
	s, err := storeAt(opt.Store)
	if err != nil {
		return nil, err
	}
	if ref.Kind != KindImage {
		return nil, fmt.Errorf("image %s: is not in a registry; hutch image import takes it from there", ref)
	}
	return s.pull(ctx, ref, opt)
}

func (s store) pull(ctx context.Context, ref Ref, opt Options) (*Root, error) {
	host, repository := ref.Host()
	if host == "" {
		return nil, fmt.Errorf("image %s: names no registry; write HOST/NAME, as in docker.io/library/%s", ref, repository)
	}
	if err := s.can(ctx, opt.Format); err != nil {
		return nil, fmt.Errorf("image %s: %w", ref, err)
	}
	if opt.Puller == nil {
		return nil, errors.New("this program cannot fetch images")
	}
	if err := s.create(); err != nil {
		return nil, err
	}
	s.sweep()
	program, err := opt.Puller()
	if err != nil {
		return nil, err
	}
	defer program.Close()
	c, err := registry.Start(ctx, program, opt.OnThread, registry.Open{
		Host: host, Repository: repository, PlainHTTP: opt.PlainHTTP, Stall: opt.Stall, Pause: opt.Pause,
	})
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", ref, err)
	}
	defer c.Close()
	f, err := registryImage(ctx, c, ref, opt.Platform)
	if err == nil {
		var r *Root
		if r, err = s.take(ctx, f, Image{Source: ref.FullName(), Fetched: true}, ref.FullName(), opt); err == nil {
			return r, nil
		}
	}
	return nil, fmt.Errorf("image %s: %w", ref, err)
}

// prepareImage finds an image in the store, or fetches it.
func prepareImage(ctx context.Context, ref Ref, opt Options) (*Root, error) {
	s, err := storeAt(opt.Store)
	if err != nil {
		return nil, err
	}
	r, err := s.byName(ref.FullName())
	if err == nil && r.in(opt.Format) {
		return r, nil
	}
	host, _ := ref.Host()
	if err == nil && host == "" {
		_ = r.Close()
		return nil, fmt.Errorf("image %s: is kept in another store format; import it again with --store-format %s, or leave that out here", ref, opt.Format)
	}
	_ = r.Close()
	if err != nil && !errors.Is(err, errGone) {
		return nil, fmt.Errorf("image %s: %w", ref, err)
	}
	if host != "" {
		return s.pull(ctx, ref, opt)
	}
	var list []Image
	if s, err := openStore(opt.Store); err != nil {
		return nil, err // a newer version, say
	} else if s.dir != "" {
		if list, err = s.images(); err != nil {
			return nil, err
		}
	}
	hint := nearestImage(list, ref.FullName())
	if hint[:3] != "did" {
		hint = forms
	}
	return nil, fmt.Errorf("root %s: no such file or directory, and no such image in the store; %s", ref, hint)
}
