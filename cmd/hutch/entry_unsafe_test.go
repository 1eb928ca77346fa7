package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const usualTimerSlack, monitorsTimerSlack = 50_000, 5_000_000

// onMonitorsThread runs f on a thread as the runtime's monitor makes them in a
// hutch that was narrowed. The thread ends with it.
func onMonitorsThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			onMonitorsThread(f) // while this one is taken
			runtime.UnlockOSThread()
			return
		}
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, monitorsTimerSlack, 0, 0, 0)
		f()
	}()
	<-done
}

// asNarrowed has this process be one that was narrowed.
func asNarrowed(t *testing.T) {
	if cpus.size != 0 {
		t.Fatal("this binary was narrowed")
	}
	cpus.size, cpus.slack = 8, usualTimerSlack
	for i := range cpus.size {
		cpus.back[i] = 0xff
	}
	t.Cleanup(func() { cpus.size, cpus.slack = 0, 0 })
}

func TestOrdinaryThread(t *testing.T) {
	asNarrowed(t)
	onMonitorsThread(func() {
		if err := onOrdinaryThread(func() error {
			if got, _ := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); got != usualTimerSlack {
				t.Errorf("the timer slack is %d ns", got)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}

// Programs that hutch starts have the timer slack that hutch was given,
// whichever thread starts them.
func TestSlackOfHelpers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root reads the timer slack of another process")
	}
	asNarrowed(t)
	for _, helper := range []struct {
		name  string
		start func() (pid int, end func(), err error)
	}{
		{"hutch-seccomp", func() (int, func(), error) {
			c, err := compiler{}.Start()
			if err != nil {
				return 0, nil, err
			}
			return c.(*compilation).pid, c.Cancel, nil
		}},
		{"hutch-decompress", func() (int, func(), error) {
			never, _, err := os.Pipe()
			if err != nil {
				return 0, nil, err
			}
			d, err := decode("zst", never)
			if err != nil {
				return 0, nil, err
			}
			return d.(*decoder).cmd.Process.Pid, func() { d.Close(); never.Close() }, nil
		}},
	} {
		onMonitorsThread(func() {
			pid, end, err := helper.start()
			if err != nil {
				t.Error(err)
				return
			}
			defer end()
			got, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/timerslack_ns")
			if strings.TrimSpace(string(got)) != strconv.Itoa(usualTimerSlack) {
				t.Errorf("%s: the timer slack is %s ns, %v", helper.name, got, err)
			}
		})
	}
}
