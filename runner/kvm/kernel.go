package kvm

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/guest"
)

// KernelVar names the environment variable with the path of a kernel.
const KernelVar = "HUTCH_KVM_KERNEL"

// getKernel is what to do about a kernel that will not do.
const getKernel = "make guest-kernel gets Debian's, make guest-kernels builds a small one; or name another with --kernel FILE"

// A kernel is what is known of one.
type kernel struct {
	Path    string   `json:"path"`
	Release string   `json:"release"`
	Config  Config   `json:"config"`
	Loaded  []string `json:"loaded"` // options that are modules, as their names
	Modules string   `json:"modules"`
}

// option is one that the kernel must have been built with.
type option struct {
	name string
	// module is what to load where the option is =m; "" where it must be =y.
	module string
	why    string
}

// options is what every guest needs. To add one: a line here.
var options = [...]option{
	{"BLK_DEV_INITRD", "", "the initial root"},
	{"BINFMT_ELF", "", "programs"},
	{"DEVTMPFS", "", "devices"},
	{"PROC_FS", "", "/proc"},
	{"SYSFS", "", "/sys"},
	{"TMPFS", "", "/tmp and what is written to the root"},
	{"SERIAL_8250_CONSOLE", "", "the console"},
	{"VIRTIO_CONSOLE", "virtio_console", "the channel to the host"},
	{"VIRTIO_BLK", "virtio_blk", "disks"},
	{"EROFS_FS", "erofs", "the root's layers"},
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

// KernelPath is the kernel that a guest would boot, or why there is none.
func (e *Engine) KernelPath() (string, error) { return e.findKernel() }

// findKernel is the path of the kernel: the one that was named, the
// configured one, the small one that was built, Debian's that was fetched, or
// the host's own.
func (e *Engine) findKernel() (string, error) {
	name, from := e.Kernel, "--kernel"
	if name == "" {
		name, from = os.Getenv(KernelVar), "$"+KernelVar
	}
	if name != "" {
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
			if err == nil {
				err = errors.New("is not a regular file")
			}
			return "", &runner.Error{Stage: runner.StageStart, Step: "kernel " + name + " of " + from, Err: bare(err), Hint: getKernel}
		}
		return filepath.Abs(name)
	}
	var tried []string
	for _, pattern := range e.Kernels {
		list, _ := filepath.Glob(pattern)
		if len(list) > 0 {
			return list[len(list)-1], nil
		}
		tried = append(tried, pattern)
	}
	own := "/boot/vmlinuz-" + hostRelease()
	if f, err := os.Open(own); err == nil {
		f.Close()
		return own, nil
	}
	return "", &runner.Error{
		Stage: runner.StageStart, Step: "there is no guest kernel: not " + strings.Join(append(tried, own), ", not "), Hint: getKernel,
	}
}

func bare(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func hostRelease() string {
	var u unix.Utsname
	unix.Uname(&u)
	return unix.ByteSliceToString(u.Release[:])
}

// inspectKernel finds out what a kernel can do, once for each file.
func (e *Engine) inspectKernel(path string) (*kernel, error) {
	k := &kernel{}
	err := remember(e.Cache, "kernel", path, k, func() error { return k.inspect(path) })
	if err != nil {
		return nil, err
	}
	return k, nil
}

func (k *kernel) inspect(path string) error {
	fail := func(err error, hint string) error {
		return &runner.Error{Stage: runner.StageStart, Step: "kernel " + path, Err: err, Hint: hint}
	}
	f, err := os.Open(path)
	if err != nil {
		return fail(bare(err), "name a file that you can read; distributions let only root read /boot/vmlinuz-*")
	}
	defer f.Close()
	k.Path = path
	if k.Release, err = release(f); err != nil {
		return fail(err, getKernel)
	}
	config, err := findConfig(path, k.Release)
	if err != nil {
		return fail(err, "put its configuration beside it, as "+filepath.Base(path)+".config")
	}
	missing := ""
	if k.Config, k.Loaded, missing = parseConfig(config); missing != "" {
		return fail(errors.New(missing), getKernel)
	}
	k.Modules = findModules(path, k.Release)
	return nil
}

// release tells a kernel for this architecture from anything else, and is its
// release where the file says one. The header of a compressed kernel is in
// Linux, Documentation/arch/x86/boot.rst.
func release(f *os.File) (string, error) {
	head := make([]byte, 0x250)
	if _, err := io.ReadFull(f, head); err != nil {
		return "", errors.New("it is too short for a kernel")
	}
	if bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		return elfKernel(f)
	}
	if runtime.GOARCH == "arm64" || !bytes.Equal(head[0x202:0x206], []byte("HdrS")) {
		if bytes.Equal(head[0x38:0x3c], []byte("ARM\x64")) {
			return "", errors.New("it is a kernel for arm64, and this machine is not")
		}
		return "", errors.New("it is no kernel for x86-64: neither a bzImage nor an ELF file")
	}
	// xloadflags, bit 0: there is a 64-bit entry.
	if binary.LittleEndian.Uint16(head[0x236:])&1 == 0 {
		return "", errors.New("it is a kernel for 32 bits")
	}
	at := int64(binary.LittleEndian.Uint16(head[0x20e:])) + 0x200
	text := make([]byte, 256)
	n, _ := f.ReadAt(text, at)
	word, _, _ := bytes.Cut(text[:n], []byte(" "))
	return string(word), nil
}

