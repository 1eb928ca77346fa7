package rootfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/rootfs/registry"
)

// A layoutBundle is a directory in the OCI image layout, or what was unpacked
// from an archive of one. Nothing of it is looked up outside the directory.
type layoutBundle struct{ dir string }

func blobPath(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }

func (l layoutBundle) document(_ context.Context, d descriptor) ([]byte, error) {
	b, err := View{Lowers: []string{l.dir}}.ReadFile(blobPath(d.Digest), documentMax)
	return b, missingBlob(err)
}

func (l layoutBundle) layer(_ context.Context, d descriptor) (io.ReadCloser, error) {
	f, err := openInside(l.dir, blobPath(d.Digest))
	return f, missingBlob(err)
}

func missingBlob(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; the image is not complete: copy it again", err)
	}
	return err
}

// openInside opens a regular file below dir for reading.
func openInside(dir, path string) (*os.File, error) {
	fd, err := lookupOne(dir, path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%s: is a %s, not a regular file", path, fileKind(goMode(st.Mode)))
	}
	f, err := os.Open("/proc/self/fd/" + itoa(int64(fd)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, bare(err))
	}
	return f, nil
}

// refName is the annotation that is an image's tag in a layout.
const refName = "org.opencontainers.image.ref.name"

// layoutImage reads the image of a layout with a tag; without one there must
// be no choice.
func layoutImage(ctx context.Context, dir, tag string, want Platform) (*foundImage, error) {
	b := layoutBundle{dir}
	top, err := View{Lowers: []string{dir}}.ReadFile("index.json", documentMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("has no index.json, so it is not an OCI image layout")
	}
	if err != nil {
		return nil, err
	}
	d, err := parseDocument(top)
	if err != nil {
		return nil, err
	}
	found, tags := d.Manifests, []string{}
	for _, m := range d.Manifests {
		if name := m.Annotations[refName]; name != "" && !slices.Contains(tags, name) {
			tags = append(tags, name)
		}
	}
	if tag != "" {
		found = slices.DeleteFunc(slices.Clone(found), func(m descriptor) bool { return m.Annotations[refName] != tag })
	}
	switch {
	case len(found) == 0 && tag != "":
		return nil, fmt.Errorf("has no image with the tag %s; %s", quote(tag), tagHint(tags))
	case len(found) == 0:
		return nil, errors.New("holds no image")
	case len(found) > 1 && tag == "" && len(tags) > 1:
		return nil, fmt.Errorf("holds %d images; %s", len(found), tagHint(tags))
	}
	next := found[0]
	if len(found) > 1 {
		if next, err = choose(found, want); err != nil {
			return nil, err
		}
	}
	data, err := fetchDocument(ctx, b, next)
	if err != nil {
		return nil, err
	}
	return resolveImage(ctx, b, data, want)
}

func tagHint(tags []string) string {
	if len(tags) == 0 {
		return "its images have no tags: leave the tag out"
	}
	slices.Sort(tags)
	return "add a tag, one of: " + strings.Join(tags, " ")
}

// savedImage is an element of the manifest.json of docker save, which podman
// and skopeo write too.
type savedImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// dockerImage reads the image of an unpacked docker-archive.
func dockerImage(dir, tag string, want Platform) (*foundImage, error) {
	v := View{Lowers: []string{dir}}
	b, err := v.ReadFile("manifest.json", documentMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("has no manifest.json, so docker save did not write it")
	}
	if err != nil {
		return nil, err
	}
	var list []savedImage
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	s, err := chooseSaved(list, tag)
	if err != nil {
		return nil, err
	}
	raw, err := v.ReadFile(s.Config, documentMax)
	if err != nil {
		return nil, err
	}
	img := &foundImage{ID: digestBytes(raw), Raw: raw}
	if err := json.Unmarshal(raw, &img.Config); err != nil {
		return nil, fmt.Errorf("%s: %w", quote(s.Config), err)
	}
	ids := img.Config.RootFS.DiffIDs
	if len(ids) != len(s.Layers) {
		return nil, fmt.Errorf("manifest.json has %d layers, and the configuration speaks of %d", len(s.Layers), len(ids))
	}
	for i, path := range s.Layers {
		img.Layers = append(img.Layers, foundLayer{
			Layer: Layer{DiffID: ids[i]},
			open:  func(context.Context) (io.ReadCloser, error) { return openInside(dir, path) },
		})
	}
	return img, img.check(want)
}

func chooseSaved(list []savedImage, tag string) (savedImage, error) {
	var tags []string
	for _, s := range list {
		for _, t := range s.RepoTags {
			if t == tag || strings.HasSuffix(t, ":"+tag) || strings.HasSuffix(t, "/"+tag) {
				return s, nil
			}
			tags = append(tags, t)
		}
	}
	switch {
	case len(list) == 0:
		return savedImage{}, errors.New("holds no image")
	case tag != "":
		return savedImage{}, fmt.Errorf("has no image %s; %s", quote(tag), tagHint(tags))
	case len(list) > 1:
		return savedImage{}, fmt.Errorf("holds %d images; %s", len(list), tagHint(tags))
	}
	return list[0], nil
}

// A registryBundle is a repository that is open.
type registryBundle struct{ client *registry.Client }

func (r registryBundle) document(ctx context.Context, d descriptor) ([]byte, error) {
	if isManifest(d.MediaType) {
		b, _, err := r.client.Manifest(ctx, d.Digest, documentMax)
		return b, err
	}
	rc, err := r.client.Blob(ctx, d.Digest, d.Size)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(io.LimitReader(rc, documentMax+1))
}

func isManifest(mediaType string) bool {
	return strings.Contains(mediaType, ".manifest.") || strings.Contains(mediaType, ".index.")
}

func (r registryBundle) layer(ctx context.Context, d descriptor) (io.ReadCloser, error) {
	return r.client.Blob(ctx, d.Digest, d.Size)
}

// registryImage reads an image by its tag or digest.
func registryImage(ctx context.Context, c *registry.Client, ref Ref, want Platform) (*foundImage, error) {
	reference := ref.Digest
	if reference == "" {
		reference = ref.Tag
	}
	if reference == "" {
		reference = "latest"
	}
	data, _, err := c.Manifest(ctx, reference, documentMax)
	if err != nil {
		return nil, err
	}
	if ref.Digest != "" && digestBytes(data) != ref.Digest {
		return nil, fmt.Errorf("the registry answers with %s; it lies, or the manifest was damaged on its way", digestBytes(data))
	}
	return resolveImage(ctx, registryBundle{c}, data, want)
}
