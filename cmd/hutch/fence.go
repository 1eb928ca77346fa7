package main

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/cgroup"
	"hutch/runner/compare"
)

// limitNames are the limits that every side of a comparison can be given.
var limitNames = [...]string{"memory", "cpus", "pids"}

// limitFlags are those of hutch run.
func limitFlags() (flags []cli.Flag) {
	for _, s := range settings() {
		for _, name := range limitNames {
			if s.name == name {
				flags = append(flags, &cli.StringFlag{Name: name, Usage: s.usage + ", on every side"})
			}
		}
	}
	return flags
}

func compareLimits(c *cli.Context) (l compare.Limits, err error) {
	var o runner.Override
	for _, s := range settings() {
		for _, name := range limitNames {
			if s.name != name || !c.IsSet(name) {
				continue
			}
			if err := s.set(&o, c.String(name)); runner.Hint(err) != "" {
				return l, err
			} else if err != nil {
				return l, misuse("hutch run --help says what it takes", "option --%s: %v", name, err)
			}
		}
	}
	given := o.Settings.Limits
	return compare.Limits{MemoryBytes: int64(given.Memory), CPUs: given.CPUs, Processes: given.Processes}, nil
}

// fence is a control group around a program that is not ours.
type fence struct {
	group *cgroup.Group
	tasks []int
	done  chan struct{}
	tid   int // of a thread of ours that is inside, 0 without
}

func newFence(l compare.Limits) (compare.Fence, error) {
	limits := cgroup.Limits{Memory: l.MemoryBytes, SwapPreferred: true, CPUs: l.CPUs, Processes: l.Processes}
	group, err := cgroup.New("", limits, cgroup.Options{Scope: askScope})
	if err != nil {
		return nil, err
	}
	tasks, err := group.Tasks()
	if err != nil {
		group.Remove()
		return nil, err
	}
	return &fence{group: group, tasks: tasks, done: make(chan struct{})}, nil
}

// Start starts cmd in the group. On v1 that is where the thread is that forks:
// it stays in there until the fence is closed, and is not used again.
func (f *fence) Start(cmd *exec.Cmd) error {
	if fd, ok := f.group.FD(); ok {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, fd
	}
	if len(f.tasks) == 0 {
		return onOrdinaryThread(cmd.Start)
	}
	result := make(chan error)
	go f.startInside(cmd, result)
	return <-result
}

func (f *fence) startInside(cmd *exec.Cmd, result chan<- error) {
	runtime.LockOSThread() // for good: the thread ends with this goroutine
	if unix.Gettid() == os.Getpid() {
		// The first thread never ends. While it is held another takes its place.
		next := make(chan error)
		go f.startInside(cmd, next)
		err := <-next
		runtime.UnlockOSThread()
		result <- err
		return
	}
	f.tid = unix.Gettid()
	for _, file := range f.tasks {
		if _, err := unix.Write(file, []byte("0")); err != nil {
			result <- os.NewSyscallError("enter a control group", err)
			return
		}
	}
	result <- onOrdinaryThread(cmd.Start)
	<-f.done
}

// Close ends what is left inside, when no thread of ours is.
func (f *fence) Close() error {
	close(f.done)
	for f.tid != 0 && unix.Access("/proc/self/task/"+strconv.Itoa(f.tid), unix.F_OK) == nil {
		time.Sleep(time.Millisecond)
	}
	for _, file := range f.tasks {
		unix.Close(file)
	}
	err := f.group.Kill()
	if rerr := f.group.Remove(); err == nil {
		err = rerr
	}
	return err
}
