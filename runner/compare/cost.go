package compare

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A reading is what the host says at one moment.
type reading struct {
	at                        time.Time
	cpu                       time.Duration // of a process and all that it started
	read, written, operations float64       // of the disk, since the machine started
	cache                     float64       // bytes of the page cache
	disk                      bool          // whether the disk could be read
}

func (c *Comparison) readCost(pid int) reading {
	r := reading{at: time.Now(), cache: meminfo("Cached:")}
	for _, p := range tree(pid) {
		r.cpu += processTime(p)
	}
	r.read, r.written, r.operations, r.disk = diskStats(c.disk)
	return r
}

// costs collects the readings of a workload over the rounds.
type costs struct{ cpu, read, written, operations, cache, steal []float64 }

func (k *costs) add(before, after reading, steal *float64) {
	wall := after.at.Sub(before.at).Seconds()
	k.cpu = append(k.cpu, (after.cpu-before.cpu).Seconds()/wall)
	k.cache = append(k.cache, after.cache-before.cache)
	if before.disk && after.disk {
		k.read = append(k.read, after.read-before.read)
		k.written = append(k.written, after.written-before.written)
		k.operations = append(k.operations, after.operations-before.operations)
	}
	if steal != nil {
		k.steal = append(k.steal, *steal)
	}
}

// cost is the medians of the readings.
func (k *costs) cost() *Cost {
	if k == nil {
		return nil
	}
	of := func(xs []float64) *float64 {
		if len(xs) == 0 {
			return nil
		}
		m := median(xs)
		return &m
	}
	return &Cost{
		CPUSeconds: of(k.cpu), ReadBytes: of(k.read), WrittenBytes: of(k.written),
		Operations: of(k.operations), PageCacheBytes: of(k.cache), Steal: of(k.steal),
	}
}

// tree is pid and every process below it.
func tree(pid int) []int {
	list := []int{pid}
	for i := 0; i < len(list); i++ {
		tasks, err := os.ReadDir("/proc/" + strconv.Itoa(list[i]) + "/task")
		if err != nil {
			continue
		}
		for _, t := range tasks {
			text, err := os.ReadFile("/proc/" + strconv.Itoa(list[i]) + "/task/" + t.Name() + "/children")
			if err != nil {
				continue
			}
			for f := range strings.FieldsSeq(string(text)) {
				if n, err := strconv.Atoi(f); err == nil {
					list = append(list, n)
				}
			}
		}
	}
	return list
}

// processTime is what all threads of pid have run, and its children that it
// has waited for: nanoseconds from schedstat, ticks for the children.
func processTime(pid int) time.Duration {
	var sum time.Duration
	dir := "/proc/" + strconv.Itoa(pid)
	tasks, err := os.ReadDir(dir + "/task")
	if err != nil {
		return 0
	}
	for _, t := range tasks {
		text, err := os.ReadFile(dir + "/task/" + t.Name() + "/schedstat")
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(text), " ")
		if n, err := strconv.ParseInt(first, 10, 64); err == nil {
			sum += time.Duration(n)
		}
	}
	text, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return sum
	}
	// Behind the name in brackets, which may hold anything: cutime and cstime
	// are fields 16 and 17 of proc_pid_stat(5).
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every architecture of ours
	for _, i := range []int{13, 14} {
		if i < len(f) {
			if n, err := strconv.ParseInt(f[i], 10, 64); err == nil {
				sum += time.Duration(n) * tick
			}
		}
	}
	return sum
}

// meminfo is a line of /proc/meminfo in bytes, 0 where there is none.
func meminfo(key string) float64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == key {
			n, _ := strconv.ParseFloat(f[1], 64)
			return n * 1024
		}
	}
	return 0
}

// diskName is the block device that holds path, as /sys/dev/block names it;
// "" for a file system without one.
func diskName(path string) string {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return ""
	}
	link, err := os.Readlink("/sys/dev/block/" + strconv.FormatUint(uint64(unix.Major(st.Dev)), 10) + ":" + strconv.FormatUint(uint64(unix.Minor(st.Dev)), 10))
	if err != nil {
		return ""
	}
	return filepath.Base(link)
}

// diskStats is what the disk under path has done, in bytes and operations,
// Documentation/admin-guide/iostats.rst.
func diskStats(path string) (read, written, operations float64, ok bool) {
	const sector = 512 // whatever the disk's own is
	name := diskName(path)
	text, err := os.ReadFile("/proc/diskstats")
	if err != nil || name == "" {
		return 0, 0, 0, false
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 10 || f[2] != name {
			continue
		}
		number := func(i int) float64 {
			n, _ := strconv.ParseFloat(f[i], 64)
			return n
		}
		return number(5) * sector, number(9) * sector, number(3) + number(7), true
	}
	return 0, 0, 0, false
}

// pss is the proportional share of memory of pid and all below it, in bytes,
// and how many processes could be read.
func pss(pid int) (bytes float64, processes int) {
	for _, p := range tree(pid) {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(p) + "/smaps_rollup")
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
				n, _ := strconv.ParseFloat(f[1], 64)
				bytes += n * 1024
				processes++
			}
		}
	}
	return bytes, processes
}
