package cgroup

// Both versions: cpuset.cpus, cpuset.mems. On v1 a new group has neither, and
// takes no process until both are filled; the memory nodes are those of the
// group above.

func cpusetWanted(l *Limits) bool { return l.CPUSet != "" }

const cpusNotAbove = "the group above, or this machine, does not have these processors"

func cpusetV2(l *Limits) ([]setting, error) {
	return []setting{{file: "cpuset.cpus", value: l.CPUSet, invalid: cpusNotAbove}}, checkOnline(l.CPUSet)
}

func cpusetV1(l *Limits) ([]setting, error) {
	return []setting{
		{file: "cpuset.mems", inherit: true},
		{file: "cpuset.cpus", value: l.CPUSet, invalid: cpusNotAbove},
	}, checkOnline(l.CPUSet)
}

// checkOnline refuses processors that are not there: v2 takes any number and
// then quietly runs the group on those of the group above.
func checkOnline(list string) error {
	online, err := readFile("/sys/devices/system/cpu/online")
	if err != nil {
		return nil // no sysfs: the kernel has the last word
	}
	have, err := parseList(online)
	if err != nil {
		return nil
	}
	want, err := parseList(list)
	if err != nil {
		return err
	}
	for _, w := range want {
		for n := w[0]; n <= w[1]; n++ {
			if !covers(have, n) {
				return &Error{
					Controller: "cpuset", Op: "use processors " + list,
					Reason: "processor " + itoa(int64(n)) + " is not online", Remedy: "this machine has " + online,
				}
			}
		}
	}
	return nil
}

func covers(ranges [][2]int, n int) bool {
	for _, r := range ranges {
		if r[0] <= n && n <= r[1] {
			return true
		}
	}
	return false
}
