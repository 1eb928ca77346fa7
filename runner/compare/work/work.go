// Package work holds the workloads of a comparison: small programs that run
// inside a box, a guest or nothing at all, and say how long what they did took.
// They make their system calls directly, so that all that differs between two
// runs is what lies below them.
package work

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// A Kind is one workload. To add one: a row in kinds, and nothing else.
type Kind struct {
	Name  string
	Group string
	Unit  string // of Measure.Value
	About string
	// Higher says that a higher value is the better one.
	Higher bool
	// Disk says that the workload needs Options.Disk.
	Disk bool
	run  func(*Options) (float64, error)
}

// Options bound a workload.
type Options struct {
	// For is how long a workload goes on that repeats one thing. Those of a
	// fixed size do not look at it.
	For time.Duration
	// Dir is a directory to write to that is the box's own, Disk one that lies on
	// a disk of the host.
	Dir, Disk string
	// Small is a program that exits at once, for fork and exec.
	Small string
	// Files and Bytes are the sizes of the workloads that have one.
	Files int
	Bytes int64
	// Functions is the size of the program that is compiled.
	Functions int
	// Threads contend for a lock.
	Threads int
}

// A Measure is what a workload says.
type Measure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	// Why says why it could not run.
	Why string `json:"why,omitempty"`
	// Steal is the part of the processors' time that the guest was not given
	// while the workload ran, from /proc/stat; nil where the kernel does not say.
	Steal *float64 `json:"steal,omitempty"`
}

// errLacking is a workload that this root has no program for.
type errLacking struct{ program string }

func (e errLacking) Error() string { return "the root has no " + e.program }

// Kinds are all workloads, in the order in which they are shown.
func Kinds() []Kind {
	return []Kind{
		{Name: "getppid", Group: "system calls", Unit: "ns", About: "getppid(2)", run: getppid},
		{Name: "open-close", Group: "system calls", Unit: "ns", About: "open and close a file of the box's own", run: openClose},
		{Name: "read-4k", Group: "system calls", Unit: "ns", About: "read 4 KiB that are in memory", run: read4K},
		{Name: "write-4k", Group: "system calls", Unit: "ns", About: "write 4 KiB to memory", run: write4K},
		{Name: "fork-exec", Group: "system calls", Unit: "us", About: "start a small program and wait for it", run: forkExec},
		{Name: "pipe", Group: "system calls", Unit: "us", About: "a byte through a pipe to another thread and back", run: pipeRoundTrip},
		{Name: "futex", Group: "system calls", Unit: "us", About: "wake a thread that waits and be woken", run: futexRoundTrip},
		{Name: "integer", Group: "processor", Unit: "ns", About: "a xorshift step; should be the same everywhere", run: integer},
		{Name: "float", Group: "processor", Unit: "ns", About: "a logistic map step; should be the same everywhere", run: float},
		{Name: "copy", Group: "memory", Unit: "GB/s", About: "copy 32 MiB", Higher: true, run: copyMemory},
		{Name: "page-fault", Group: "memory", Unit: "ns", About: "touch a page for the first time", run: pageFault},
		{Name: "mmap", Group: "memory", Unit: "ns", About: "map and unmap 64 KiB", run: mapUnmap},
		{Name: "disk-write", Group: "disk", Unit: "MB/s", About: "write a file from end to end, then fsync", Higher: true, Disk: true, run: diskWrite},
		{Name: "disk-read", Group: "disk", Unit: "MB/s", About: "read it again", Higher: true, Disk: true, run: diskRead},
		{Name: "disk-random-read", Group: "disk", Unit: "us", About: "read 4 KiB at a random place of it", Disk: true, run: diskRandomRead},
		{Name: "disk-random-write", Group: "disk", Unit: "us", About: "write 4 KiB at a random place of it, then fdatasync", Disk: true, run: diskRandomWrite},
		{Name: "files", Group: "disk", Unit: "us", About: "create, stat and unlink a file, each of thousands", Disk: true, run: metadata},
		{Name: "tcp", Group: "network", Unit: "us", About: "a byte over loopback TCP and back", run: tcpRoundTrip},
		{Name: "compile", Group: "whole jobs", Unit: "ms", About: "cc -O2 of a C program of 500 functions (--quick: 50)", run: compile},
		{Name: "sqlite", Group: "whole jobs", Unit: "ms", About: "sqlite3: 200 inserts, a transaction each", Disk: true, run: sqlite},
		{Name: "sysbench", Group: "whole jobs", Unit: "ms", About: "sysbench cpu, 2000 events", run: sysbench},
		{Name: "stress-ng", Group: "whole jobs", Unit: "ms", About: "stress-ng --matrix, 200 operations", run: stressNG},
		{Name: "fio", Group: "whole jobs", Unit: "ms", About: "fio random write of 4 MiB with fsync", Disk: true, run: fio},
	}
}

// Serve speaks with the harness: it runs each workload when it is told to, so
// that the harness can look at the host before and after. A line on in is the
// name of a workload, and the answer on out a Measure; or it is "inside", and
// the answer an Inside. It ends with in.
func Serve(in io.Reader, out io.Writer, o Options) error {
	if _, err := io.WriteString(out, "ready\n"); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var answer any
		if name := lines.Text(); name == "inside" {
			answer = Look()
		} else {
			answer = Run(name, &o)
		}
		data, err := json.Marshal(answer)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%s\n", data); err != nil {
			return err
		}
	}
	return lines.Err()
}

// Run runs the workload called name. What goes wrong is in its Why.
func Run(name string, o *Options) Measure {
	m := Measure{Name: name}
	for _, k := range append(Kinds(), lockKinds()...) {
		if k.Name != name {
			continue
		}
		if k.Disk {
			if _, err := os.Stat(o.Disk); err != nil {
				m.Why = "no directory on a disk of the host: " + err.Error()
				return m
			}
		}
		before := readStat()
		value, err := k.run(o)
		m.Value, m.Steal = value, before.stolen(readStat())
		var lacking errLacking
		if errors.As(err, &lacking) {
			m.Why = lacking.Error()
		} else if err != nil {
			m.Why = err.Error()
		}
		return m
	}
	m.Why = "no such workload"
	return m
}

// perStep repeats step, a batch of n operations, until o.For has passed, and
// returns the nanoseconds of one operation.
func perStep(o *Options, n int, step func() error) (float64, error) {
	if err := step(); err != nil { // warm
		return 0, err
	}
	began := time.Now()
	for done := 0; ; {
		if err := step(); err != nil {
			return 0, err
		}
		done += n
		if spent := time.Since(began); spent >= o.For {
			return float64(spent.Nanoseconds()) / float64(done), nil
		}
	}
}

// micro is perStep in microseconds.
func micro(o *Options, n int, step func() error) (float64, error) {
	ns, err := perStep(o, n, step)
	return ns / 1e3, err
}
