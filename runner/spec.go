// Package runner holds the words of the domain: what a run is (Spec), how it
// is put together (Resolve), checked (Validate) and carried out (Engine,
// Sandbox), and what became of it (Result, Error).
//
// It knows no engine: whoever runs a Sandbox hands it one.
package runner

import "time"

// SpecVersion is the version of the Spec's JSON form.
const SpecVersion = 1

// A Spec says everything about one run and holds no live resource. It
// survives a round trip through JSON: that is how a guest receives it.
type Spec struct {
	Version int `json:"version"`
	// Command is the application and its arguments. A name without a slash
	// is looked up in the PATH of Env, inside the root.
	Command []string `json:"command"`
	// Env is the whole environment, as KEY=VALUE.
	Env []string `json:"env"`
	// Workdir is an absolute path inside the root.
	Workdir string `json:"workdir"`
	// User is "name", "uid", "name:group" or "uid:gid"; it is looked up inside
	// the root. Empty means root, or for a host root the caller.
	User     string `json:"user"`
	Hostname string `json:"hostname"`
	// StopSignal is sent at a timeout, before the grace period; empty means
	// SIGTERM. See ParseSignal.
	StopSignal string `json:"stop_signal,omitempty"`
	// Init keeps a reaper as process 1. Without it the application is process 1,
	// which has no default signal actions and must reap orphans itself.
	Init bool `json:"init"`

	// Terminal gives the application a terminal of the box's own, of that size,
	// for its three standard streams; nil leaves them as they are.
	Terminal *Size `json:"terminal,omitempty"`

	Root   Root    `json:"root"`
	Mounts []Mount `json:"mounts"`
	// CopyIn is what hutch copies into the root before the start, CopyOut what it
	// copies out of it when the run is over.
	CopyIn  []Copy `json:"copy_in,omitempty"`
	CopyOut []Copy `json:"copy_out,omitempty"`
	// Devices are nodes of /dev besides the harmless ones that every box has.
	// No profile and no flag gives a box any: they are for the boxes around
	// guests.
	Devices []Device `json:"devices,omitempty"`
	// Hidden paths are masked; Protected ones, below /proc, are read-only.
	Hidden    []string `json:"hidden"`
	Protected []string `json:"protected"`

	Network      string   `json:"network"`
	IDMap        string   `json:"id_map"`
	Capabilities []string `json:"capabilities"`
	Limits       Limits   `json:"limits"`
	Landlock     Landlock `json:"landlock"`
	Seccomp      Seccomp  `json:"seccomp"`
	// Explain has refusals of the filter recorded, or learned from; empty means
	// that nobody watches, which costs nothing.
	Explain string `json:"explain,omitempty"`
	// Profile is the name of the profile that the Spec was resolved from.
	Profile string `json:"profile"`
}

// A Size is that of a terminal, in characters, ioctl_tty(2) TIOCSWINSZ. Zero
// means that nobody knows.
type Size struct {
	Rows    uint16 `json:"rows"`
	Columns uint16 `json:"columns"`
}

// The ways to explain.
const (
	ExplainRefusals = "refusals" // refused as ever, and recorded
	ExplainAll      = "all"      // the same, and what the kernel itself refuses is recorded too
	LearnEnforce    = "enforce"  // the same, and what is used is recorded too
	LearnObserve    = "observe"  // recorded, and allowed
)

// The kinds of root.
const (
	RootHost   = "host"   // this machine's own, narrowed
	RootLayers = "layers" // directories stacked by overlayfs
)

// A Root is what the application sees as "/".
type Root struct {
	Kind string `json:"kind"`
	// Lowers are absolute host directories, topmost first. They are never
	// written to.
	Lowers []string `json:"lowers,omitempty"`
	// ReadOnly forbids writes to the root; without it they go to an overlay in
	// memory of at most Disk bytes and Inodes files.
	ReadOnly bool  `json:"read_only"`
	Disk     int64 `json:"disk_bytes"`
	Inodes   int64 `json:"inodes"`
	// Keep is an absolute host path that holds what is written beyond the run:
	// a directory, or a file with a file system in it, which caps it. Empty
	// means memory. A directory is not capped by Disk and Inodes here; whoever
	// names one sees to that.
	Keep string `json:"keep,omitempty"`
	// Diff hands the directory of what was written out to the caller, who may
	// read it when the box is gone.
	Diff bool `json:"diff,omitempty"`
}

// A Copy is of a file or a directory. One of its paths is inside the root, and
// absolute; the other is of the host.
type Copy struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

// HostDirs is what a host root shows: programs and their configuration. No
// home, no /var with its data, no /run with its sockets.
var HostDirs = [...]string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix",
}

// A Device is a node of the host's that is shown as /dev/Name.
type Device struct {
	// Source is an absolute host path.
	Source string `json:"source"`
	Name   string `json:"name"`
}

// The types of mount.
const (
	MountBind  = "bind"
	MountTmpfs = "tmpfs"
)

