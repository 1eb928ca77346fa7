package uml

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/guest"
)

// An option is one that the kernel must have been built with.
type option struct {
	name string
	// module is what to load where the option is =m; "" where it must be =y.
	module string
	why    string
}

// options is what a guest needs. To add one: a line here.
var options = [...]option{
	{"BLK_DEV_INITRD", "", "the initial root"},
	{"BINFMT_ELF", "", "programs"},
	{"DEVTMPFS", "", "devices"},
	{"PROC_FS", "", "/proc"},
	{"SYSFS", "", "/sys"},
	{"TMPFS", "", "/tmp and what is written to the root"},
	{"SSL", "", "the channel to the host"},
	{"UNIX98_PTYS", "", "terminals"},
	{"HOSTFS", "", "shares"},
	{"BLK_DEV_UBD", "", "disks"},
	{"EROFS_FS", "erofs", "the layers of the root"},
	{"OVERLAY_FS", "overlay", "what is written to the root"},
	{"USER_NS", "", "the box"},
	{"PID_NS", "", "the box"},
	{"NET_NS", "", "the box"},
	{"IPC_NS", "", "the box"},
	{"UTS_NS", "", "the box"},
	{"SECCOMP_FILTER", "", "the filter"},
	{"CGROUPS", "", "limits"},
	{"MEMCG", "", "the limit of memory"},
	{"CGROUP_PIDS", "", "the limit of processes"},
}

// A kernel is what is known of one.
type kernel struct {
	Release string   `json:"release"`
	Modules []string `json:"modules"` // to load, in order
}

// inspect asks a kernel for its release and configuration, once: the answer
// is kept in cache under what tells one file from another.
func inspect(path, cache string) (kernel, error) {
	fail := func(err error, hint string) (kernel, error) {
		return kernel{}, &runner.Error{Stage: runner.StageStart, Step: "kernel " + path, Err: err, Hint: hint}
	}
	key, err := identity(path)
	if err != nil {
		return fail(err, "name a file that can be read")
	}
	saved := filepath.Join(cache, "kernel-"+key+".json")
	var k kernel
	if data, err := os.ReadFile(saved); err == nil && json.Unmarshal(data, &k) == nil && k.present() {
		return k, nil
	}
	// Before it is run: a file for another architecture says "exec format error".
	if _, err := guest.Libraries(path); err != nil {
		return kernel{}, err
	}
	release, err := guest.Ask(path, "--version")
	if err != nil {
		return fail(err, "it must be a User Mode Linux kernel for this machine's architecture, as in Debian's package user-mode-linux")
	}
	config, err := guest.Ask(path, "--showconfig")
	if err != nil {
		return fail(err, "it must be a User Mode Linux kernel for this machine's architecture, as in Debian's package user-mode-linux")
	}
	k.Release = strings.TrimSpace(release)
	modules, err := check(config)
	if err != nil {
		return fail(err, "build it with that option, or use Debian's package user-mode-linux")
	}
	if len(modules) > 0 {
		dir, err := modulesDir(path, k.Release)
		if err == nil {
			k.Modules, err = guest.Modules(dir, modules...)
		}
		if err != nil {
			return fail(err, "install the modules of exactly this kernel, or build those into it: "+strings.Join(modules, ", "))
		}
	}
	keep(saved, k)
	return k, nil
}

// present says whether the modules are still where they were.
func (k kernel) present() bool {
	for _, m := range k.Modules {
		if _, err := os.Stat(m); err != nil {
			return false
		}
	}
	return k.Release != ""
}

// keep writes the answer down; a cache that cannot be written is only slower.
func keep(name string, k kernel) {
	data, err := json.Marshal(k)
	if err != nil || os.MkdirAll(filepath.Dir(name), 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".kernel-*")
	if err != nil {
		return
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err != nil || cerr != nil || os.Rename(f.Name(), name) != nil {
		os.Remove(f.Name())
	}
}

// identity is a digest of what tells one file from another without reading
// it; nobody can set the time of a file's last change back.
func identity(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", err
	}
	h := sha256.Sum256(fmt.Appendf(nil, "%d:%d %d %d.%d %q", st.Dev, st.Ino, st.Size, st.Ctim.Sec, st.Ctim.Nsec, path))
	return hex.EncodeToString(h[:16]), nil
}

// check holds a configuration against options and is the modules to load.
func check(config string) ([]string, error) {
	var modules []string
	config = "\n" + config
	if !strings.Contains(config, "\nCONFIG_UML=y\n") {
		return nil, errors.New("it is not a User Mode Linux kernel")
	}
	for _, o := range options {
		switch {
		case strings.Contains(config, "\nCONFIG_"+o.name+"=y\n"):
		case o.module != "" && strings.Contains(config, "\nCONFIG_"+o.name+"=m\n"):
			modules = append(modules, o.module)
		default:
			return nil, fmt.Errorf("it was built without CONFIG_%s, which %s needs", o.name, o.why)
		}
	}
	return modules, nil
}

// modulesDir is where the modules of a kernel are: beside it, or where
// Debian puts them.
func modulesDir(path, release string) (string, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	for _, dir := range []string{filepath.Join(filepath.Dir(path), "modules"), "/usr/lib/uml/modules", "/lib/modules"} {
		if dir = filepath.Join(dir, release); isDir(dir) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("there are no modules for release %s", release)
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// KernelPath is the kernel that a guest would boot, or why there is none.
func (e *Engine) KernelPath() (string, error) { return e.findKernel() }
