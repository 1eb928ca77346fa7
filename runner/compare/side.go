package compare

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"hutch/runner/compare/work"
)

// The kinds of side.
const (
	kindBare   = "bare"
	kindEngine = "engine"
	kindPeer   = "peer"
)

// A side is one way to run a command.
type side struct {
	name, kind string
	version    string
	why        string        // why it cannot take part
	fenced     bool          // it has no limits of its own
	round      time.Duration // what its last round took
	// command is the command line that runs j; clean removes what it made.
	command func(c *Comparison, j job) (argv []string, clean func(), err error)
}

// A job is what is run on every side.
type job struct {
	argv []string // as it is inside
	// bound says that the job wants the directories of places.
	bound bool
	vcpus int // 0: the engine's own number
	// memory is the least a guest gets, in bytes; 0 for the engine's own.
	options []string // further options of hutch run
}

// Where the directories of a bound job are inside.
const (
	insideBundle = "/tmp/bundle" // the programs, read-only
	insideDisk   = "/tmp/disk"   // a directory on the host's disk
	insideDir    = "/tmp"        // the box's own
)

// engineSides are the sides that hutch itself runs. KVM and TCG are two, so
// that what an emulator took never stands where a reader looks for a guest
// that runs on the processor. To add one: a row.
func engineSides() []*side {
	return []*side{
		engineSide("native"),
		engineSide("uml", "--engine", "uml"),
		engineSide("kvm", "--engine", "kvm", "--accel", "kvm"),
		engineSide("tcg", "--engine", "kvm", "--accel", "tcg"),
	}
}

func engineSide(name string, options ...string) *side {
	return &side{name: name, kind: kindEngine, command: func(c *Comparison, j job) ([]string, func(), error) {
		argv := append([]string{c.Self, "run", "--quiet"}, options...)
		argv = append(argv, c.Limits.flags("--pids")...)
		argv = append(argv, c.Options...)
		argv = append(argv, j.options...)
		if j.vcpus > 0 && strings.Contains(strings.Join(options, " "), "kvm") {
			argv = append(argv, "--vcpus", strconv.Itoa(j.vcpus))
		}
		if j.bound {
			argv = append(argv, "--bind", c.bundle+":"+insideBundle+":ro", "--bind", c.disk+":"+insideDisk+":rw")
		}
		return append(append(argv, c.Root, "--"), j.argv...), func() {}, nil
	}}
}

// bareSide runs on the host itself, in the host's own directories.
func bareSide() *side {
	return &side{name: "bare", kind: kindBare, version: "no isolation", fenced: true, command: func(c *Comparison, j job) ([]string, func(), error) {
		argv := make([]string, len(j.argv))
		for i, a := range j.argv {
			switch {
			case !j.bound:
			case strings.HasPrefix(a, insideBundle+"/"):
				a = c.bundle + strings.TrimPrefix(a, insideBundle)
			case a == insideDisk:
				a = c.disk
			case a == insideDir:
				a = c.memory
			}
			argv[i] = a
		}
		path, err := exec.LookPath(argv[0])
		if err != nil {
			return nil, nil, fmt.Errorf("%s is not on the host: %w", argv[0], err)
		}
		argv[0] = path
		return argv, func() {}, nil
	}}
}

// twin is s under another name: what s differs from itself is what the harness
// cannot tell apart.
func twin(s *side) *side {
	t := *s
	t.name = s.name + " again"
	return &t
}

// SideNames lists every side that there can be.
func SideNames() []string {
	names := []string{"bare"}
	for _, s := range engineSides() {
		names = append(names, s.name)
	}
	return append(names, "bwrap", "crun", "runc", "runsc", "systemd-nspawn", "podman")
}

// WorkloadNames lists what Comparison.Only may hold.
func WorkloadNames() []string {
	names := []string{"start-first", "locks", "many"}
	for _, k := range work.Kinds() {
		names = append(names, k.Name)
	}
	return names
}