// elfKernel looks at a vmlinux, which QEMU starts by its PVH entry.
func elfKernel(f *os.File) (string, error) {
	e, err := elf.NewFile(f)
	if err != nil {
		return "", err
	}
	if e.Machine != elf.EM_X86_64 {
		return "", fmt.Errorf("it is for %s, and this machine is not", e.Machine)
	}
	const pvhEntry = 18 // XEN_ELFNOTE_PHYS32_ENTRY
	for _, p := range e.Progs {
		if p.Type != elf.PT_NOTE || p.Filesz > 1<<16 {
			continue
		}
		note := make([]byte, p.Filesz)
		if _, err := p.ReadAt(note, 0); err == nil && bytes.Contains(note, append([]byte{pvhEntry, 0, 0, 0}, "Xen\x00"...)) {
			return "", nil
		}
	}
	return "", errors.New("it was built without CONFIG_PVH, which starting a vmlinux needs")
}

// findConfig reads the configuration: FILE.config, or config-RELEASE beside it
// as Debian has it.
func findConfig(path, release string) (string, error) {
	names := []string{path + ".config"}
	if release != "" {
		names = append(names, filepath.Join(filepath.Dir(path), "config-"+release))
	}
	for _, name := range names {
		if data, err := os.ReadFile(name); err == nil {
			return "\n" + string(data), nil
		}
	}
	return "", fmt.Errorf("its configuration is not beside it (%s)", strings.Join(names, ", "))
}

// parseConfig holds a configuration against what is needed. missing says
// which option is not there.
func parseConfig(text string) (c Config, loaded []string, missing string) {
	get := func(name string) byte {
		switch {
		case strings.Contains(text, "\nCONFIG_"+name+"=y\n"):
			return 'y'
		case strings.Contains(text, "\nCONFIG_"+name+"=m\n"):
			return 'm'
		default:
			return 0
		}
	}
	if get("X86_64") == 0 {
		return c, nil, "its configuration is not for x86-64"
	}
	// EROFS and overlay ask for this by what it does, which no list of modules
	// says.
	if get("CRYPTO_CRC32C") == 'm' {
		loaded = append(loaded, "crc32c_generic")
	}
	for _, o := range options {
		switch v := get(o.name); {
		case v == 'y':
		case v == 'm' && o.module != "":
			loaded = append(loaded, o.module)
		default:
			return c, nil, fmt.Sprintf("it was built without CONFIG_%s, which %s needs", o.name, o.why)
		}
	}
	c = Config{
		VirtioMMIO: get("VIRTIO_MMIO"), CommandLineDevices: get("VIRTIO_MMIO_CMDLINE_DEVICES"),
		VirtioPCI: get("VIRTIO_PCI"), ACPI: get("ACPI"), P9: min(get("9P_FS"), get("NET_9P_VIRTIO")), VirtioFS: get("VIRTIO_FS"),
	}
	return c, loaded, ""
}

// findModules is the kernel's directory of modules: beside a kernel that was
// unpacked, or the system's.
func findModules(path, release string) string {
	if release == "" {
		return ""
	}
	root := filepath.Dir(filepath.Dir(path)) // of …/boot/vmlinuz
	for _, dir := range []string{filepath.Join(root, "lib/modules"), filepath.Join(root, "usr/lib/modules"), "/lib/modules"} {
		dir = filepath.Join(dir, release)
		if info, err := os.Stat(filepath.Join(dir, "modules.dep")); err == nil && info.Mode().IsRegular() {
			return dir
		}
	}
	return ""
}

// modules is the files to load, in order.
func (k *kernel) modules(more ...string) ([]string, error) {
	names := append(append([]string{}, more...), k.Loaded...)
	if len(names) == 0 {
		return nil, nil
	}
	fail := func(err error) error {
		return &runner.Error{
			Stage: runner.StageStart, Step: "kernel " + k.Path, Err: err,
			Hint: "its modules must be those of exactly this kernel, and depmod must have seen them; " + getKernel,
		}
	}
	if k.Modules == "" {
		return nil, fail(fmt.Errorf("there are no modules for release %s", k.Release))
	}
	list, err := guest.Modules(k.Modules, names...)
	if err != nil {
		return nil, fail(err)
	}
	return list, nil
}
