package guest

import (
	"encoding/json"
	"errors"
	"syscall"
	"time"

	"hutch/runner"
)

// A Config is the body of Setup: all that the guest must know. Every path in
// it, and in its Spec, is one of the guest.
type Config struct {
	Spec *runner.Spec `json:"spec"`
	// Disks and Shares are mounted in this order before the box is made.
	Disks  []Disk  `json:"disks,omitempty"`
	Shares []Share `json:"shares,omitempty"`
	// Keep has what was written sent as what rootfs.MergeKept takes, and not as a
	// layer of an image.
	Keep bool `json:"keep,omitempty"`
	// CopyLimit is how many bytes may be copied in, and how many out.
	CopyLimit int64 `json:"copy_limit,omitempty"`
	// CopyDisk is the disk with what is copied in, see Spool; empty: it comes
	// over the channel.
	CopyDisk string `json:"copy_disk,omitempty"`
	// Sources are a Copy's that go over the channel; they stay on the host.
	Sources []Source `json:"-"`
	// Time is the host's clock, for a guest whose own is far off.
	Time time.Time `json:"time"`
	// Seed is random, for a guest that was saved: what its own kernel knows of
	// randomness is the same in every run, and its clock stood still.
	Seed []byte `json:"seed,omitempty"`
}

// SerialPrefix begins the Device of a disk that is known by its serial number:
// in which order virtio devices come is the machine's secret.
const SerialPrefix = "serial:"

// A Disk is a block device of the guest.
type Disk struct {
	Device   string `json:"device"` // such as /dev/ubda, or SerialPrefix and a serial number
	Type     string `json:"type"`   // its file system
	Target   string `json:"target"`
	Options  string `json:"options,omitempty"`
	ReadOnly bool   `json:"read_only"`
}

// A Share is a directory of the host that a file server shows.
type Share struct {
	Type string `json:"type"` // hostfs, 9p, virtiofs, or link
	// Source is what the file system is called with: for hostfs a path as the
	// kernel's process sees it, for a symbolic link its text, else a tag.
	Source   string `json:"source"`
	Target   string `json:"target"`
	Options  string `json:"options,omitempty"`
	ReadOnly bool   `json:"read_only"`
	// File says that Source/Name is a file, which is bound at Target.
	File string `json:"file,omitempty"`
}

// A Failure is a *runner.Error on its way to the host.
type Failure struct {
	Stage string `json:"stage"`
	Step  string `json:"step"`
	Text  string `json:"text"`
	Errno int    `json:"errno"`
	Hint  string `json:"hint"`
	Exit  int    `json:"exit"`
}

// NewFailure packs err.
func NewFailure(err error) Failure {
	f := Failure{Stage: runner.StageStart, Text: err.Error(), Hint: runner.Hint(err)}
	if e := (*runner.Error)(nil); errors.As(err, &e) {
		f.Stage, f.Step, f.Exit, f.Text = e.Stage, e.Step, e.Exit, ""
		if e.Err != nil {
			f.Text = e.Err.Error()
		}
	}
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		f.Errno = int(errno)
	}
	return f
}

// Err unpacks f.
func (f Failure) Err() error {
	e := &runner.Error{Stage: f.Stage, Step: f.Step, Hint: f.Hint, Exit: f.Exit}
	if f.Text != "" || f.Errno != 0 {
		e.Err = &remoteError{f.Text, syscall.Errno(f.Errno)}
	}
	return e
}

// A remoteError is an error that happened in the guest.
type remoteError struct {
	text  string
	errno syscall.Errno
}

func (e *remoteError) Error() string { return e.text }

func (e *remoteError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

// decode reads a message strictly: host and guest are one binary.
func decode(what Type, data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return protocolError("%s: %v", what, err)
	}
	return nil
}
