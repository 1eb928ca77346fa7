package host

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// stays is how long a guest stays on one processor.
const stays = 2 * time.Second

// Together keeps the processes at pid and below it on one of the caller's
// processors until release is called. What cannot be kept there only takes
// longer.
//
// It is for User Mode Linux, which has one processor, and where each fault and
// system call is a turn of two processes, of which one always waits. On two
// processors of the host each turn wakes one that sleeps; on one it takes a
// quarter of the time. Which one is left to chance, and again every other
// while: many guests then share the processors as fairly as the scheduler has
// them do.
func Together(pid int) (release func()) {
	var all unix.CPUSet
	if unix.SchedGetaffinity(pid, &all) != nil || all.Count() < 2 {
		return func() {}
	}
	move := func() {
		one := pick(&all)
		for range 2 { // what is born meanwhile may be elsewhere
			setBelow(pid, &one)
		}
	}
	move()
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(stays):
				move()
			}
		}
	}()
	return sync.OnceFunc(func() { close(done) })
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
