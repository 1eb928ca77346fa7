// Package kvm is the engine of full guests: QEMU, with KVM or, asked for by
// name, with TCG, which emulates; and in the guest the engine of namespaces.
package kvm

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"hutch/runner"
	"hutch/runner/guest"
	"hutch/runner/host"
)

// An Engine starts guests.
type Engine struct {
	// Box is the engine in whose boxes QEMU's process runs. Required.
	Box runner.Engine
	// Filter is what QEMU's process may ask of the host's kernel: that of the
	// profile kvm.
	Filter runner.Seccomp
	// Accel is AccelKVM, which is the default, or AccelTCG.
	Accel string
	// VCPUs is the number of the guest's processors; 0: as many as the limit of
	// processor time has room for, else one.
	VCPUs int
	// Kernel is the path of the guest's kernel; empty: $HUTCH_KVM_KERNEL, else
	// the last file of the first of the patterns Kernels that matches anything,
	// else the host's own.
	Kernel  string
	Kernels []string
	// Cache is a directory of the caller's for what is built once.
	Cache string
	// Store is the store's directory, for the disks; empty: the default one.
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

// Name is "kvm", or "tcg" for guests that are emulated.
func (e *Engine) Name() string {
	if e.Accel == AccelTCG {
		return "tcg"
	}
	return "kvm"
}

// Probe says whether there is a QEMU, a kernel, and a KVM that works: a guest
// is booted to its first message.
func (e *Engine) Probe(f host.Facts) runner.Support {
	err := e.probe(context.Background())
	if err != nil {
		return runner.Support{Reason: err.Error(), Remedy: runner.Hint(err)}
	}
	return e.Box.Probe(f)
}

// A prepared guest is all that is needed to boot one.
type prepared struct {
	plan      guestPlan
	kernel    string
	initramfs string
	qemu      *qemu
}

// Start boots a guest and runs s in it.
func (e *Engine) Start(ctx context.Context, s *runner.Spec, stdio runner.Stdio) (runner.Process, error) {
	if err := guest.Refuse(s); err != nil {
		return nil, err
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	layers, err := guest.PrepareLayers(ctx, e.Kept, lowers(s), e.Store, pciDevices)
	if err != nil {
		return nil, err
	}
	p, err := e.start(ctx, s, layers, stdio)
	if err != nil {
		layers.Close()
		return nil, err
	}
	return p, nil
}

// lowers are the layers that become disks: of a host root none.
func lowers(s *runner.Spec) []string {
	if s.Root.Kind == runner.RootHost {
		return nil
	}
	return s.Root.Lowers
}

func (e *Engine) start(ctx context.Context, s *runner.Spec, layers *guest.Layers, stdio runner.Stdio) (runner.Process, error) {
	l := translate(s, layers.Paths())
	l.config.Sources, l.config.CopyLimit = e.Copy.Sources, e.Copy.Limit
	g, err := e.prepare(1+len(l.config.Disks)+len(l.shares), len(l.shares) > 0)
	if err != nil {
		return nil, err
	}
	g.plan.memory, g.plan.vcpus = guestMemory(s), e.vcpus(s)
	g.plan.disks, g.plan.shares = len(l.config.Disks), l.shares
	if p, err := e.restore(ctx, g, l, layers, stdio); p != nil || err != nil {
		return p, err
	}
	m, watch, err := e.boot(ctx, g, l.files, booted, nil)
	if err != nil {
		return nil, err
	}
	m.Release = layers.Close
	p, err := guest.Start(ctx, m, l.config, stdio)
	if err != nil {
		return nil, watch.explain(err)
	}
	return p, nil
}

// check refuses what no guest can be.
func (e *Engine) check() error {
	if e.Accel != "" && e.Accel != AccelKVM && e.Accel != AccelTCG {
		return &runner.Error{Stage: runner.StageStart, Step: fmt.Sprintf("there is no accelerator %q", e.Accel), Hint: "it is kvm, or tcg, which emulates"}
	}
	if e.VCPUs < 0 || e.VCPUs > MaxVCPUs {
		return &runner.Error{Stage: runner.StageStart, Step: fmt.Sprintf("a guest with %d processors", e.VCPUs), Hint: "give it 1 to " + strconv.Itoa(MaxVCPUs)}
	}
	return nil
}

// MaxVCPUs is the most processors of a guest: what the small kernel is built
// for.
const MaxVCPUs = 8

func (e *Engine) vcpus(s *runner.Spec) int {
	if e.VCPUs > 0 {
		return e.VCPUs
	}
	n := int(s.Limits.CPUs)
	if float64(n) < s.Limits.CPUs {
		n++
	}
	return min(max(n, 1), MaxVCPUs)
}

// prepare finds QEMU and the kernel, chooses the machine, and builds the
// initial root.
func (e *Engine) prepare(devices int, shares bool) (*prepared, error) {
	q, err := findQEMU(e.Cache)
	if err != nil {
		return nil, err
	}
	path, err := e.findKernel()
	if err != nil {
		return nil, err
	}
	k, err := e.inspectKernel(path)
	if err != nil {
		return nil, err
	}
	if shares && k.Config.P9 == 0 {
		return nil, &runner.Error{
			Stage: runner.StageStart, Step: "kernel " + path + " was built without CONFIG_9P_FS and CONFIG_NET_9P_VIRTIO, which --bind and a host root need",
			Hint: "make guest-kernel FLAVOUR=amd64 gets one that has them, make guest-kernels builds one; or give a directory or a tar as the root, and no --bind",
		}
	}
	accel := e.Accel
	if accel == "" {
		accel = AccelKVM
	}
	m, err := Choose(Facts{Accel: accel, QEMU: q.Version, Microvm: q.Microvm, Kernel: k.Config, Devices: devices})
	if err != nil {
		return nil, err
	}
	needed := m.Modules
	if shares && k.Config.P9 == 'm' {
		needed = append(needed, "9pnet_virtio", "9p")
	}
	modules, err := k.modules(needed...)
	if err != nil {
		return nil, err
	}
	root := guest.Initramfs{Init: e.Init, Modules: modules, Dir: e.Cache}
	if e.Init == "" && e.Guest != nil {
		root.Init, root.Program = "/proc/self/exe", e.Guest
	}
	initramfs, err := root.Path()
	if err != nil {
		return nil, err
	}
	return &prepared{
		plan:   guestPlan{qemu: q.Path, accel: accel, machine: m, vcpus: 1, memory: defaultMemory},
		kernel: path, initramfs: initramfs, qemu: q,
	}, nil
}

// boot starts QEMU in its box. Its standard input is in, or nothing.
func (e *Engine) boot(ctx context.Context, g *prepared, files []runner.Mount, l life, in *os.File) (guest.Machine, *watch, error) {
	box := guest.Box{
		Engine: e.Box, Command: g.plan.args(l), Socket: true, Input: in,
		Files:  append(guest.ReadOnly(g.qemu.Files...), files...),
		Memory: g.plan.memory, Overhead: overhead, Processes: processes,
		Seccomp: e.Filter, Cache: e.Cache,
	}
	for _, f := range [...][2]string{{g.kernel, boxKernel}, {g.initramfs, boxInitramfs}} {
		box.Files = append(box.Files, runner.Mount{Type: runner.MountBind, Source: f[0], Target: f[1], ReadOnly: true})
	}
	if g.plan.accel == AccelKVM {
		d, err := e.device()
		if err != nil {
			return guest.Machine{}, nil, err
		}
		box.Devices = []runner.Device{d}
	}
	m, _, err := box.Start(ctx)
	if err != nil {
		return m, nil, err
	}
	m.Engine, m.Boot, m.Answer, m.Memory = e.Name(), e.Boot, e.Answer, g.plan.memory
	if g.plan.accel == AccelTCG {
		m.Complaint = complaint
		return m, nil, nil
	}
	w, err := watchFirst(&m)
	if err != nil {
		m.Process.Kill()
		m.Process.Wait()
		for _, f := range []*os.File{m.To, m.From, m.Console} {
			f.Close()
		}
		return m, nil, err
	}
	return m, w, nil
}
