package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner/host/umlguest"
)

// startLimits compares a start with the usual limits with one without.
func startLimits(b *bench, runs int) (samples, error) {
	with, err := b.hutchRun("/bin/true")
	if err != nil {
		return samples{}, err
	}
	without := with
	with.argv = slices.Concat(with.argv[:2], []string{"--memory", "256M", "--cpus", "1", "--pids", "64"}, with.argv[2:])
	s, err := b.pairs(runs, b.wallMilliseconds, with, without)
	s.peerName = "without limits"
	return s, err
}

// runToCause is the wall time of a run that must end for the given cause.
func (b *bench) runToCause(cause string, args ...string) (seconds float64, err error) {
	root, err := b.boxRoot()
	if err != nil {
		return 0, err
	}
	file := filepath.Join(b.temp, "result.json")
	argv := []string{"run", "--result", file}
	for _, a := range args {
		if a == "ROOT" {
			a = root
		}
		argv = append(argv, a)
	}
	began := time.Now()
	out, _ := exec.Command(b.hutch, argv...).CombinedOutput() // the status is the cause's
	seconds = time.Since(began).Seconds()
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	var r struct{ Cause, Message string }
	if err := json.Unmarshal(data, &r); err != nil {
		return 0, err
	}
	if r.Cause != cause {
		return 0, fmt.Errorf("the run ended for %s, not for %s: %s", r.Cause, cause, r.Message)
	}
	return seconds, nil
}

// memoryHog is how long a program that allocates for ever lasts.
func memoryHog(b *bench, runs int) (s samples, err error) {
	for range runs {
		seconds, err := b.runToCause("out-of-memory", "--memory", "64M", "ROOT", "/bin/busybox", "tail", "/dev/zero")
		if err != nil {
			return s, err
		}
		s.add(seconds, 0)
	}
	return s, nil
}

// forkBomb is how long after its timeout a fork bomb ends.
func forkBomb(b *bench, runs int) (s samples, err error) {
	const timeout = 500 * time.Millisecond
	// A shell that cannot fork ends, and makes room for what the others fork.
	bomb := `X=sh -c "$X" & sh -c "$X" & exec sh -c "$X"`
	for range runs {
		seconds, err := b.runToCause("timeout", "--pids", "64", "--timeout", timeout.String(), "--env", bomb,
			"ROOT", "/bin/sh", "-c", `sh -c "$X" 2>/dev/null & exec sleep 100`)
		if err != nil {
			return s, err
		}
		s.add(seconds-timeout.Seconds(), 0)
	}
	return s, nil
}

// manyInTurn compares the last of 200 starts with the first.
func manyInTurn(b *bench, _ int) (s samples, err error) {
	const boxes, ends = 200, 50
	c, err := startLimited(b, "/bin/true")
	if err != nil {
		return s, err
	}
	before, err := leftovers()
	if err != nil {
		return s, err
	}
	var times []float64
	for range boxes {
		ms, err := b.wallMilliseconds(c)
		if err != nil {
			return s, err
		}
		times = append(times, ms)
	}
	for i := range ends {
		s.add(times[boxes-ends+i], times[i])
	}
	s.peerName = "the first 50"
	return s, before.check()
}

// manyBeside compares the last of 50 starts, beside 49 boxes that run, with
// the first.
func manyBeside(b *bench, _ int) (s samples, err error) {
	const boxes, ends = 50, 10
	c, err := startLimited(b, "/bin/sh", "-c", "echo; exec sleep 1000")
	if err != nil {
		return s, err
	}
	before, err := leftovers()
	if err != nil {
		return s, err
	}
	var running []*exec.Cmd
	var times []float64
	for range boxes {
		var cmd *exec.Cmd
		var ms float64
		if cmd, ms, err = startUntilLine(c); err != nil {
			break
		}
		running, times = append(running, cmd), append(times, ms)
	}
	for _, cmd := range running {
		cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, cmd := range running {
		cmd.Wait()
	}
	if err != nil {
		return s, err
	}
	for i := range ends {
		s.add(times[boxes-ends+i], times[i])
	}
	s.peerName = "the first 10"
	return s, before.check()
}

func startLimited(b *bench, args ...string) (command, error) {
	c, err := b.hutchRun(args...)
	if err == nil {
		c.argv = slices.Concat(c.argv[:2], []string{"--memory", "64M", "--pids", "16"}, c.argv[2:])
	}
	return c, err
}

// startUntilLine starts c and waits for its first line.
func startUntilLine(c command) (*exec.Cmd, float64, error) {
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return nil, 0, fmt.Errorf("%s: no line: %w", c.name, err)
	}
	return cmd, time.Since(began).Seconds() * 1e3, nil
}

