// Package uml is the engine of User Mode Linux: a kernel that is an ordinary
// process, without any privilege, and in it the engine of namespaces.
package uml

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/guest"
	"hutch/runner/host"
)

// KernelVar names the environment variable with the path of a kernel.
const KernelVar = "HUTCH_UML_KERNEL"

// kernelName is what distributions call it.
const kernelName = "linux.uml"

// An Engine starts guests.
type Engine struct {
	// Box is the engine in whose boxes the kernel's process runs. Required.
	Box runner.Engine
	// Filter is what the kernel's process may ask of the host's: that of the
	// profile uml.
	Filter runner.Seccomp
	// Kernel is the path of the kernel; empty: $HUTCH_UML_KERNEL, else the first
	// of Kernels that is there, else linux.uml in PATH.
	Kernel  string
	Kernels []string
	// Cache is a directory of the caller's for what is built once.
	Cache string
	// Store keeps the images of layers; empty: the default one.
	Store string
	// Guest opens the program that becomes process 1 of the guest, hutch-guest,
	// which the program that is running carries. Required, or Init.
	Guest func() (io.ReadCloser, error)
	// Init is a file to take in its place.
	Init string
	// Kept is the image of what is kept of earlier runs, see rootfs.KeptImage; empty:
	// nothing is. What is written comes back as a layer where the Spec keeps it.
	Kept string
	// Copy is what is copied in and out where the Spec says so.
	Copy guest.Copy
	// Boot and Answer bound how long a guest may take, as in guest.Machine.
	Boot, Answer time.Duration
}

// Name is "uml".
func (*Engine) Name() string { return "uml" }

// Probe says whether there is a kernel.
func (e *Engine) Probe(f host.Facts) runner.Support {
	if _, err := e.findKernel(); err != nil {
		return runner.Support{Reason: err.Error(), Remedy: runner.Hint(err)}
	}
	return e.Box.Probe(f)
}

// findKernel is the absolute path of the kernel.
func (e *Engine) findKernel() (string, error) {
	name, from := e.Kernel, "--kernel"
	if name == "" {
		name, from = os.Getenv(KernelVar), "$"+KernelVar
	}
	for _, k := range e.Kernels {
		if name == "" && executable(k) == nil {
			return k, nil
		}
	}
	var path string
	var err error
	if name == "" {
		name, from = kernelName, "PATH"
		path, err = exec.LookPath(name)
	} else if path, err = filepath.Abs(name); err == nil {
		err = executable(path)
	}
	if err == nil {
		return path, nil
	}
	var why *exec.Error
	if errors.As(err, &why) {
		err = why.Err
	}
	hint := "as root: apt-get install user-mode-linux, or name a kernel with --kernel FILE"
	if errors.Is(err, os.ErrPermission) {
		hint = "it must be a User Mode Linux kernel, which is a program: chmod +x, or name another with --kernel FILE"
	}
	return "", &runner.Error{Stage: runner.StageStart, Step: "kernel " + name + " of " + from, Err: err, Hint: hint}
}

// executable says why a file cannot be executed.
func executable(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("it is not a file")
	}
	return unix.Access(path, unix.X_OK)
}

// Start boots a guest and runs s in it.
func (e *Engine) Start(ctx context.Context, s *runner.Spec, stdio runner.Stdio) (runner.Process, error) {
	if err := guest.Refuse(s); err != nil {
		return nil, err
	}
	path, err := e.findKernel()
	if err != nil {
		return nil, err
	}
	k, err := inspect(path, e.Cache)
	if err != nil {
		return nil, err
	}
	root := guest.Initramfs{Init: e.Init, Modules: k.Modules, Dir: e.Cache}
	if e.Init == "" && e.Guest != nil {
		root.Init, root.Program = "/proc/self/exe", e.Guest
	}
	initramfs, err := root.Path()
	if err != nil {
		return nil, err
	}
	layers, err := guest.PrepareLayers(ctx, e.Kept, s.Root.Lowers, e.Store, maxDisks)
	if err != nil {
		return nil, err
	}
	l := layout{kernel: path, initramfs: initramfs, memory: guestMemory(s), disks: layers.Paths()}
	if err := l.fits(); err != nil {
		layers.Close()
		return nil, err
	}
	config := l.translate(s)
	config.CopyLimit = e.Copy.Limit
	spool, err := e.Copy.Spool(s, e.Cache)
	if err != nil {
		layers.Close()
		return nil, err
	}
	defer spool.Close()
	if spool != nil {
		l.copies, config.CopyDisk = spool.Path, ubd(len(l.disks))
	}
	box, err := e.box(&l)
	if err != nil {
		layers.Close()
		return nil, err
	}
	m, err := e.boot(ctx, box)
	if err != nil {
		layers.Close()
		return nil, err
	}
	release := host.Together(m.Process.PID())
	m.Release = func() error {
		release()
		return layers.Close()
	}
	p, err := guest.Start(ctx, m, config, stdio)
	if err != nil {
		return nil, fewProcesses(err)
	}
	return p, nil
}

// boot starts the kernel in its box.
func (e *Engine) boot(ctx context.Context, box *guest.Box) (guest.Machine, error) {
	m, _, err := box.Start(ctx)
	m.Engine, m.Terminal, m.Boot, m.Answer, m.Memory = e.Name(), true, e.Boot, e.Answer, box.Memory
	return m, err
}

// delayLoops is how often a delay of a tick turns round, "lpj" in
// kernel-parameters.txt. Told nothing the kernel counts for 40 to 100 ms, a third
// of a small kernel's start. Twice what fast processors need: a delay may be
// longer than a driver asks for, never shorter, and nothing here asks for one.
const delayLoops = "lpj=40000000"

// args is the kernel's command line. Nothing of it comes from an image.
func (l *layout) args() []string {
	args := []string{
		"mem=" + strconv.FormatInt(l.memory>>20, 10) + "M",
		"initrd=" + boxInitramfs,
		// The channel is the first serial line, on the box's standard input and
		// output; the console goes to its standard error.
		"con=null", "con0=null,fd:2", "ssl=null", "ssl0=fd:0,fd:1",
		"HUTCH_GUEST=/dev/ttyS0",
		"quiet", "panic=-1", "noreboot", delayLoops, "umid=hutch", "uml_dir=/tmp/uml",
	}
	for i := range l.disks {
		// Read-only, and not locked: guests share it.
		args = append(args, fmt.Sprintf("ubd%drc=%s/%d", i, boxDisks, i))
	}
	if l.copies != "" {
		args = append(args, fmt.Sprintf("ubd%drc=%s", len(l.disks), boxCopies))
	}
	return args
}
