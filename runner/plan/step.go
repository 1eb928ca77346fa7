// Package plan turns a Spec into the ordered list of steps that make a box.
//
// The order is written once, in Build, in four paragraphs. A Plan is data: it
// is printed by --dry-run=plan, pinned by golden files, and encoded into
// system calls by the native engine.
package plan

// A Paragraph is a part of the way into the box.
type Paragraph string

// The paragraphs, in order.
const (
	// Outside still sees the host: ids are mapped and sources are taken, as
	// detached trees, by the paths that the caller wrote.
	Outside Paragraph = "outside"
	// Crossing mounts the root and leaves the host's behind.
	Crossing Paragraph = "crossing"
	// Inside places the trees. Every path here is resolved below the new root,
	// so a symbolic link in an image leads nowhere else.
	Inside Paragraph = "inside"
	// Surrender gives up what the application must not have.
	Surrender Paragraph = "surrender"
)

// An Actor is who carries a step out.
type Actor string

// The actors. Hutch acts before the box goes on; the box waits for it.
const (
	Hutch       Actor = "hutch"
	Box         Actor = "box"         // the first process of the box
	Application Actor = "application" // the process that becomes the application
	Reaper      Actor = "reaper"      // the first process, once the application has started
)

// A Kind names what a step does.
type Kind string

// The kinds. To add one: name it here, say it in words in text.go, encode it
// in the native engine's encode tables, and place it in Build.
const (
	DieWithParent  Kind = "die-with-parent"
	CheckParent    Kind = "check-parent"
	NewSession     Kind = "new-session"
	NewKeyring     Kind = "new-keyring"
	Unshare        Kind = "unshare"
	MapIDs         Kind = "map-ids"
	TakeTree       Kind = "take-tree"
	AwaitHutch     Kind = "await-hutch"
	JoinLimits     Kind = "join-limits"
	OwnFiles       Kind = "own-files"
	Umask          Kind = "umask"
	Become         Kind = "become"
	PrivateMounts  Kind = "private-mounts"
	TakeProc       Kind = "take-proc"
	TakeTmpfs      Kind = "take-tmpfs"
	TakeDevpts     Kind = "take-devpts"
	OpenTerminal   Kind = "open-terminal"
	HandTerminal   Kind = "hand-over-terminal"
	OwnTerminal    Kind = "own-terminal"
	OwnGroup       Kind = "own-group"
	TakeScratch    Kind = "take-scratch"
	Stage          Kind = "stage"
	HandOver       Kind = "hand-over-scratch"
	StageDir       Kind = "stage-dir"
	StageLayer     Kind = "stage-layer"
	TakeImage      Kind = "take-image"
	KeepDirs       Kind = "keep-dirs"
	MountOverlay   Kind = "mount-overlay"
	MountRoot      Kind = "mount-root"
	Pivot          Kind = "pivot"
	DetachHost     Kind = "detach-host"
	OpenRoot       Kind = "open-root"
	MakeDir        Kind = "make-dir"
	MakeFile       Kind = "make-file"
	MakeLink       Kind = "make-link"
	Place          Kind = "place"
	PlaceDevice    Kind = "place-device"
	Mask           Kind = "mask"
	Protect        Kind = "protect"
	WriteProc      Kind = "write-proc"
	Hostname       Kind = "hostname"
	LoopbackUp     Kind = "loopback-up"
	HandRoot       Kind = "hand-over-root"
	AwaitCopies    Kind = "await-copies"
	ReadOnlyRoot   Kind = "read-only-root"
	Undumpable     Kind = "undumpable"
	StartApp       Kind = "start-application"
	AwaitReaper    Kind = "await-reaper"
	Rlimit         Kind = "rlimit"
	DropBounding   Kind = "drop-bounding"
	SetGroups      Kind = "set-groups"
	SetIDs         Kind = "set-ids"
	SetCaps        Kind = "set-capabilities"
	Workdir        Kind = "workdir"
	Stdio          Kind = "stdio"
	NoNewPrivs     Kind = "no-new-privs"
	LandlockCreate Kind = "landlock-create"
	LandlockAllow  Kind = "landlock-allow"
	LandlockSelf   Kind = "landlock-restrict"
	NarrowCreate   Kind = "landlock-narrow"
	NarrowPath     Kind = "landlock-path"
	NarrowPort     Kind = "landlock-port"
	NarrowSelf     Kind = "landlock-narrow-restrict"
	CloseFiles     Kind = "close-files"
	ResetSignals   Kind = "reset-signals"
	InstallSeccomp Kind = "install-seccomp"
	Execute        Kind = "execute"
	ReaperFiles    Kind = "reaper-files"
	BecomeReaper   Kind = "become-reaper"
)

