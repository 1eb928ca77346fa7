package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// The rows of this file compare layers that are EROFS images with layers that
// are directories, which are the peer. Only root may mount an image.

// otherLayout is the same image as layout's, layers and all, under another
// configuration: the store keeps an image in one format at a time.
func (b *bench) otherLayout() (string, error) {
	from, err := b.layout()
	if err != nil {
		return "", err
	}
	to := filepath.Join(b.cache, "five-other")
	if exists(filepath.Join(to, "index.json")) {
		return to, nil
	}
	if err := removeAll(to); err != nil {
		return "", err
	}
	if out, err := exec.Command("cp", "-al", from, to).CombinedOutput(); err != nil {
		return "", fmt.Errorf("cp: %w: %s", err, out)
	}
	l := layoutWriter{dir: to}
	old, err := layoutManifest(to)
	if err != nil {
		return "", err
	}
	var manifest, config object
	if err := readJSON(old, &manifest); err != nil {
		return "", err
	}
	digest, _ := manifest["config"].(map[string]any)["digest"].(string)
	if err := readJSON(l.blob(strings.TrimPrefix(digest, "sha256:")), &config); err != nil {
		return "", err
	}
	config["author"] = "hutch"
	if manifest["config"], err = l.put("application/vnd.oci.image.config.v1+json", config); err != nil {
		return "", err
	}
	d, err := l.put(manifestType, manifest)
	if err != nil {
		return "", err
	}
	d["annotations"] = object{"org.opencontainers.image.ref.name": "1"}
	index, err := json.Marshal(object{"schemaVersion": 2, "manifests": []object{d}})
	// The file is the first layout's too, until another takes its name.
	return to, errors.Join(err, os.Remove(filepath.Join(to, "index.json")), os.WriteFile(filepath.Join(to, "index.json"), index, 0o644))
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

const (
	erofsImage = "hutch-bench-erofs"
	dirImage   = "hutch-bench-dir"
)

// importIn are the imports of the five-layer image in either format, each
// of a store that has none of it.
func (b *bench) importIn() (erofs, dir command, err error) {
	if os.Geteuid() != 0 {
		return erofs, dir, errors.New("needs root, who may mount an EROFS image")
	}
	layout, err := b.layout()
	if err != nil {
		return erofs, dir, err
	}
	other, err := b.otherLayout()
	if err != nil {
		return erofs, dir, err
	}
	one := func(format, layout, name string) command {
		return command{
			name:   "hutch image import --store-format " + format,
			argv:   []string{b.hutch, "image", "import", "-q", "--store-format", format, "oci:" + layout + ":1", name},
			before: b.forget(name), after: b.forget(name),
		}
	}
	return one("erofs", layout, erofsImage), one("dir", other, dirImage), nil
}

// importErofs compares importing.
func importErofs(b *bench, runs int) (s samples, err error) {
	erofs, dir, err := b.importIn()
	if err == nil {
		s, err = b.pairs(runs, b.wall, erofs, dir)
	}
	s.peerName = "directories"
	return s, err
}

// pullErofs compares pulling from a registry on loopback.
func pullErofs(b *bench, runs int) (s samples, err error) {
	if os.Geteuid() != 0 {
		return s, errors.New("needs root, who may mount an EROFS image")
	}
	layout, err := b.layout()
	if err != nil {
		return s, err
	}
	host, stop, err := serveLayout(layout)
	if err != nil {
		return s, err
	}
	defer stop()
	ref := host + "/team/five:1"
	one := func(format string) command {
		return command{
			name: "hutch image pull", argv: []string{b.hutch, "image", "pull", "-q", "--store-format", format, ref},
			before: b.forget(ref), after: b.forget(ref),
		}
	}
	s, err = b.pairs(runs, b.wall, one("erofs"), one("dir"))
	s.peerName = "directories"
	return s, err
}

// inFormats imports the image in both formats, and has use compare them.
func (b *bench) inFormats(use func() (samples, error)) (s samples, err error) {
	erofs, dir, err := b.importIn()
	if err != nil {
		return s, err
	}
	for _, c := range []command{erofs, dir} {
		if err := c.before(); err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, c.after()) }()
		if _, _, err := output(c); err != nil {
			return s, err
		}
	}
	s, err = use()
	s.peerName = "directories"
	return s, err
}

func (b *bench) runBoth(options, words []string) (erofs, dir command) {
	one := func(image string) command {
		argv := append([]string{b.hutch, "run"}, options...)
		return command{name: "hutch run " + image, argv: append(append(argv, image), words...)}
	}
	return one(erofsImage), one(dirImage)
}

// startErofs compares starts.
func startErofs(b *bench, runs int) (samples, error) {
	return b.inFormats(func() (samples, error) {
		erofs, dir := b.runBoth(nil, []string{"/bin/true"})
		return b.pairs(runs, b.wallMilliseconds, erofs, dir)
	})
}

// openErofs compares openat and close of a file of the root, in the box.
func openErofs(b *bench, runs int) (samples, error) {
	root, err := b.boxRoot()
	if err != nil {
		return samples{}, err
	}
	return b.inFormats(func() (samples, error) {
		erofs, dir := b.runBoth([]string{"--bind", filepath.Join(root, "bin") + ":/mnt"},
			[]string{"/mnt/loop", "openat", "200000", "/usr/lib/os-release"})
		return b.pairs(runs, printedNumber, erofs, dir)
	})
}

// readErofs compares reading all programs of the root, in a new box each time:
// boxes share the page cache of a directory, and each has its own of an image.
func readErofs(b *bench, runs int) (samples, error) {
	return b.inFormats(func() (samples, error) {
		erofs, dir := b.runBoth(nil, []string{"/bin/sh", "-c", "cat /usr/bin/* /usr/sbin/* /usr/lib/x86_64-linux-gnu/*.so* >/dev/null"})
		return b.pairs(runs, b.wallMilliseconds, erofs, dir)
	})
}

// diskErofs compares what the layers take on the disk.
func diskErofs(b *bench, _ int) (samples, error) {
	return b.inFormats(func() (s samples, err error) {
		var size [2]float64
		for i, image := range []string{erofsImage, dirImage} {
			if size[i], err = b.diskOf(image); err != nil {
				return s, err
			}
		}
		s.add(size[0], size[1])
		return s, nil
	})
}

// diskOf is what an image's layers take in root's store, in MiB.
func (b *bench) diskOf(image string) (mib float64, err error) {
	out, err := exec.Command(b.hutch, "image", "inspect", image).Output()
	if err != nil {
		return 0, fmt.Errorf("hutch image inspect: %w", err)
	}
	var about struct {
		Layers []struct{ Entry string }
	}
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(&about); err != nil {
		return 0, err
	}
	seen := map[uint64]bool{}
	for _, l := range about.Layers {
		err := filepath.WalkDir(filepath.Join("/var/lib/hutch/layers", l.Entry), func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			var st syscall.Stat_t
			if err := syscall.Lstat(path, &st); err != nil || seen[st.Ino] {
				return err
			}
			seen[st.Ino] = true
			mib += float64(st.Blocks) * 512 / (1 << 20)
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return mib, nil
}
