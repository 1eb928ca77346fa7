package rootfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// BenchmarkAgainstTar unpacks the same archive with Unpack and with GNU tar,
// in turns, and reports both medians and the median ratio of the pairs.
// Make the archives, in an empty directory, with
//
//	mmdebstrap --variant=minbase bookworm base.tar
//	zstd -k base.tar; gzip -k base.tar; xz -k base.tar; bzip2 -k base.tar
//
// The trees are removed at the very end only: ext4 looks for an inode that was
// not freed within the last seconds (recently_deleted in fs/ext4/ialloc.c), one
// by one, so that whoever unpacks after an rm -r of a large tree waits for
// seconds, whichever program it is.
//
// Run: HUTCH_BENCH_DIR=DIR go test -run '^$' -bench AgainstTar -benchtime 1x
func BenchmarkAgainstTar(b *testing.B) {
	dir := os.Getenv("HUTCH_BENCH_DIR")
	if dir == "" {
		b.Skip("HUTCH_BENCH_DIR is not set")
	}
	pairs := 7
	if n, err := strconv.Atoi(os.Getenv("HUTCH_BENCH_PAIRS")); err == nil {
		pairs = n
	}
	for _, name := range []string{"base.tar", "base.tar.zst", "base.tar.gz", "base.tar.xz", "base.tar.bz2"} {
		b.Run(name, func(b *testing.B) {
			archive := filepath.Join(dir, name)
			if _, err := os.Stat(archive); err != nil {
				b.Skip(err)
			}
			for range b.N {
				comparePairs(b, archive, pairs)
			}
		})
	}
	for _, d := range benchTrees {
		_ = removePath(d)
	}
	benchTrees = nil
}

func comparePairs(b *testing.B, archive string, pairs int) {
	var ours, theirs, ratios []float64
	// The first pair warms the page cache and is not counted.
	for i := range pairs + 1 {
		var o, t float64
		if i%2 == 0 {
			o = timeUnpack(b, archive)
			t = timeTar(b, archive)
		} else {
			t = timeTar(b, archive)
			o = timeUnpack(b, archive)
		}
		if i > 0 {
			ours, theirs, ratios = append(ours, o), append(theirs, t), append(ratios, o/t)
		}
	}
	b.ReportMetric(median(ours), "unpack-s")
	b.ReportMetric(median(theirs), "tar-s")
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(slices.Min(ratios), "ratio-min")
	b.ReportMetric(slices.Max(ratios), "ratio-max")
}

func timeUnpack(b *testing.B, archive string) float64 {
	dir := benchDir(b, archive)
	f, err := os.Open(archive)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	start := time.Now()
	if _, err := Unpack(context.Background(), f, dir, UnpackOptions{}); err != nil {
		b.Fatal(err)
	}
	return time.Since(start).Seconds()
}

func timeTar(b *testing.B, archive string) float64 {
	dir := benchDir(b, archive)
	start := time.Now()
	if out, err := exec.Command("tar", "-xf", archive, "-C", dir).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return time.Since(start).Seconds()
}

// benchDir gives a new directory beside the archive, on the same file system.
func benchDir(b *testing.B, archive string) string {
	dir, err := os.MkdirTemp(filepath.Dir(archive), "bench-")
	if err != nil {
		b.Fatal(err)
	}
	benchTrees = append(benchTrees, dir)
	return dir
}

// benchTrees are removed when all is measured.
var benchTrees []string

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// BenchmarkErofs says where the time goes when a layer becomes an EROFS image
// by way of a tree, and what a writer could save at most that streams: that is
// decompressing the layer and writing it to one file, with no names at all.
//
// Run: HUTCH_BENCH_DIR=DIR go test -run '^$' -bench Erofs -benchtime 1x
func BenchmarkErofs(b *testing.B) {
	packed, err := os.ReadFile(filepath.Join(os.Getenv("HUTCH_BENCH_DIR"), "base.tar.gz"))
	if err != nil {
		b.Skip("HUTCH_BENCH_DIR has no base.tar.gz")
	}
	archive := filepath.Join(os.Getenv("HUTCH_BENCH_DIR"), "base.tar.gz")
	stages := map[string][]float64{}
	for range 7 {
		d := &draft{dir: benchDir(b, archive)}
		step := func(name string, f func() error) {
			start := time.Now()
			if err := f(); err != nil {
				b.Fatal(err)
			}
			stages[name] = append(stages[name], time.Since(start).Seconds())
		}
		step("unpack-s", func() error {
			if err := os.Mkdir(d.dir+"/fs", 0o700); err != nil {
				return err
			}
			_, err := Unpack(context.Background(), bytes.NewReader(packed), d.dir+"/fs", UnpackOptions{})
			return err
		})
		step("dirsums-s", func() error { return writeSums(context.Background(), d.dir) })
		step("pack-s", func() error {
			_, err := packTree(context.Background(), d.dir+"/fs", d.dir+LayerImage)
			return err
		})
		step("sum-s", func() error {
			_, err := imageSum(context.Background(), d.dir)
			return err
		})
		step("stream-s", func() error {
			to, err := os.Create(d.dir + "/plain")
			if err != nil {
				return err
			}
			_, err = io.Copy(struct{ io.Writer }{to}, &gzipReader{f: newInflater(newBytes(packed))})
			return errors.Join(err, to.Close(), os.Remove(to.Name()))
		})
	}
	start := time.Now() // at the very end, as in BenchmarkAgainstTar
	for _, d := range benchTrees {
		_ = removePath(d)
	}
	b.ReportMetric(time.Since(start).Seconds()/float64(len(benchTrees)), "remove-s")
	for name, list := range stages {
		b.ReportMetric(median(list), name)
	}
	benchTrees = nil
}

// BenchmarkInflate is the decompressor alone.
func BenchmarkInflate(b *testing.B) {
	data := textData(64 << 20)
	packed := gzipData(b, data)
	b.SetBytes(int64(len(data)))
	buf := make([]byte, dataSize)
	for b.Loop() {
		r := &gzipReader{f: newInflater(newBytes(packed))}
		var n int
		for {
			m, err := r.Read(buf)
			n += m
			if err != nil {
				break
			}
		}
		if n != len(data) {
			b.Fatalf("%d of %d bytes", n, len(data))
		}
	}
}

// BenchmarkPrepareAgain is a start on a tar that is in the store already.
func BenchmarkPrepareAgain(b *testing.B) {
	path := filepath.Join(b.TempDir(), "root.tar")
	writeFile(b, path, tarOf(b, dirEntry("etc/"), fileEntry("etc/hostname", "box\n")))
	time.Sleep(50 * time.Millisecond) // past the clock's tick, so that it is remembered
	opt := Options{Store: b.TempDir()}
	ref := Ref{Kind: KindTar, Path: path}
	for b.Loop() {
		r, err := Prepare(context.Background(), ref, opt)
		if err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}
