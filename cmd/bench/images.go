package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// serveLayout serves a layout as the repository team/five of a registry on
// loopback: what a registry's client needs to pull, and nothing else.
func serveLayout(dir string) (host string, stop func(), err error) {
	manifest, err := layoutManifest(dir)
	if err != nil {
		return "", nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/{$}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /v2/team/five/manifests/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", manifestType)
		w.Header().Set("Docker-Content-Digest", "sha256:"+filepath.Base(manifest))
		http.ServeFile(w, r, manifest)
	})
	mux.HandleFunc("GET /v2/team/five/blobs/{digest}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeFile(w, r, filepath.Join(dir, "blobs/sha256", strings.TrimPrefix(r.PathValue("digest"), "sha256:")))
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go server.Serve(listener)
	return listener.Addr().String(), func() { server.Close() }, nil
}

// layoutManifest is the file of the only manifest of a layout that we wrote.
func layoutManifest(dir string) (string, error) {
	index, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return "", err
	}
	_, rest, ok := strings.Cut(string(index), `"sha256:`)
	if !ok || len(rest) < 64 {
		return "", errors.New("the layout's index names no manifest")
	}
	return filepath.Join(dir, "blobs/sha256", rest[:64]), nil
}

// forget removes an image, if it is there, so that the next import is a first one.
func (b *bench) forget(name string) func() error {
	return func() error {
		out, err := exec.Command(b.hutch, "image", "rm", name).CombinedOutput()
		if err != nil && !bytes.Contains(out, []byte("is not in the store")) {
			return fmt.Errorf("hutch image rm: %w: %s", err, out)
		}
		return nil
	}
}

// pull compares fetching and unpacking an image.
func pull(b *bench, runs int) (s samples, err error) {
	layout, err := b.layout()
	if err != nil {
		return s, err
	}
	skopeo, name, err := peer("skopeo", "skopeo", "--version")
	if err != nil {
		return s, err
	}
	umoci, _, err := peer("umoci", "umoci", "--version")
	if err != nil {
		return s, err
	}
	host, stop, err := serveLayout(layout)
	if err != nil {
		return s, err
	}
	defer stop()
	dir := filepath.Join(b.cache, "peer")
	ref := host + "/team/five:1"
	script := fmt.Sprintf("%s --insecure-policy copy -q --src-tls-verify=false docker://%s oci:%s/oci:1 && exec %s unpack %s --image %s/oci:1 %s/bundle",
		skopeo, ref, dir, umoci, rootlessFlag(), dir, dir)
	ours := command{name: "hutch image pull", argv: []string{b.hutch, "image", "pull", "-q", ref}, before: b.forget(ref), after: b.forget(ref)}
	theirs := command{name: "skopeo and umoci", argv: []string{"/bin/sh", "-c", script}, before: fresh(dir), after: func() error { return removeAll(dir) }}
	s, err = b.pairs(runs, b.wall, ours, theirs)
	s.peerName = name + ", umoci"
	return s, err
}

func rootlessFlag() string {
	if os.Geteuid() == 0 {
		return ""
	}
	return "--rootless"
}

// fresh has dir be new and empty.
func fresh(dir string) func() error {
	return func() error { return errors.Join(removeAll(dir), os.MkdirAll(dir, 0o755)) }
}

// importLayout is `hutch image import` of the five-layer image.
func (b *bench) importLayout() (ours command, layout string, err error) {
	if layout, err = b.layout(); err != nil {
		return ours, "", err
	}
	argv := []string{b.hutch, "image", "import", "-q", "oci:" + layout + ":1", "hutch-bench-five"}
	return command{name: "hutch image import", argv: argv, before: b.forget("hutch-bench-five"), after: b.forget("hutch-bench-five")}, layout, nil
}

func layoutUmoci(b *bench, runs int) (s samples, err error) {
	umoci, name, err := peer("umoci", "umoci", "--version")
	if err != nil {
		return s, err
	}
	ours, layout, err := b.importLayout()
	if err != nil {
		return s, err
	}
	dir := filepath.Join(b.cache, "peer")
	argv := []string{umoci, "unpack", "--image", layout + ":1", dir + "/bundle"}
	if flag := rootlessFlag(); flag != "" {
		argv = append(argv[:2:2], append([]string{flag}, argv[2:]...)...)
	}
	theirs := command{name: "umoci unpack", argv: argv, before: fresh(dir), after: func() error { return removeAll(dir) }}
	s, err = b.pairs(runs, b.wall, ours, theirs)
	s.peerName = name
	return s, err
}

