package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// tcgKernel is the kernel that hutch takes too: $HUTCH_KVM_KERNEL, or the small
// one that make guest-kernels built.
func tcgKernel() (string, error) {
	if k := os.Getenv("HUTCH_KVM_KERNEL"); k != "" {
		return k, nil
	}
	return smallKernel("microvm/vmlinux")
}

// smallKernel is one that make guest-kernels built, where hutch finds it too.
func smallKernel(name string) (string, error) {
	dir, err := os.UserCacheDir()
	if os.Geteuid() == 0 {
		dir, err = "/var/cache", nil
	}
	k := filepath.Join(dir, "hutch/kernels", name)
	if _, serr := os.Stat(k); err != nil || serr != nil {
		return "", missingPeer{"a small guest kernel", "make guest-kernels"}
	}
	return k, nil
}

// tcgRun is `hutch run --engine kvm --accel tcg` of the shared root.
func (b *bench) tcgRun(args ...string) (command, error) {
	kernel, err := tcgKernel()
	if err != nil {
		return command{}, err
	}
	root, err := b.boxRoot()
	if err != nil {
		return command{}, err
	}
	argv := append([]string{b.hutch, "run", "--engine", "kvm", "--accel", "tcg", "--kernel", kernel, "--result", filepath.Join(b.temp, "result"), root}, args...)
	return command{name: "hutch run --engine kvm --accel tcg", argv: argv}, nil
}

// tcgAlone is the same QEMU, with the same machine and kernel and the words
// that hutch gives it, up to a process 1 that ends the guest.
func (b *bench) tcgAlone() (command, string, error) {
	qemu, name, err := peer("qemu-system-x86_64", "qemu-system-x86", "--version")
	if err != nil {
		return command{}, "", err
	}
	ours, err := b.tcgRun("/bin/sleep", "30")
	if err != nil {
		return command{}, "", err
	}
	argv, err := b.qemuWords(ours)
	if err != nil {
		return command{}, "", err
	}
	initrd, err := b.minimalInitrd("RB_AUTOBOOT")
	if err != nil {
		return command{}, "", err
	}
	kernel, err := tcgKernel()
	argv[0] = qemu
	for i := range argv {
		switch argv[i] {
		case "-kernel":
			argv[i+1] = kernel
		case "-initrd":
			argv[i+1] = initrd
		}
	}
	return command{name: name, argv: argv}, name + " alone", err
}

// qemuWords is QEMU's command line in a run, without disks and shares.
func (b *bench) qemuWords(c command) (words []string, err error) {
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}()
	pid, err := untilQEMU(cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	list := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	for i := 0; i < len(list); i++ {
		if i+1 < len(list) && (list[i] == "-incoming" || list[i] == "-mon" || list[i] == "-chardev" && strings.Contains(list[i+1], "id=monitor")) {
			i++ // what our guests are saved and restored with
			continue
		}
		// Outside there is no channel.
		list[i] = strings.Replace(list[i], "socket,id=channel,fd=1", "null,id=channel", 1)
		if i+1 < len(list) && (list[i] == "-drive" || list[i] == "-fsdev" || list[i] == "-device" && (strings.Contains(list[i+1], "blk") || strings.Contains(list[i+1], "9p"))) {
			i++
			continue
		}
		words = append(words, list[i])
	}
	return words, err
}

// untilQEMU is the process of QEMU below pid.
func untilQEMU(pid int) (int, error) {
	for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(200 * time.Microsecond) {
		for _, p := range descendants(pid) {
			if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p)); strings.HasPrefix(string(comm), "qemu-system") {
				return p, nil
			}
		}
	}
	return 0, errors.New("no QEMU within 10 s")
}

// tcgPairs compares with QEMU alone.
func (b *bench) tcgPairs(runs int, measure func(command) (float64, error)) (s samples, err error) {
	alone, name, err := b.tcgAlone()
	if err != nil {
		return s, err
	}
	ours, err := b.tcgRun("/bin/true")
	if err != nil {
		return s, err
	}
	s, err = b.pairs(runs, measure, ours, alone)
	s.peerName = name
	return s, err
}

func tcgWhole(b *bench, runs int) (samples, error) { return b.tcgPairs(runs, b.wallMilliseconds) }

// tcgStart is the time up to the application's first instruction, as the
// result tells it.
func tcgStart(b *bench, runs int) (samples, error) { return b.tcgPairs(runs, b.untilFirst) }

// tcgPrepare is the time until QEMU's process is there, when all that is built
// once has been.
func tcgPrepare(b *bench, runs int) (s samples, err error) {
	c, err := b.tcgRun("/bin/true")
	if err != nil {
		return s, err
	}
	for i := range runs + 1 {
		cmd := exec.Command(c.argv[0], c.argv[1:]...)
		began := time.Now()
		if err := cmd.Start(); err != nil {
			return s, err
		}
		_, err := untilQEMU(cmd.Process.Pid)
		took := time.Since(began)
		cmd.Wait()
		if err != nil {
			return s, err
		}
		if i > 0 { // the first builds
			s.add(float64(took.Microseconds())/1000, 0)
		}
	}
	return s, nil
}

// tcgMemory is the proportional set size of hutch and QEMU without what is the
// guest's memory, while the application sleeps.
func tcgMemory(b *bench, runs int) (s samples, err error) {
	c, err := b.tcgRun("/bin/sh", "-c", "echo ready; exec sleep 60")
	if err != nil {
		return s, err
	}
	for range runs {
		kib, err := guestMemoryOnce(c, func(line string) bool {
			// The guest's memory is the one mapping of its size.
			return mappingSize(line) == 512<<20
		})
		if err != nil {
			return s, err
		}
		s.add(kib/1024, 0)
	}
	return s, nil
}

// mappingSize is that of a mapping in smaps, by its first line.
func mappingSize(line string) uint64 {
	var from, to uint64
	if n, _ := fmt.Sscanf(line, "%x-%x", &from, &to); n != 2 {
		return 0
	}
	return to - from
}
