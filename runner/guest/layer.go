package guest

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"hutch/runner"
)

// A layerFile takes what the application has written, as the guest sends it: a
// tar, in a file without a name.
type layerFile struct {
	*os.File
	left   int64 // bytes that may still come
	came   atomic.Int64
	failed error
}

// layerSlack is what a layer may be larger than all that can be written: the
// names and headers of many small files.
const layerSlack = 1 << 30

// TakeKeep makes of a Spec that keeps what is written one for the guest, which
// sends it.
func (c *Config) TakeKeep() {
	if c.Spec.Root.Keep != "" {
		c.Spec.Root.Keep, c.Spec.Root.Diff, c.Keep = "", true, true
	}
}

// newLayerFile is nil where the Spec does not want the layer.
func newLayerFile(s *runner.Spec) (*layerFile, error) {
	if !s.Root.Diff {
		return nil, nil
	}
	f, err := os.CreateTemp("", "hutch-layer-")
	if err == nil {
		err = os.Remove(f.Name())
	}
	if err != nil {
		return nil, &runner.Error{Stage: runner.StagePrepare, Step: "make a file for what is written", Err: err, Hint: "set TMPDIR to a directory that can be written"}
	}
	return &layerFile{File: f, left: s.Root.Disk + layerSlack}, nil
}

func (l *layerFile) Write(p []byte) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		return 0, fmt.Errorf("the guest sends more than it can have written")
	}
	n, err := l.File.Write(p)
	l.came.Add(int64(n))
	return n, err
}

// arrived is how many bytes have come. Of no file it is 0.
func (l *layerFile) arrived() int64 {
	if l == nil {
		return 0
	}
	return l.came.Load()
}

// Layer is what the application has written, as a layer's tar, once Wait has
// returned; the caller closes it. It can be had once.
func (s *Session) Layer() (*os.File, error) {
	l := s.layer
	if l == nil {
		return nil, fmt.Errorf("what was written is gone with the guest")
	}
	s.layer = nil
	if l.failed != nil {
		l.Close()
		return nil, l.failed
	}
	if _, err := l.Seek(0, io.SeekStart); err != nil {
		l.Close()
		return nil, err
	}
	return l.File, nil
}
