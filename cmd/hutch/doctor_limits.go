package main

import (
	"errors"

	"hutch/runner/cgroup"
	"hutch/runner/host"
)

// limitTrials are the limits that need a control group, each as small a case
// of itself as there is. To add one, add a line.
var limitTrials = [...]struct {
	flag   string
	limits cgroup.Limits
}{
	{"memory", cgroup.Limits{Memory: 64 << 20, Swap: -1}},
	{"swap", cgroup.Limits{Memory: 64 << 20, Swap: 1 << 20}},
	{"cpus", cgroup.Limits{CPUs: 1}},
	{"cpu-weight", cgroup.Limits{CPUWeight: 100}},
	{"cpuset", cgroup.Limits{CPUSet: "0"}},
	{"pids", cgroup.Limits{Processes: 100}},
	{"io", cgroup.Limits{IO: []cgroup.IOLimit{{ReadBytes: 1 << 40, WriteBytes: 1 << 40}}}},
}

// limitFacts says which limits hutch run can have here, by making a group with
// each and removing it: no reading of files tells it as truly.
func limitFacts() []host.Fact {
	var facts []host.Fact
	for i := range limitTrials {
		t := &limitTrials[i]
		facts = append(facts, limitFact("limit "+t.flag, t.limits, cgroup.Options{Scope: askScope}))
	}
	cpuTime := limitFact("limit cpu-time", cgroup.Limits{}, cgroup.Options{CPUTime: true, Scope: askScope})
	if cpuTime.Have {
		cpuTime.Value += ", of all processes together"
	} else {
		cpuTime.Have, cpuTime.Value = true, "of each process by itself (RLIMIT_CPU)"
	}
	return append(facts, cpuTime, host.Fact{
		Name: "other limits", Have: true,
		Value: "timeout, output-limit, disk, inodes, open-files, file-size, core-size need nothing",
	})
}

func limitFact(name string, l cgroup.Limits, opt cgroup.Options) host.Fact {
	g, err := cgroup.New("", l, opt)
	if err == nil {
		defer g.Remove()
		return host.Fact{Name: name, Have: true, Value: "cgroup " + g.Version()}
	}
	f := host.Fact{Name: name, Reason: err.Error()}
	var e *cgroup.Error
	if errors.As(err, &e) {
		f.Remedy = e.Remedy
		bare := *e
		bare.Remedy = ""
		f.Reason = bare.Error()
	}
	return f
}
