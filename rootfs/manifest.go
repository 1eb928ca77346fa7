package rootfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
)

// The documents of an image, as far as they are looked at:
// https://github.com/opencontainers/image-spec, and Docker's of schema 2,
// which have the same fields.

// A descriptor points to a document or a layer.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    *platform         `json:"platform"`
	Annotations map[string]string `json:"annotations"`
}

// A platform is what an image was made for.
type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
}

func (p platform) String() string { return p.OS + "/" + p.Architecture + suffix("/", p.Variant) }

// A document is an index or a manifest.
type document struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
	Config        *descriptor  `json:"config"`
	Layers        []descriptor `json:"layers"`
}

// An imageConfig is an image's configuration.
type imageConfig struct {
	platform
	Created string `json:"created"`
	Config  struct {
		User       string
		Env        []string
		Entrypoint []string
		Cmd        []string
		WorkingDir string
		StopSignal string
	} `json:"config"`
	RootFS struct {
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

func (c *imageConfig) run() Config {
	return Config{
		Entrypoint: c.Config.Entrypoint, Cmd: c.Config.Cmd, Env: c.Config.Env,
		User: c.Config.User, WorkDir: c.Config.WorkingDir, StopSignal: c.Config.StopSignal,
	}
}

// Bounds of what is read into memory, and of what the kernel is asked to stack.
const (
	documentMax = 4 << 20
	layersMax   = 4096
	indexDepth  = 4
)

// A foundImage is an image that was read but for its layers.
type foundImage struct {
	Manifest string // digest, empty when there is no such thing
	ID       string // digest of the configuration
	Raw      []byte // the configuration
	Config   imageConfig
	Layers   []foundLayer // the lowest first
}

// A foundLayer is one that can be opened.
type foundLayer struct {
	Layer
	open func(context.Context) (io.ReadCloser, error)
}

// A bundle is where an image's parts are.
type bundle interface {
	// document gives a whole document. The caller verifies it.
	document(ctx context.Context, d descriptor) ([]byte, error)
	// layer opens a layer; UnpackLayer verifies it.
	layer(ctx context.Context, d descriptor) (io.ReadCloser, error)
}

func digestBytes(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// fetchDocument reads and verifies.
func fetchDocument(ctx context.Context, b bundle, d descriptor) ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	if d.Size > documentMax {
		return nil, fmt.Errorf("document %s says that it has %d bytes; more than %d are not read", d.Digest, d.Size, documentMax)
	}
	data, err := b.document(ctx, d)
	if err != nil {
		return nil, err
	}
	if got := digestBytes(data); got != d.Digest {
		return nil, fmt.Errorf("document %s has another digest, %s; it was damaged on its way, or whoever sent it lies", d.Digest, got)
	}
	return data, nil
}

func (d descriptor) check() error {
	if !validDigest(d.Digest) {
		return fmt.Errorf("the image names a part by the digest %s; only sha256: and 64 hexadecimal digits are known", quote(d.Digest))
	}
	if d.Size < 0 {
		return fmt.Errorf("the image says that %s has %d bytes", d.Digest, d.Size)
	}
	return nil
}

func parseDocument(data []byte) (document, error) {
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		if t := bytes.TrimSpace(data); len(t) > 0 && t[0] == '<' {
			return d, errors.New("a web page came instead of a manifest; look at the address")
		}
		return d, fmt.Errorf("the manifest is no JSON: %w", err)
	}
	if d.SchemaVersion == 1 {
		return d, errors.New("the image has Docker's old manifest, schema 1; push it again with a current tool")
	}
	return d, nil
}

// resolveImage goes from an index or a manifest to the image for a platform.
func resolveImage(ctx context.Context, b bundle, data []byte, want Platform) (*foundImage, error) {
	for depth := 0; ; depth++ {
		d, err := parseDocument(data)
		if err != nil {
			return nil, err
		}
		if d.Config != nil {
			return readImage(ctx, b, data, d, want)
		}
		if len(d.Manifests) == 0 {
			return nil, errors.New("the document is neither an image nor an index of images")
		}
		if depth == indexDepth {
			return nil, fmt.Errorf("indexes within indexes, more than %d deep", indexDepth)
		}
		next, err := choose(d.Manifests, want)
		if err != nil {
			return nil, err
		}
		if data, err = fetchDocument(ctx, b, next); err != nil {
			return nil, err
		}
	}
}

func readImage(ctx context.Context, b bundle, data []byte, d document, want Platform) (*foundImage, error) {
	raw, err := fetchDocument(ctx, b, *d.Config)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	img := &foundImage{Manifest: digestBytes(data), ID: d.Config.Digest, Raw: raw}
	if err := json.Unmarshal(raw, &img.Config); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", d.Config.Digest, err)
	}
	if len(img.Config.RootFS.DiffIDs) != len(d.Layers) {
		return nil, fmt.Errorf("the image has %d layers, and its configuration speaks of %d; is it an image to run? its kind is %s",
			len(d.Layers), len(img.Config.RootFS.DiffIDs), quote(d.Config.MediaType))
	}
	for i, l := range d.Layers {
		if err := l.check(); err != nil {
			return nil, err
		}
		if !strings.Contains(l.MediaType, "tar") || strings.Contains(l.MediaType, "encrypted") {
			return nil, fmt.Errorf("layer %s is of the kind %s, and only tars are known", l.Digest, quote(l.MediaType))
		}
		img.Layers = append(img.Layers, foundLayer{
			Layer: Layer{Digest: l.Digest, Size: l.Size, DiffID: img.Config.RootFS.DiffIDs[i]},
			open:  func(ctx context.Context) (io.ReadCloser, error) { return b.layer(ctx, l) },
		})
	}
	return img, img.check(want)
}

