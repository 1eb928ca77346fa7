package main

import (
	"archive/tar"
	stdgzip "compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// layerOf says in which of five layers a file of minbase goes. Hard links stay
// with their targets.
func layerOf(name string) int {
	for i, prefix := range [...]string{"usr/share/", "usr/lib/x86_64-linux-gnu/", "usr/lib/", "var/"} {
		if strings.HasPrefix(name, prefix) {
			return i + 1
		}
	}
	return 0
}

const layerCount = 5

// layout is minbase as an image of five layers in the OCI image layout, with
// the tag 1, made once. The blobs are in the page cache afterwards.
func (b *bench) layout() (string, error) {
	to := filepath.Join(b.cache, "five")
	if _, err := os.Stat(filepath.Join(to, "index.json")); err == nil {
		return to, nil
	}
	if _, err := b.minbase(zstd()); err != nil {
		return "", err
	}
	half := to + ".half"
	if err := os.RemoveAll(half); err != nil {
		return "", err
	}
	l := layoutWriter{dir: half}
	if err := os.MkdirAll(l.blob(""), 0o755); err != nil {
		return "", err
	}
	if err := l.write(filepath.Join(b.cache, "minbase.tar")); err != nil {
		return "", err
	}
	return to, os.Rename(half, to)
}

type layoutWriter struct{ dir string }

func (l layoutWriter) blob(hex string) string { return filepath.Join(l.dir, "blobs/sha256", hex) }

func (l layoutWriter) write(from string) error {
	var layers []object
	var diffs []string
	for i := range layerCount {
		layer, diff, err := l.layer(from, i)
		if err != nil {
			return err
		}
		layers, diffs = append(layers, layer), append(diffs, diff)
	}
	config, err := l.put("application/vnd.oci.image.config.v1+json", object{
		"os": "linux", "architecture": runtime.GOARCH, "config": object{"Cmd": []string{"/bin/true"}},
		"rootfs": object{"type": "layers", "diff_ids": diffs},
	})
	if err != nil {
		return err
	}
	manifest, err := l.put(manifestType, object{
		"schemaVersion": 2, "mediaType": manifestType, "config": config, "layers": layers,
	})
	if err != nil {
		return err
	}
	manifest["annotations"] = object{"org.opencontainers.image.ref.name": "1"}
	index, err := json.Marshal(object{"schemaVersion": 2, "manifests": []object{manifest}})
	return errors.Join(
		err,
		os.WriteFile(filepath.Join(l.dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644),
		os.WriteFile(filepath.Join(l.dir, "index.json"), index, 0o644),
	)
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func (l layoutWriter) put(mediaType string, v any) (object, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	return object{"mediaType": mediaType, "digest": "sha256:" + name, "size": len(data)}, os.WriteFile(l.blob(name), data, 0o644)
}

// layer writes one layer: its files, and the directories above them.
func (l layoutWriter) layer(from string, n int) (layer object, diff string, err error) {
	in, err := os.Open(from)
	if err != nil {
		return nil, "", err
	}
	defer in.Close()
	out, err := os.CreateTemp(l.dir, "layer-")
	if err != nil {
		return nil, "", err
	}
	defer out.Close()
	packed, plain := sha256.New(), sha256.New()
	gz := stdgzip.NewWriter(io.MultiWriter(out, packed))
	if err := copyLayer(tar.NewReader(in), tar.NewWriter(io.MultiWriter(gz, plain)), n); err != nil {
		return nil, "", fmt.Errorf("layer %d: %w", n, err)
	}
	if err := gz.Close(); err != nil {
		return nil, "", err
	}
	info, err := out.Stat()
	if err != nil {
		return nil, "", err
	}
	name := hex.EncodeToString(packed.Sum(nil))
	layer = object{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:" + name, "size": info.Size()}
	return layer, "sha256:" + hex.EncodeToString(plain.Sum(nil)), os.Rename(out.Name(), l.blob(name))
}

func copyLayer(r *tar.Reader, w *tar.Writer, n int) error {
	dirs := map[string]*tar.Header{} // those above that are not written yet
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return w.Close()
		}
		if err != nil {
			return err
		}
		name := strings.Trim(path.Clean(h.Name), "/")
		if h.Typeflag == tar.TypeDir {
			dirs[name] = h
		}
		if layerOf(name+"/") != n && (h.Typeflag == tar.TypeDir || layerOf(name) != n) {
			continue
		}
		for i := range name {
			if above := dirs[name[:i]]; name[i] == '/' && above != nil {
				delete(dirs, name[:i])
				if err := w.WriteHeader(above); err != nil {
					return err
				}
			}
		}
		delete(dirs, name)
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
	}
}

// exists tells whether a file is there.
func exists(name string) bool {
	_, err := os.Stat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
