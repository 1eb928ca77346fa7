package work

import (
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Inside is what an application can see of where it is.
type Inside struct {
	Kernel      string `json:"kernel"`
	CommandLine string `json:"kernel_command_line"`
	// BootID tells one running kernel from another, random(4).
	BootID      string `json:"boot_id"`
	Processors  int    `json:"processors"`
	MemoryBytes int64  `json:"memory_bytes"`
	// Namespaces holds the identity of each, namespaces(7).
	Namespaces map[string]string `json:"namespaces"`
	// Capabilities is how many are in the bounding set, Effective how many in force.
	Capabilities int  `json:"capabilities"`
	Effective    int  `json:"effective_capabilities"`
	Seccomp      bool `json:"seccomp"`
	NoNewPrivs   bool `json:"no_new_privs"`
	// Devices and BlockDevices are how many nodes /dev shows.
	Devices      int `json:"devices"`
	BlockDevices int `json:"block_devices"`
	// Mounts is how many file systems are mounted.
	Mounts int `json:"mounts"`
	// HostFiles is how many of the directories of the host that hold its users'
	// and services' data are there with something in them.
	HostFiles int `json:"host_directories"`
}

// hostDirectories are where a host keeps what is nobody else's business.
var hostDirectories = [...]string{"/home", "/root", "/run", "/var/lib", "/var/log", "/boot", "/sys/kernel", "/srv"}

// Look finds that out. What cannot be read stays zero.
func Look() Inside {
	in := Inside{Processors: Processors(), Namespaces: map[string]string{}}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		in.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	in.CommandLine = text("/proc/cmdline")
	in.BootID = text("/proc/sys/kernel/random/boot_id")
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		in.MemoryBytes = int64(uint64(info.Totalram) * uint64(info.Unit))
	}
	for _, ns := range []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"} {
		if link, err := os.Readlink("/proc/self/ns/" + ns); err == nil {
			in.Namespaces[ns] = link
		}
	}
	in.status()
	in.devices()
	in.Mounts = strings.Count(text("/proc/self/mountinfo")+"\n", "\n")
	for _, d := range hostDirectories {
		if list, err := os.ReadDir(d); err == nil && len(list) > 0 {
			in.HostFiles++
		}
	}
	return in
}

func text(name string) string {
	data, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// status reads /proc/self/status, proc_pid_status(5).
func (in *Inside) status() {
	for line := range strings.Lines(text("/proc/self/status")) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		set, _ := strconv.ParseUint(value, 16, 64)
		switch key {
		case "CapBnd":
			in.Capabilities = bits.OnesCount64(set)
		case "CapEff":
			in.Effective = bits.OnesCount64(set)
		case "Seccomp":
			in.Seccomp = value != "0"
		case "NoNewPrivs":
			in.NoNewPrivs = value == "1"
		}
	}
}

// devices counts the nodes of /dev, but for the terminals.
func (in *Inside) devices() {
	filepath.WalkDir("/dev", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil
		case d.IsDir() && path == "/dev/pts":
			return fs.SkipDir
		}
		// A node that is bound has another type in its directory.
		st, err := os.Stat(path)
		if err == nil && st.Mode()&fs.ModeDevice != 0 && d.Type()&fs.ModeSymlink == 0 {
			in.Devices++
			if st.Mode()&fs.ModeCharDevice == 0 {
				in.BlockDevices++
			}
		}
		return nil
	})
}