func (f *foundImage) check(want Platform) error {
	if len(f.Layers) > layersMax {
		return fmt.Errorf("the image has %d layers; more than %d are not taken", len(f.Layers), layersMax)
	}
	for _, l := range f.Layers {
		if !validDigest(l.DiffID) {
			return fmt.Errorf("the configuration names a layer by %s; only sha256: and 64 hexadecimal digits are known", quote(l.DiffID))
		}
	}
	p := f.Config.platform
	if p.OS != "" && p.OS != "linux" {
		return fmt.Errorf("the image is for %s, and hutch runs Linux programs", p)
	}
	return want.accept(p)
}

// A Platform is "os/architecture[/variant]"; empty is this machine's, or
// another that the kernel can run (binfmt_misc).
type Platform string

func (p Platform) matches(q platform) bool {
	os, rest, _ := strings.Cut(string(p), "/")
	arch, variant, _ := strings.Cut(rest, "/")
	return q.OS == os && q.Architecture == arch && (variant == "" || variant == q.Variant)
}

// orHost is p in parts; empty is this machine's.
func (p Platform) orHost() platform {
	if p == "" {
		return platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	os, rest, _ := strings.Cut(string(p), "/")
	arch, variant, _ := strings.Cut(rest, "/")
	return platform{os, arch, variant}
}

// Check says whether p has the form.
func (p Platform) Check() error {
	if n := strings.Count(string(p), "/"); p != "" && (n < 1 || n > 2 || strings.HasPrefix(string(p), "/") || strings.HasSuffix(string(p), "/")) {
		return fmt.Errorf("platform %s: write OS/ARCHITECTURE[/VARIANT], as in linux/arm64", quote(string(p)))
	}
	return nil
}

// accept says whether an image of platform q may be run.
func (p Platform) accept(q platform) error {
	switch {
	case p != "" && q.Architecture != "" && !p.matches(q):
		return fmt.Errorf("the image is for %s, not for %s", q, p)
	case p != "", q.Architecture == "", q.Architecture == runtime.GOARCH, foreignRuns(q.Architecture):
		return nil
	}
	return fmt.Errorf("the image is for %s, and this machine is linux/%s; take an image for that, or install qemu-user-static, which runs others",
		q, runtime.GOARCH)
}

// choose picks the manifest of an index for a platform: the wished one, else
// this machine's, else one that the kernel can run all the same.
func choose(list []descriptor, want Platform) (descriptor, error) {
	var images []descriptor
	for _, d := range list {
		if d.Platform == nil || d.Platform.OS != "unknown" { // an attestation
			images = append(images, d)
		}
	}
	ways := []func(p platform) bool{want.matches}
	if want == "" {
		ways = []func(p platform) bool{
			func(p platform) bool { return p.OS == "linux" && p.Architecture == runtime.GOARCH },
			func(p platform) bool { return p.OS == "linux" && foreignRuns(p.Architecture) },
		}
	}
	for _, way := range ways {
		for _, d := range images {
			if d.Platform != nil && way(*d.Platform) {
				return d, nil
			}
		}
	}
	if len(images) == 1 && images[0].Platform == nil {
		return images[0], nil // its configuration says what it is
	}
	var have []string
	for _, d := range images {
		if d.Platform != nil {
			have = append(have, d.Platform.String())
		}
	}
	slices.Sort(have)
	if want == "" {
		want = Platform("linux/" + runtime.GOARCH)
	}
	return descriptor{}, fmt.Errorf("there is no image for %s, only for: %s; name one with --platform", want, strings.Join(slices.Compact(have), " "))
}
