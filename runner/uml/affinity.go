package uml

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// User Mode Linux has one processor, and each fault and system call in it is a
// turn of two processes, of which one always waits. On two processors of the
// host each turn wakes one that sleeps. While a guest boots, and for the
// application's first second, all of it is kept on one, which takes a third of
// the time away. Which one is left to chance, since many may boot; what runs on
// is where the host's scheduler puts it.

// startsFor is how long an application is still starting.
const startsFor = time.Second

// together keeps the processes at pid and below it on one processor until
// release is called. What cannot be kept there only takes longer.
func together(pid int) (release func()) {
	var all unix.CPUSet
	if unix.SchedGetaffinity(pid, &all) != nil || all.Count() < 2 {
		return func() {}
	}
	one := pick(&all)
	// Twice: what was born meanwhile has it from its parent or is found again.
	for range 2 {
		setBelow(pid, &one)
	}
	return func() {
		for range 10 {
			if setBelow(pid, &all) == 0 {
				return
			}
		}
	}
}

// pick is one processor of a set.
func pick(of *unix.CPUSet) (one unix.CPUSet) {
	n := rand.IntN(of.Count())
	for cpu := range len(of) * strconv.IntSize {
		if !of.IsSet(cpu) {
			continue
		}
		if n == 0 {
			one.Set(cpu)
			break
		}
		n--
	}
	return one
}

// setBelow sets the processors of all threads at pid and below it, and says how
// many had others.
func setBelow(pid int, set *unix.CPUSet) (changed int) {
	tasks, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*")
	for _, task := range tasks {
		tid, err := strconv.Atoi(filepath.Base(task))
		var has unix.CPUSet
		if err == nil && unix.SchedGetaffinity(tid, &has) == nil && has != *set && unix.SchedSetaffinity(tid, set) == nil {
			changed++
		}
		children, _ := os.ReadFile(task + "/children")
		for _, child := range strings.Fields(string(children)) {
			if n, err := strconv.Atoi(child); err == nil {
				changed += setBelow(n, set)
			}
		}
	}
	return changed
}