// A Mount is placed in the root after the crossing.
type Mount struct {
	Type string `json:"type"`
	// Source is an absolute host path; only a bind has one.
	Source string `json:"source,omitempty"`
	// Shown is the path that the caller has named, where a guest has the source
	// at another one.
	Shown string `json:"shown,omitempty"`
	// Target is an absolute path inside the root. Symbolic links in it resolve
	// inside the root; what is missing is created.
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only"`
	// Size caps a tmpfs, in bytes.
	Size int64 `json:"size_bytes,omitempty"`
}

// The networks.
const (
	NetworkNone = "none" // a private network with only loopback, which is up
	NetworkHost = "host" // the caller's
)

// The ways to map ids.
const (
	// IDMapAuto takes a range where there is one and a single id elsewhere.
	IDMapAuto = "auto"
	// IDMapSingle maps one id: the caller's.
	IDMapSingle = "single"
	// IDMapRange maps 65536 ids from the subordinate range.
	IDMapRange = "range"
)

// Limits bounds what a run may use. Zero means no limit.
type Limits struct {
	MemoryBytes   int64         `json:"memory_bytes,omitempty"`
	SwapBytes     *int64        `json:"swap_bytes,omitempty"`
	CPUs          float64       `json:"cpus,omitempty"`
	CPUWeight     int64         `json:"cpu_weight,omitempty"`
	CPUSet        string        `json:"cpuset,omitempty"`
	Processes     int64         `json:"processes,omitempty"`
	IO            []IOLimit     `json:"io,omitempty"`
	OpenFiles     int64         `json:"open_files,omitempty"`
	FileSizeBytes int64         `json:"file_size_bytes,omitempty"`
	CoreSizeBytes *int64        `json:"core_size_bytes,omitempty"`
	Timeout       time.Duration `json:"timeout_ns,omitempty"`
	Grace         time.Duration `json:"grace_ns,omitempty"`
	CPUTime       time.Duration `json:"cpu_time_ns,omitempty"`
	OutputBytes   int64         `json:"output_bytes,omitempty"`
}

// An IOLimit bounds one block device, or all of them, per second.
type IOLimit struct {
	// Device is a path such as /dev/vda; empty means every disk.
	Device     string `json:"device,omitempty"`
	ReadBytes  int64  `json:"read_bytes,omitempty"`
	WriteBytes int64  `json:"write_bytes,omitempty"`
	ReadOps    int64  `json:"read_ops,omitempty"`
	WriteOps   int64  `json:"write_ops,omitempty"`
}

// A Want says how much a layer is wanted.
type Want string

// Prefer leaves a layer out, by name, where the kernel lacks it; Require
// makes that an error; Omit does without.
const (
	Prefer  Want = "prefer"
	Require Want = "require"
	Omit    Want = "omit"
)

// Landlock says which Landlock layers are wanted, landlock(7). Of the lists a
// nil one narrows nothing, and an empty one leaves nothing; each that is there
// is required. Paths are absolute, inside the root, and stand for all below.
type Landlock struct {
	// Filesystem narrows a host root to its mounts, and everywhere keeps the
	// application from executing a file from outside the root.
	Filesystem Want `json:"filesystem"`
	// Scopes keeps signals and abstract sockets inside.
	Scopes Want `json:"scopes"`
	// Read is what may be read, List the directories of which only the names may.
	Read []string `json:"read,omitzero"`
	List []string `json:"list,omitzero"`
	// Write is what may be written, made, removed and renamed.
	Write []string `json:"write,omitzero"`
	// Execute is what may be executed.
	Execute []string `json:"execute,omitzero"`
	// Connect and Bind are TCP ports; to bind 0 lets the kernel choose one.
	Connect []uint16 `json:"connect,omitzero"`
	Bind    []uint16 `json:"bind,omitzero"`
}

// Seccomp is the compiled filter.
type Seccomp struct {
	// Name says where the filter came from, Digest is of its bytes.
	Name   string `json:"name"`
	Digest string `json:"digest"`
	// Filter is an array of struct sock_filter, seccomp(2); empty means none.
	Filter []byte `json:"filter"`
}

// Names lists the limits that are set, by their flags' names.
func (l Limits) Names() []string {
	names := []string{}
	for _, n := range []struct {
		name string
		set  bool
	}{
		{"memory", l.MemoryBytes > 0},
		{"swap", l.SwapBytes != nil},
		{"cpus", l.CPUs > 0},
		{"cpu-weight", l.CPUWeight > 0},
		{"cpuset", l.CPUSet != ""},
		{"pids", l.Processes > 0},
		{"io", len(l.IO) > 0},
		{"open-files", l.OpenFiles > 0},
		{"file-size", l.FileSizeBytes > 0},
		{"core-size", l.CoreSizeBytes != nil},
		{"timeout", l.Timeout > 0},
		{"cpu-time", l.CPUTime > 0},
		{"output-limit", l.OutputBytes > 0},
	} {
		if n.set {
			names = append(names, n.name)
		}
	}
	return names
}
