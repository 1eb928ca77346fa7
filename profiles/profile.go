// Package profiles reads sandbox profiles: TOML in, a checked Profile out.
//
// A profile uses the same word for a thing as the command line, the Spec and
// the tests do. A nil pointer, an empty string or an empty list means "not
// said here", so that a nearer source can be told from a farther one.
package profiles

import "hutch/seccomp"

// Version is the version of the profile language that this package reads.
const Version = 1

// A Profile is one profile after all that it extends has been merged into it.
type Profile struct {
	Version     int      `toml:"version"`
	Name        string   `toml:"-"`
	Description string   `toml:"description"`
	Extends     []string `toml:"extends"`
	// Warnings say, a sentence each, what was left out of what the texts say.
	Warnings []string `toml:"-"`

	Process      Process         `toml:"process"`
	Namespaces   Namespaces      `toml:"namespaces"`
	Filesystem   Filesystem      `toml:"filesystem"`
	Limits       Limits          `toml:"limits"`
	Capabilities Capabilities    `toml:"capabilities"`
	Network      Network         `toml:"network"`
	Seccomp      *seccomp.Policy `toml:"seccomp"`
	Landlock     Landlock        `toml:"landlock"`
}

// Process says who the application is and what it finds around it.
type Process struct {
	// User is "name", "uid", "name:group" or "uid:gid", looked up inside the root.
	User string `toml:"user"`
	// Workdir is an absolute path inside the root.
	Workdir string `toml:"workdir"`
	// Env holds KEY = "value"; it is all the environment that the application gets.
	Env map[string]string `toml:"env"`
	// Hostname is the UTS name inside.
	Hostname string `toml:"hostname"`
	// StopSignal is sent at a timeout, before the grace period: "SIGINT", "INT" or "2".
	StopSignal string `toml:"stop_signal"`
	// Init keeps a reaper as process 1; nil means true.
	Init *bool `toml:"init"`
}

// Namespaces says how the box's namespaces are made. A mount, PID, IPC, UTS,
// cgroup and user namespace are always the box's own; Network says which
// network it has.
type Namespaces struct {
	// IDMap is "single" (one id: the caller's), "range" (65536 ids) or "auto",
	// user_namespaces(7).
	IDMap string `toml:"id_map"`
}

// Filesystem says what is mounted where.
type Filesystem struct {
	// ReadOnly forbids all writes to the root.
	ReadOnly *bool `toml:"read_only"`
	// Disk caps the throw-away overlay, in bytes ("512M").
	Disk Size `toml:"disk"`
	// Inodes caps the number of files in the overlay.
	Inodes int64 `toml:"inodes"`
	// Bind holds "SRC:DST[:ro|rw]", as --bind.
	Bind []string `toml:"bind"`
	// Tmpfs holds "DST[:SIZE]", as --tmpfs.
	Tmpfs []string `toml:"tmpfs"`
	// Hidden paths are masked: a file reads empty, a directory is empty.
	Hidden []string `toml:"hidden"`
	// Protected paths below a mount of the box are made read-only.
	Protected []string `toml:"protected"`
}

// Limits bounds what the box may use. Zero means no limit was asked for.
type Limits struct {
	Memory     Size     `toml:"memory"`
	Swap       *Size    `toml:"swap"`
	CPUs       float64  `toml:"cpus"`
	CPUWeight  int64    `toml:"cpu_weight"`
	CPUSet     string   `toml:"cpuset"`
	Processes  int64    `toml:"pids"`
	OpenFiles  int64    `toml:"open_files"`
	FileSize   Size     `toml:"file_size"`
	CoreSize   *Size    `toml:"core_size"`
	Timeout    Duration `toml:"timeout"`
	Grace      Duration `toml:"grace"`
	CPUTime    Duration `toml:"cpu_time"`
	Output     Size     `toml:"output_limit"`
	IORead     []string `toml:"io_read"`      // "[DEV:]BYTES" a second
	IOWrite    []string `toml:"io_write"`     // "[DEV:]BYTES" a second
	IOReadOps  []string `toml:"io_read_ops"`  // "[DEV:]N" a second
	IOWriteOps []string `toml:"io_write_ops"` // "[DEV:]N" a second
}

// Capabilities names what the application keeps, as "CAP_CHOWN" or "chown".
type Capabilities struct {
	// Keep is the whole list; nil means the default for the kind of root.
	Keep []string `toml:"keep"`
	// Add and Drop change the list that would hold without them.
	Add  []string `toml:"add"`
	Drop []string `toml:"drop"`
}

// Network says which network the application sees.
type Network struct {
	// Mode is "none" (a private network with only loopback) or "host".
	Mode string `toml:"mode"`
}

// Landlock says which Landlock layers are wanted. A nil pointer means the
// layer is preferred and left out, by name, on a kernel that lacks it; true
// means required, false means not wanted.
type Landlock struct {
	Filesystem *bool `toml:"filesystem"`
	Scopes     *bool `toml:"scopes"`
}
