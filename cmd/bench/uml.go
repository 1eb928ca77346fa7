package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed testdata/poweroff.c
var poweroffSource string

// umlKernel is the kernel that hutch takes too: $HUTCH_UML_KERNEL, or linux.uml.
func umlKernel() (path, name string, err error) {
	program := "linux.uml"
	if k := os.Getenv("HUTCH_UML_KERNEL"); k != "" {
		program = k
	}
	path, name, err = peer(program, "user-mode-linux", "--version")
	return path, filepath.Base(name) + " alone", err
}

// umlRun is `hutch run --engine uml` of the shared root.
func (b *bench) umlRun(args ...string) (command, error) {
	root, err := b.boxRoot()
	if err != nil {
		return command{}, err
	}
	kernel, _, err := umlKernel()
	if err != nil {
		return command{}, err
	}
	argv := append([]string{b.hutch, "run", "--engine", "uml", "--kernel", kernel, "--result", filepath.Join(b.temp, "result"), root}, args...)
	return command{name: "hutch run --engine uml", argv: argv}, nil
}

// umlAlone is the kernel up to a process 1 that powers off.
func (b *bench) umlAlone() (command, string, error) {
	path, name, err := umlKernel()
	if err != nil {
		return command{}, "", err
	}
	initrd, err := b.minimalInitrd("RB_POWER_OFF")
	if err != nil {
		return command{}, "", err
	}
	return command{name: name, argv: []string{
		path, "mem=512M", "initrd=" + initrd, "con=null", "con0=null,fd:2", "ssl=null", "quiet", "panic=-1", "uml_dir=" + b.temp + "/uml",
	}, env: []string{"TMPDIR=/dev/shm"}}, name, nil
}

// minimalInitrd holds the least process 1; end is how it ends the machine,
// reboot(2).
func (b *bench) minimalInitrd(end string) (string, error) {
	dir := filepath.Join(b.temp, end)
	if err := os.MkdirAll(filepath.Join(dir, "dev"), 0o755); err != nil {
		return "", err
	}
	gcc := exec.Command("gcc", "-O2", "-static", "-DEND="+end, "-x", "c", "-o", filepath.Join(dir, "init"), "-")
	gcc.Stdin = strings.NewReader(poweroffSource)
	if out, err := gcc.CombinedOutput(); err != nil {
		return "", fmt.Errorf("gcc: %w: %s", err, out)
	}
	initrd := filepath.Join(b.temp, end+".cpio")
	pack := exec.Command("busybox", "sh", "-c", "find . | busybox cpio -o -H newc > "+initrd)
	pack.Dir = dir
	if out, err := pack.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cpio: %w: %s", err, out)
	}
	return initrd, nil
}

// umlPairs compares with the kernel alone.
func (b *bench) umlPairs(runs int, measure func(command) (float64, error)) (s samples, err error) {
	alone, name, err := b.umlAlone()
	if err != nil {
		return s, err
	}
	ours, err := b.umlRun("/bin/true")
	if err != nil {
		return s, err
	}
	s, err = b.pairs(runs, measure, ours, alone)
	s.peerName = name
	return s, err
}

func umlWhole(b *bench, runs int) (samples, error) { return b.umlPairs(runs, b.wallMilliseconds) }

// umlStart is the time up to the application's first instruction, as the
// result tells it.
func umlStart(b *bench, runs int) (samples, error) {
	return b.umlPairs(runs, b.untilFirst)
}

// withSmallUML measures a row with the small kernel of make guest-kernels.
func withSmallUML(measure func(*bench, int) (samples, error)) func(*bench, int) (samples, error) {
	return func(b *bench, runs int) (s samples, err error) {
		kernel, err := smallKernel("uml/linux")
		if err != nil {
			return s, err
		}
		const name = "HUTCH_UML_KERNEL"
		if before, set := os.LookupEnv(name); set {
			defer os.Setenv(name, before)
		} else {
			defer os.Unsetenv(name)
		}
		if err := os.Setenv(name, kernel); err != nil {
			return s, err
		}
		return measure(b, runs)
	}
}

// umlTime is a run's time by itself, without a kernel alone beside it.
func umlTime(measure func(*bench, command) (float64, error)) func(*bench, int) (samples, error) {
	return func(b *bench, runs int) (s samples, err error) {
		c, err := b.umlRun("/bin/true")
		if err != nil {
			return s, err
		}
		for i := range runs + 1 {
			took, err := measure(b, c)
			if err != nil {
				return s, err
			}
			if i > 0 { // the first builds
				s.add(took, 0)
			}
		}
		return s, nil
	}
}

