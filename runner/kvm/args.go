package kvm

import (
	"fmt"
	"strconv"
)

// Where things are in the box of QEMU's process.
const (
	boxKernel    = "/guest/kernel"
	boxInitramfs = "/guest/initramfs"
	boxDisks     = "/guest/disk"
	boxShares    = "/guest/share"
)

// portName is the virtio port that is the channel.
const portName = "hutch"

// A guestPlan is all that QEMU's command line depends on.
type guestPlan struct {
	qemu    string
	accel   string
	machine Machine
	vcpus   int
	memory  int64 // bytes
	disks   int
	shares  []share
}

// A share is a directory that the guest sees through 9p.
type share struct {
	readOnly bool
}

// translations bounds TCG's cache of translated code, in MiB. QEMU's own
// choice is 1 GiB, all of which a long run fills. It is emptied whole when it
// is full: a smaller one is no use, see the README.
const translations = 64

// A life is how a guest comes to be where it takes its orders.
type life int

const (
	booted   life = iota
	toSave        // booted, to be saved there
	restored      // as it was saved
)

// lives are the words for them. QEMU's standard input is nothing then, its
// monitor, or what was saved.
var lives = [...][]string{
	booted:   nil,
	toSave:   {"-chardev", "socket,id=monitor,fd=0", "-mon", "chardev=monitor,mode=control"},
	restored: {"-incoming", "fd:0"},
}

// args is QEMU's command line. It is pure, and nothing of it comes from an
// image: every path is one of the box's, every name is made here.
func (p *guestPlan) args(l life) []string {
	accel := "kvm"
	if p.accel == AccelTCG {
		accel = "tcg,thread=multi,tb-size=" + strconv.Itoa(translations)
	}
	a := []string{
		p.qemu,
		// No devices but these, no files of the user's or the machine's, no
		// monitor that a console's "Ctrl-a c" could reach.
		"-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot",
		"-machine", p.machine.Type, "-accel", accel, "-cpu", p.machine.CPU,
		"-smp", strconv.Itoa(p.vcpus), "-m", strconv.FormatInt(p.memory>>20, 10) + "M",
		"-kernel", boxKernel, "-initrd", boxInitramfs, "-append", p.append(),
		// The console and what QEMU complains about are its standard error; the
		// channel is its standard output.
		"-chardev", "file,id=console,path=/dev/fd/2", "-serial", "chardev:console",
		"-chardev", "socket,id=channel,fd=1",
		"-device", "virtio-serial-" + p.machine.Bus + ",max_ports=2",
		"-device", "virtserialport,chardev=channel,name=" + portName,
	}
	for i := range p.disks {
		a = append(a,
			"-drive", fmt.Sprintf("if=none,id=disk%d,file=%s/%d,format=raw,readonly=on,cache=writeback", i, boxDisks, i),
			"-device", fmt.Sprintf("virtio-blk-%s,drive=disk%d,serial=%s", p.machine.Bus, i, diskSerial(i)))
	}
	for i, s := range p.shares {
		options := ""
		if s.readOnly {
			options = ",readonly=on"
		}
		a = append(a,
			// Owners and modes are the host's, as in a box on the host itself. The
			// server resolves names below its directory only, and sees nothing else.
			"-fsdev", fmt.Sprintf("local,id=share%d,path=%s/%d,security_model=none,multidevs=remap%s", i, boxShares, i, options),
			"-device", fmt.Sprintf("virtio-9p-%s,fsdev=share%d,mount_tag=%s", p.machine.Bus, i, shareTag(i)))
	}
	return append(a, lives[l]...)
}

func diskSerial(i int) string { return "layer" + strconv.Itoa(i) }
func shareTag(i int) string   { return "share" + strconv.Itoa(i) }

// append is the kernel's command line.
func (p *guestPlan) append() string {
	line := "HUTCH_GUEST=virtio:" + portName + " console=ttyS0 panic=-1 reboot=t" +
		// Four serial lines are looked for otherwise, one after the other.
		" 8250.nr_uarts=1" +
		// The processor's random numbers are as good as the host.
		" random.trust_cpu=on" +
		" no_timer_check cryptomgr.notests rcupdate.rcu_expedited=1"
	if p.accel == AccelKVM {
		// The first lines are how a /dev/kvm that works is told from another.
		return line + " earlyprintk=ttyS0 loglevel=6"
	}
	// An emulator has no speculation to guard against, and how fast it loops need
	// not be found out for a tenth of a second.
	return line + " quiet mitigations=off tsc=reliable lpj=450000"
}
