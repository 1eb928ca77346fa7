package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// corpusOutside is what the archives of package rootfs's corpus aim at.
const corpusOutside = "/tmp/hutch-corpus/outside"

// corpusRoot is an archive of the corpus, aimed at outside, with a program to
// run in it. One that archive/tar cannot read stays as it is.
func corpusRoot(t *testing.T, path, outside string) []byte {
	t.Helper()
	packed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r, w := tar.NewReader(z), tar.NewWriter(&out)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if h == nil || h.Size > 1<<20 {
			return packed
		}
		h.Name = strings.ReplaceAll(h.Name, corpusOutside[1:], outside[1:])
		h.Linkname = strings.ReplaceAll(h.Linkname, corpusOutside[1:], outside[1:])
		h.Format = tar.FormatUnknown
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			t.Fatal(err)
		}
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "usr/bin/busybox", Mode: 0o755, Size: int64(len(busybox))})
	if err == nil {
		_, err = w.Write(busybox)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// treeOf lists a directory of the host's, with what is in its files.
func treeOf(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b.WriteString(p + " " + info.Mode().String() + " " + info.ModTime().String() + "\n")
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(p)
			b.Write(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestCorpus runs a program in every archive of the corpus: from the tar
// through the set-up to the application, with a mount below a name that some of
// them make a link, with their users looked up, kept and saved as a layer.
// Nothing outside changes, and hutch ends in time with one of its statuses.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("../../rootfs/testdata/corpus/*.tar.gz")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d archives, %v", len(files), err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".tar.gz")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			outside, source, home := base+"/outside", base+"/source", base+"/home"
			for _, dir := range []string{outside + "/dir", source, home} {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, file := range []string{outside + "/canary", outside + "/dir/file", source + "/file"} {
				if err := os.WriteFile(file, []byte("evil:x:0:0::/:/bin/sh\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(base+"/root.tar", corpusRoot(t, path, outside), 0o644); err != nil {
				t.Fatal(err)
			}
			core, _ := os.ReadFile("/proc/sys/kernel/core_pattern")
			before := treeOf(t, outside) + treeOf(t, source)
			ways := [][]string{nil, {"--bind", source + ":/mnt/a/b"}, {"--user", "evil"}, {"--keep", name, "--diff", base + "/diff.tar"}}
			if os.Geteuid() == 0 {
				ways = append(ways, []string{"--store-format", "erofs"})
			}
			for _, more := range ways {
				args := append([]string{"run", "-q", "--timeout", "20s", "--tmpfs", "/scratch"}, more...)
				args = append(args, base+"/root.tar", "--", "/usr/bin/busybox", "sh", "-c", "echo ran; echo x >/dev/null; echo x >/l/new; echo x >/canary")
				cmd := exec.Command("hutch", args...)
				cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME=", "XDG_CACHE_HOME=")
				if len(more) > 1 && more[0] == "--keep" {
					// What an ordinary user's box leaves only hutch can remove.
					rm := exec.Command("hutch", "keep", "rm", name)
					rm.Env = cmd.Env
					defer rm.Run()
				}
				began := time.Now()
				out, err := cmd.CombinedOutput()
				var exited *exec.ExitError
				if err != nil && (!errors.As(err, &exited) || !exited.Exited()) {
					t.Fatalf("%v: %v: %s", more, err, out)
				}
				ran, refused := bytes.Contains(out, []byte("ran\n")), bytes.Contains(out, []byte("\nhint: "))
				if ran == refused {
					t.Errorf("%v: status %d: %s", more, cmd.ProcessState.ExitCode(), out)
				}
				if len(more) > 1 && more[0] == "--user" && ran {
					t.Errorf("a user of the host's was found: %s", out)
				}
				if took := time.Since(began); took > time.Minute {
					t.Errorf("%v: took %v", more, took)
				}
				if after := treeOf(t, outside) + treeOf(t, source); after != before {
					t.Fatalf("%v: outside changed:\n%s\nbefore:\n%s", more, after, before)
				}
			}
			if now, _ := os.ReadFile("/proc/sys/kernel/core_pattern"); !bytes.Equal(now, core) {
				t.Errorf("core_pattern is now %q", now)
			}
		})
	}
	t.Cleanup(func() {
		if _, err := os.Lstat(filepath.Dir(corpusOutside)); err == nil {
			t.Errorf("%s is there", corpusOutside)
		}
	})
}