func layoutPodman(b *bench, runs int) (s samples, err error) {
	podman, name, err := peer("podman", "podman", "--version")
	if err != nil {
		return s, err
	}
	ours, layout, err := b.importLayout()
	if err != nil {
		return s, err
	}
	archive := filepath.Join(b.cache, "five.tar")
	if !exists(archive) {
		if err := makeFile(archive, "tar", "-c", "-C", layout, "."); err != nil {
			return s, err
		}
	}
	dir := filepath.Join(b.cache, "peer")
	argv := []string{podman, "--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "overlay", "load", "-q", "-i", archive}
	unmount := func() error {
		// It leaves a mount of its own.
		_ = exec.Command("umount", "-l", dir+"/root/overlay").Run()
		return removeAll(dir)
	}
	theirs := command{name: "podman load", argv: argv, before: func() error { return errors.Join(unmount(), os.MkdirAll(dir, 0o755)) }, after: unmount}
	s, err = b.pairs(runs, b.wall, ours, theirs)
	s.peerName = name
	return s, err
}

// startImage is a start on a stored image less one on the same root as a
// directory.
func startImage(b *bench, runs int) (s samples, err error) {
	ours, _, err := b.importLayout()
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, ours.after()) }()
	if _, _, err := output(ours); err != nil {
		return s, err
	}
	dir, err := os.MkdirTemp(b.cache, "root-")
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, removeAll(dir)) }()
	file, err := b.minbase(zstd())
	if err != nil {
		return s, err
	}
	if _, _, err := output(command{name: "hutch unpack", argv: []string{b.hutch, "unpack", file, dir}}); err != nil {
		return s, err
	}
	stored := command{name: "hutch run IMAGE", argv: []string{b.hutch, "run", "hutch-bench-five", "/bin/true"}}
	plain := command{name: "hutch run DIR", argv: []string{b.hutch, "run", dir, "/bin/true"}}
	s, err = b.pairs(runs, b.wallMilliseconds, stored, plain)
	s.peerName = "the same as a directory"
	return s, err
}

// pullMemory is the peak of hutch and hutch-pull, each at its own highest.
func pullMemory(b *bench, runs int) (s samples, err error) {
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
	return b.peaks(runs, exec.Command(b.hutch, "image", "pull", "-q", ref), "", b.forget(ref))
}

// zerosMemory imports a tar with a file of a gibibyte of zeros.
func zerosMemory(b *bench, runs int) (samples, error) {
	const size = 1 << 30
	file := filepath.Join(b.cache, "zeros")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		return samples{}, err
	}
	defer os.Remove(file)
	if err := os.Truncate(file, size); err != nil {
		return samples{}, err
	}
	pipe := fmt.Sprintf("tar -c -C %s zeros", b.cache)
	return b.peaks(runs, exec.Command(b.hutch, "image", "import", "-q", "-", "hutch-bench-zeros"), pipe, b.forget("hutch-bench-zeros"))
}

// peaks runs a command that reads what script writes.
func (b *bench) peaks(runs int, cmd *exec.Cmd, script string, forget func() error) (s samples, err error) {
	for range runs {
		if err := forget(); err != nil {
			return s, err
		}
		kib, err := peakOnce(exec.Command(cmd.Path, cmd.Args[1:]...), script)
		if err = errors.Join(err, forget()); err != nil {
			return s, err
		}
		s.add(kib/1024, 0)
	}
	return s, nil
}

func peakOnce(cmd *exec.Cmd, script string) (kib float64, err error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if script != "" {
		feeder := exec.Command("/bin/sh", "-c", script)
		pipe, err := feeder.StdoutPipe()
		if err != nil {
			return 0, err
		}
		if err := feeder.Start(); err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, feeder.Wait()) }()
		cmd.Stdin = pipe
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	peak := map[int]float64{}
	for {
		for _, pid := range descendants(cmd.Process.Pid) {
			if kib := highWater(pid); kib > 0 {
				peak[pid] = kib
			}
		}
		select {
		case err := <-ended:
			for _, p := range peak {
				kib += p
			}
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out.Bytes())
			}
			return kib, err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// highWater is the largest resident set that a process has had, in KiB
// (proc_pid_status(5)); 0 when it is gone.
func highWater(pid int) float64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseFloat(fields[0], 64)
	return kib
}