// A Step is one act. Which fields it uses depends on its kind.
type Step struct {
	Paragraph Paragraph `json:"paragraph"`
	By        Actor     `json:"by"`
	Kind      Kind      `json:"kind"`
	// Name is the detached tree that the step makes or uses.
	Name string `json:"name,omitempty"`
	// Source is a host path, Target a path inside the root. A command with a
	// source is executed from there, whatever its first word.
	Source string `json:"source,omitempty"`
	Target string `json:"target,omitempty"`
	// Data is what a file gets, where a link points, a filter's name.
	Data string `json:"data,omitempty"`
	// Dir says that source and target are directories.
	Dir      bool `json:"dir,omitempty"`
	ReadOnly bool `json:"read_only,omitempty"`
	// Recursive takes the mounts below the source too.
	Recursive bool `json:"recursive,omitempty"`
	// IDMapped makes the source's owners appear inside under their own ids.
	IDMapped bool   `json:"id_mapped,omitempty"`
	Mode     uint32 `json:"mode,omitempty"`
	Size     int64  `json:"size,omitempty"`
	Inodes   int64  `json:"inodes,omitempty"`
	// Hard is an Rlimit's hard limit where that is not Size, its soft one.
	Hard   int64    `json:"hard,omitempty"`
	UID    uint32   `json:"uid,omitempty"`
	GID    uint32   `json:"gid,omitempty"`
	IDs    []IDMap  `json:"ids,omitempty"`
	Groups []uint32 `json:"groups,omitempty"`
	// Bits is a set: namespaces, capabilities, Landlock rights.
	Bits uint64 `json:"bits,omitempty"`
	// Scopes is the set of Landlock scopes.
	Scopes uint64 `json:"scopes,omitempty"`
	// Ports is the set of Landlock's rights on TCP ports.
	Ports uint64 `json:"ports,omitempty"`
	// Port is a TCP port.
	Port  uint16   `json:"port,omitempty"`
	Words []string `json:"words,omitempty"`
	Env   []string `json:"env,omitempty"`
	Bytes []byte   `json:"-"`
}

// An IDMap is a line of user_namespaces(7)'s uid_map.
type IDMap struct {
	Inside  uint32 `json:"inside"`
	Outside uint32 `json:"outside"`
	Count   uint32 `json:"count"`
}

// A Plan is the whole way from clone to execve.
type Plan struct {
	Steps []Step `json:"steps"`
	// Clone is the set of CLONE_NEW flags that the box is born with.
	Clone uint64 `json:"clone"`
	// Missing names what was preferred and could not be had.
	Missing []string `json:"missing"`
	// LandlockABI is the kernel's where a Landlock layer is on, else 0.
	LandlockABI int `json:"landlock_abi"`
}

// Facts is what Build must know of the machine and of the root.
type Facts struct {
	// Privileged says that hutch holds CAP_SYS_ADMIN in the namespace that owns
	// the file systems: it takes the trees itself and maps their ids.
	Privileged bool
	// SameIDs says that the box's ids are those of the file systems, which are
	// then not mapped.
	SameIDs    bool
	UIDs, GIDs []IDMap
	// SetGroups says that setgroups(2) is allowed in the box.
	SetGroups bool
	// User is the application's, resolved inside the root.
	UID, GID uint32
	Groups   []uint32
	// Home is the application's home directory, for an environment without one.
	Home        string
	LandlockABI int
	// BinaryExposed: an id of the box may write to hutch's own binary.
	BinaryExposed bool
	LastCap       int
	// Host is what a host root consists of.
	Host []HostEntry
	// IsDir holds every bind source, hidden and protected path that exists, and
	// the layers that may be files with a file system.
	IsDir map[string]bool
}

// A HostEntry is a name in the host's root directory: a directory to bind or,
// where Link is not empty, a symbolic link to copy.
type HostEntry struct {
	Path string
	Link string
}
