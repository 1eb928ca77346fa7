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
	// The language's version: 1; it must be there.
	Version int    `toml:"version"`
	Name    string `toml:"-"`
	// Description is one line for hutch profile ls.
	Description string `toml:"description"`
	// Extends names profiles, or paths of profiles, that hold where this one says
	// nothing; of several, the one named last is nearest.
	Extends []string `toml:"extends"`
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
	User string `toml:"user" default:"the image's, else root"`
	// Workdir is an absolute path inside the root.
	Workdir string `toml:"workdir" default:"the image's, else /"`
	// Env holds KEY = "value"; it is all the environment that the application gets.
	Env map[string]string `toml:"env"`
	// Hostname is the UTS name inside.
	Hostname string `toml:"hostname" default:"hutch"`
	// StopSignal is sent at a timeout, before the grace period: "SIGINT", "INT" or "2".
	StopSignal string `toml:"stop_signal" default:"the image's, else SIGTERM"`
	// Init keeps a reaper as process 1.
	Init *bool `toml:"init" default:"true"`
}

// Namespaces says how the box's namespaces are made. A mount, PID, IPC, UTS,
// cgroup and user namespace are always the box's own; Network says which
// network it has.
type Namespaces struct {
	// IDMap is "single" (one id: the caller's), "range" (65536 ids) or "auto",
	// user_namespaces(7).
	IDMap string `toml:"id_map" default:"auto"`
}

// Filesystem says what is mounted where.
type Filesystem struct {
	// ReadOnly forbids all writes to the root.
	ReadOnly *bool `toml:"read_only" default:"false"`
	// Disk caps the throw-away overlay, in bytes ("512M").
	Disk Size `toml:"disk" default:"1G"`
	// Inodes caps the number of files in the overlay.
	Inodes int64 `toml:"inodes" default:"262144"`
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
	// Bytes of memory of all processes together, caches included.
	Memory Size `toml:"memory"`
	// Bytes of swap on top of memory.
	Swap *Size `toml:"swap" default:"0 with memory"`
	// CPUs is processor time, in processors' worth.
	CPUs float64 `toml:"cpus"`
	// CPUWeight is the share of busy processors, 1 to 10000; the kernel's is 100.
	CPUWeight int64 `toml:"cpu_weight"`
	// CPUSet names the processors to run on, as "0-1,3".
	CPUSet string `toml:"cpuset"`
	// Processes and threads together.
	Processes int64 `toml:"pids"`
	// Open files of one process.
	OpenFiles int64 `toml:"open_files" default:"the caller's"`
	// Size of any one file that is written.
	FileSize Size `toml:"file_size" default:"the caller's"`
	// Size of a core file; 0 for none.
	CoreSize *Size `toml:"core_size" default:"the caller's"`
	// Timeout ends the run after that time on the clock.
	Timeout Duration `toml:"timeout"`
	// Grace passes between the stop signal and the end at a timeout.
	Grace Duration `toml:"grace" default:"10s"`
	// Processor time of all processes together, after which the run ends.
	CPUTime Duration `toml:"cpu_time"`
	// Bytes on standard output and error together, after which the run ends.
	Output Size `toml:"output_limit"`
	// IORead is "[DEV:]BYTES" a second, of one disk or each.
	IORead []string `toml:"io_read"`
	// IOWrite is "[DEV:]BYTES" a second.
	IOWrite []string `toml:"io_write"`
	// IOReadOps is "[DEV:]N" a second.
	IOReadOps []string `toml:"io_read_ops"`
	// IOWriteOps is "[DEV:]N" a second.
	IOWriteOps []string `toml:"io_write_ops"`
}

// Capabilities names what the application keeps, as "CAP_CHOWN" or "chown".
type Capabilities struct {
	// Keep is the whole list; without it that for the kind of root holds.
	Keep []string `toml:"keep" default:"by the kind of root"`
	// Add adds to the list that would hold without it.
	Add []string `toml:"add"`
	// Drop takes out of the list that would hold without it; it undoes Add of a farther profile.
	Drop []string `toml:"drop"`
}

// Network says which network the application sees.
type Network struct {
	// Mode is "none" (a private network with only loopback) or "host".
	Mode string `toml:"mode" default:"none"`
}

// Landlock says which Landlock layers are wanted. A nil pointer means the
// layer is preferred and left out, by name, on a kernel that lacks it; true
// means required, false means not wanted.
//
// The lists make a layer of their own, which only takes away. A list that is
// not said narrows nothing, an empty one leaves nothing; each that is said is
// required. Every path stands for itself and all below it.
type Landlock struct {
	// Filesystem narrows a host root to its mounts; true requires it, false does without.
	Filesystem *bool `toml:"filesystem" default:"preferred"`
	// Scopes keeps signals and abstract sockets inside; true requires it, false does without.
	Scopes *bool `toml:"scopes" default:"preferred"`
	// Read is all that may be read: files, and the names in directories. Linux 5.19.
	Read []string `toml:"read" default:"not narrowed"`
	// List is where the names in directories may be read, and no file. Linux 5.19.
	List []string `toml:"list" default:"as read"`
	// Write is all that may be written, made, removed, renamed or cut. Linux 6.2.
	Write []string `toml:"write" default:"not narrowed"`
	// Execute is all that may be executed, and read for it: programs, their
	// interpreters and loaders; libraries are read. Linux 5.19.
	Execute []string `toml:"execute" default:"not narrowed"`
	// Connect lists the TCP ports, of any host, that may be connected to. Linux 6.7.
	Connect []uint16 `toml:"connect" default:"not narrowed"`
	// Bind lists the TCP ports that may be bound; 0 is one that the kernel chooses. Linux 6.7.
	Bind []uint16 `toml:"bind" default:"not narrowed"`
}