// left counts what runs could leave behind.
type left struct{ mounts, groups, processes, descriptors int }

// leftovers counts now. What loses its parent from here on becomes a child of
// this process, so that it cannot get out of sight.
func leftovers() (left, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return left{}, fmt.Errorf("become a subreaper: %w", err)
	}
	var l left
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return l, err
	}
	l.mounts = strings.Count(string(mounts), "\n")
	filepath.WalkDir("/sys/fs/cgroup", func(path string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() && strings.HasPrefix(e.Name(), "hutch-") {
			l.groups++
		}
		return nil
	})
	l.processes = len(descendants(os.Getpid()))
	fds, err := os.ReadDir("/proc/self/fd")
	l.descriptors = len(fds)
	return l, err
}

// check counts again, and once more for what others on this machine had for a
// moment only.
func (l left) check() error {
	var err error
	for range 20 {
		var now left
		if now, err = leftovers(); err != nil {
			return err
		}
		if now.mounts <= l.mounts && now.groups <= l.groups && now.processes <= l.processes && now.descriptors <= l.descriptors {
			return nil
		}
		err = fmt.Errorf("left behind: mounts, cgroups, processes, descriptors were %v and are %v", l, now)
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// rootVar hands the root over to a bench in a guest, which has no compiler.
const rootVar = "HUTCH_BENCH_ROOT"

// guestInit is process 1 of a guest whose only control groups are those of v2:
// it runs the row "limits" there.
const guestInit = `#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 none /sys/fs/cgroup
mount -t ext4 /dev/ubda /mnt
mkdir -m 1777 /mnt/tmp
busybox insmod /usr/lib/uml/modules/"$(uname -r)"/kernel/fs/overlayfs/overlay.ko
mount --bind /mnt /var/lib
mount --bind /mnt /var/cache
export HOME=/mnt TMPDIR=/mnt/tmp %s=/mnt/root
cp -a %s /mnt/root
cd /mnt
%s --only limits --runs %d --json --hutch %s --dir /mnt/bench
echo "end of the guest's table"
echo o >/proc/sysrq-trigger
sleep 60
`

// startLimitsV2 is startLimits on cgroup v2, in a User Mode Linux guest. Only
// the ratio means anything: the guest's clock is not this machine's.
func startLimitsV2(b *bench, runs int) (s samples, err error) {
	if _, err := exec.LookPath(umlguest.Kernel); err != nil {
		return s, missingPeer{umlguest.Kernel, "apt-get install user-mode-linux"}
	}
	root, err := b.boxRoot()
	if err != nil {
		return s, err
	}
	self, err := os.Executable()
	if err != nil {
		return s, err
	}
	init := filepath.Join(b.temp, "guest-init")
	if err := os.WriteFile(init, fmt.Appendf(nil, guestInit, rootVar, root, self, runs, b.hutch), 0o755); err != nil {
		return s, err
	}
	// A file system that can map ids, which neither the host's files nor a tmpfs
	// of that kernel can.
	disk := filepath.Join(b.temp, "guest-disk")
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", disk, "128M").CombinedOutput(); err != nil {
		return s, fmt.Errorf("mke2fs: %w: %s", err, out)
	}
	text, err := umlguest.Guest{Memory: "512M", Init: init, Disk: disk, Dir: b.temp}.Run(context.Background())
	begin, end := strings.Index(text, "{\n"), strings.LastIndex(text, "}\n")
	if begin < 0 || end < begin {
		return s, errors.Join(err, fmt.Errorf("the guest wrote no table: %s", text))
	}
	var table struct{ Rows []result }
	if err := json.Unmarshal([]byte(text[begin:end+1]), &table); err != nil {
		return s, err
	}
	if len(table.Rows) != 1 || table.Rows[0].Error != "" {
		return s, fmt.Errorf("in the guest: %+v", table.Rows)
	}
	s.ours, s.peer, s.peerName = table.Rows[0].OursAll, table.Rows[0].PeerAll, "without limits, both in the guest"
	return s, nil
}
