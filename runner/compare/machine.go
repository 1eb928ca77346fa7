package compare

import (
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/runner/compare/work"
)

// Machine discloses the host: what the numbers depend on and a reader cannot
// see from them. What could not be found out is "".
type Machine struct {
	Kernel      string `json:"kernel"`
	CommandLine string `json:"kernel_command_line"`
	Processor   string `json:"processor"`
	Processors  int    `json:"processors"`
	// Hypervisor says that the host is a guest itself.
	Hypervisor bool `json:"hypervisor"`
	// Mitigations are those of /sys/devices/system/cpu/vulnerabilities.
	Mitigations []string `json:"mitigations"`
	Governor    string   `json:"governor"`
	MemoryBytes float64  `json:"memory_bytes"`
	FileSystem  string   `json:"file_system"`
	Disk        string   `json:"disk"`
	Cgroup      string   `json:"cgroup"`
	// KVM says that /dev/kvm opens, which does not say that it is of use.
	KVM bool `json:"dev_kvm_opens"`
	// Load is the number of processes that ran when the comparison began.
	Load string `json:"load_average"`
}

// thisMachine looks at the host; disk is a directory on the disk that is
// measured.
func thisMachine(disk string) Machine {
	m := Machine{
		CommandLine: firstLine("/proc/cmdline"), Processors: work.Processors(),
		MemoryBytes: meminfo("MemTotal:"), Load: firstLine("/proc/loadavg"),
		Governor:   firstLine("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
		FileSystem: fileSystem(disk), Disk: diskModel(disk), Cgroup: cgroupVersion(),
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
	}
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			m.Processor = strings.TrimSpace(value)
		case "flags":
			m.Hypervisor = strings.Contains(value, " hypervisor")
		}
	}
	names, _ := filepath.Glob("/sys/devices/system/cpu/vulnerabilities/*")
	sort.Strings(names)
	for _, n := range names {
		m.Mitigations = append(m.Mitigations, filepath.Base(n)+": "+firstLine(n))
	}
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
		f.Close()
		m.KVM = true
	}
	return m
}

func firstLine(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}

// fileSystem is the type of the file system that holds path.
func fileSystem(path string) string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	best, kind := "", ""
	for line := range strings.Lines(string(text)) {
		before, after, _ := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if len(f) < 5 || len(g) < 1 {
			continue
		}
		at := f[4]
		if (at == "/" || path == at || strings.HasPrefix(path, at+"/")) && len(at) >= len(best) {
			best, kind = at, g[0]
		}
	}
	return kind
}

// diskModel names the disk under path, with what it says of itself.
func diskModel(path string) string {
	name := diskName(path)
	if name == "" {
		return ""
	}
	link, _ := filepath.EvalSymlinks("/sys/class/block/" + name)
	whole := name
	if firstLine(link+"/partition") != "" {
		whole = filepath.Base(filepath.Dir(link))
	}
	parts := []string{name}
	if model := firstLine("/sys/class/block/" + whole + "/device/model"); model != "" {
		parts = append(parts, model)
	}
	if firstLine("/sys/class/block/"+whole+"/queue/rotational") == "1" {
		parts = append(parts, "rotational")
	}
	if cache := firstLine("/sys/class/block/" + whole + "/queue/write_cache"); cache != "" {
		parts = append(parts, cache)
	}
	return strings.Join(parts, ", ")
}

func cgroupVersion() string {
	var st unix.Statfs_t
	if unix.Statfs("/sys/fs/cgroup", &st) != nil {
		return "none"
	}
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		return "v2"
	}
	if unix.Statfs("/sys/fs/cgroup/unified", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
		return "hybrid"
	}
	return "v1"
}