// untilFirst is the time up to the application's first instruction, as the
// result tells it; of a peer the whole time.
func (b *bench) untilFirst(c command) (float64, error) {
	wall, err := b.wallMilliseconds(c)
	if err != nil || c.argv[0] != b.hutch {
		return wall, err
	}
	data, err := os.ReadFile(filepath.Join(b.temp, "result"))
	if err != nil {
		return 0, err
	}
	var r struct {
		Timing struct {
			Run     float64 `json:"run_seconds"`
			Cleanup float64 `json:"cleanup_seconds"`
		} `json:"timing"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return 0, err
	}
	return wall - 1000*(r.Timing.Run+r.Timing.Cleanup), nil
}

// umlPrepare is the time until the kernel's process is there, when all that is
// built once has been.
func umlPrepare(b *bench, runs int) (s samples, err error) {
	c, err := b.umlRun("/bin/true")
	if err != nil {
		return s, err
	}
	for i := range runs + 1 {
		took, err := b.untilKernel(c)
		if err != nil {
			return s, err
		}
		if i > 0 { // the first builds
			s.add(took, 0)
		}
	}
	return s, nil
}

func (b *bench) untilKernel(c command) (float64, error) {
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer cmd.Wait()
	for time.Since(began) < 10*time.Second {
		for _, p := range descendants(cmd.Process.Pid) {
			if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p)); bytes.HasPrefix(line, []byte("/uml/linux\x00")) {
				return float64(time.Since(began).Microseconds()) / 1000, nil
			}
		}
		time.Sleep(200 * time.Microsecond)
	}
	cmd.Process.Kill()
	return 0, errors.New("no kernel within 10 s")
}

// umlMemory is the proportional set size of hutch and of the kernel's processes
// without what is the guest's memory, while the application sleeps.
func umlMemory(b *bench, runs int) (s samples, err error) {
	c, err := b.umlRun("/bin/sh", "-c", "echo ready; exec sleep 60")
	if err != nil {
		return s, err
	}
	for range runs {
		kib, err := guestMemoryOnce(c, umlMemoryFile)
		if err != nil {
			return s, err
		}
		s.add(kib/1024, 0)
	}
	return s, nil
}

// umlMemoryFile says whether a mapping is of the file that is the guest's
// memory.
func umlMemoryFile(line string) bool {
	return strings.HasSuffix(line, "(deleted)") && strings.Contains(line, " /tmp/")
}

func guestMemoryOnce(c command, isGuest func(string) bool) (kib float64, err error) {
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return 0, err
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}()
	if _, err := io.ReadFull(out, make([]byte, 6)); err != nil {
		return 0, err
	}
	time.Sleep(500 * time.Millisecond)
	var seen []int
	for _, pid := range descendants(cmd.Process.Pid) {
		// The kernel's helpers are threads in all but name.
		if slices.ContainsFunc(seen, func(other int) bool { return sameMemory(pid, other) }) {
			continue
		}
		seen = append(seen, pid)
		own, err := pssBesideGuest(pid, isGuest)
		if err != nil {
			return 0, err
		}
		kib += own
	}
	return kib, nil
}

// sameMemory says whether two processes share their memory, kcmp(2).
func sameMemory(a, b int) bool {
	const kcmpVM = 1
	r, _, errno := syscall.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), kcmpVM, 0, 0, 0)
	return errno == 0 && r == 0
}

// pssBesideGuest sums up the mappings of a process but those that are the
// guest's memory, proc_pid_smaps(5).
func pssBesideGuest(pid int, isGuest func(string) bool) (kib float64, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		return 0, nil // it has just ended
	}
	defer f.Close()
	guest := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 5 && strings.Contains(fields[0], "-"):
			guest = isGuest(line)
		case len(fields) == 3 && fields[0] == "Pss:" && !guest:
			n, err := strconv.ParseFloat(fields[1], 64)
			if err != nil {
				return 0, err
			}
			kib += n
		}
	}
	return kib, nil
}

// umlOutput is the time in which 1 GiB comes out of a guest, from its first to
// its last byte; its digest is checked.
func umlOutput(b *bench, runs int) (s samples, err error) {
	const mib = 1024
	c, err := b.umlRun("/bin/sh", "-c", fmt.Sprintf("exec /bin/busybox dd if=/dev/zero bs=1M count=%d 2>/dev/null", mib))
	if err != nil {
		return s, err
	}
	want := sha256.New()
	for range mib {
		want.Write(make([]byte, 1<<20))
	}
	for range runs {
		cmd := exec.Command(c.argv[0], c.argv[1:]...)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			return s, err
		}
		got := sha256.New()
		first := make([]byte, 1)
		_, err = io.ReadFull(out, first)
		began := time.Now()
		got.Write(first)
		if err == nil {
			_, err = io.CopyBuffer(got, out, make([]byte, 1<<20))
		}
		took := time.Since(began).Seconds()
		if werr := cmd.Wait(); err == nil {
			err = werr
		}
		if err != nil {
			return s, err
		}
		if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
			return s, errors.New("other bytes came out than went in")
		}
		s.add(took, 0)
	}
	return s, nil
}
