package main

// A comparison says what of a row is held against its target.
type comparison int

const (
	ratio      comparison = iota // ours divided by the peer's
	difference                   // ours less the peer's
	absolute                     // ours; there is no peer
)

// A row is one line of the table.
type row struct {
	name    string // for --only
	what    string
	unit    string
	compare comparison
	// target is the most that is allowed, aim what is hoped for; 0 for none.
	target, aim float64
	runs        int
	measure     func(b *bench, runs int) (samples, error)
}

// rows is the table. To add a row, add a line, and a function that returns its
// samples: pairs, in the unit of the row.
func rows() []row {
	const starts = 41
	return []row{
		{"start-bwrap", "run DIR /bin/true", "ms", ratio, 1.0, 0.7, starts, startBwrap},
		{"start-crun", "run DIR /bin/true", "ms", ratio, 0.4, 0, starts, startCrun},
		{"start-runc", "run DIR /bin/true", "ms", ratio, 0.12, 0, starts, startRunc},
		{"limits", "start with memory, CPU, process limits", "ms", difference, 0.6, 0, starts, startLimits},
		{"limits-v2", "the same on cgroup v2, in a guest", "ms", ratio, 0, 0, 11, startLimitsV2},
		{"out-of-memory", "end of a hog under --memory 64M", "s", absolute, 1, 0, 5, memoryHog},
		{"fork-bomb", "end after the timeout, --pids 64", "s", absolute, 0.2, 0, 5, forkBomb},
		{"in-turn", "last of 200 starts in turn", "ms", ratio, 1.2, 0, 1, manyInTurn},
		{"side-by-side", "last of 50 starts that stay", "ms", ratio, 1.2, 0, 1, manyBeside},
		// For information: what it costs to keep what is written; most of it is the disk's journal.
		{"keep", "run --keep DIR, one file written", "ms", difference, 0, 0, starts, keepWrites},
		// At least 0.9 times the speed of a plain pipe.
		{"output", "1 GiB through standard output", "s", ratio, 1.11, 0, 11, gigabyteOut},
		{"init", "package init (inittrace)", "ms", difference, 0.6, 0, starts, packageInit},
		{"version", "hutch --version, wall", "ms", difference, 0, 0, starts, versionWall},
		{"memory", "PSS of hutch and reaper", "MiB", absolute, 8, 0, 5, memory},
		{"explain", "run with --explain, nothing refused", "ms", ratio, 1.02, 0, 21, runExplained},
		// For information: hutch looks at each call that opens a file.
		{"explain-all", "openat+close with --explain=all", "ns", ratio, 0, 0, 7, loopExplained},
		{"learn", "opening files, learned from", "ms", ratio, 25, 0, 5, runLearned},
		{"learn-strace", "the same against strace -f", "ms", ratio, 0.333, 0, 5, runLearnedStrace},
		{"getppid", "getppid, in the box", "ns", ratio, 1.05, 0, 21, loopGetppid},
		// For information: what is left when every filter's own cost, ~40 ns of entry path, is taken away.
		{"getppid-filtered", "getppid, against an empty filter", "ns", ratio, 0, 0, 21, loopFiltered},
		{"openat", "openat+close /dev/null, in the box", "ns", ratio, 1.05, 0, 21, loopOpenDevice},
		{"openat-bound", "openat+close of a bound file", "ns", ratio, 1.05, 0, 21, loopOpenBound},
		// For information: what the overlay itself costs when a file of the root is opened.
		{"openat-root", "openat+close of a file of the root", "ns", ratio, 0, 0, 21, loopOpenFile},
		{"filter-read", "read, default filter / allow-all filter", "ns", ratio, 1.03, 0, 21, filterLoop("read", 2000000)},
		{"filter-write", "write, default filter / allow-all filter", "ns", ratio, 1.03, 0, 21, filterLoop("write", 2000000)},
		{"filter-futex", "futex, default filter / allow-all filter", "ns", ratio, 1.03, 0, 21, filterLoop("futex", 2000000)},
		{"filter-openat", "openat+close, default / allow-all filter", "ns", ratio, 1.03, 0, 21, filterLoop("openat", 300000)},
		// For information: the kernel translates a filter that is installed, and tries every number once.
		{"filter-install", "installing the default filter", "ns", difference, 0, 0, 41, filterLoop("install", 1)},
		// The profile found, merged with flags into a Spec, its filter hashed: the first call in a process of its own,
		// timed there, since a start without a profile, to compare with, does not exist.
		{"profile-builtin", "built-in profile, found to merged", "ms", absolute, 0.15, 0, starts, profileBuiltin},
		// For information: the result's timing.prepare_seconds, which is that in a run, and the root and the flags.
		{"prepare", "from flags to a checked Spec", "ms", absolute, 0, 0, starts, prepareRun},
		{"profile-cached", "start with a user's profile, second use", "ms", difference, 0.3, 0, starts, profileCached},
		{"profile-first", "start with a user's profile, first use", "ms", difference, 5, 0, starts, profileFirst},
		{"unpack-zst", "unpack minbase .tar.zst", "s", ratio, 0.8, 0, 7, unpackZstd},
		{"unpack-gz", "unpack minbase .tar.gz", "s", ratio, 0.6, 0, 7, unpackGzip},
		// Without the disk's file system, whose own cost can hide that of both programs.
		{"unpack-zst-tmpfs", "unpack minbase .tar.zst to tmpfs", "s", ratio, 0.8, 0, 11, unpackZstdMemory},
		{"unpack-gz-tmpfs", "unpack minbase .tar.gz to tmpfs", "s", ratio, 0.6, 0, 11, unpackGzipMemory},
		// With the kernel that $HUTCH_UML_KERNEL names, else Debian's. Hutch tells a kernel how fast it loops, the kernel
		// alone counts, as it does for whoever starts it by hand.
		{"uml-start", "uml: to the first instruction", "ms", ratio, 1.15, 0, 11, umlStart},
		{"uml-run", "uml: run DIR /bin/true", "ms", ratio, 1.3, 0, 11, umlWhole},
		{"uml-small-start", "uml, small kernel: to the first instruction", "ms", absolute, 200, 0, 21, withSmallUML(umlTime((*bench).untilFirst))},
		{"uml-small-run", "uml, small kernel: run DIR /bin/true", "ms", absolute, 260, 0, 21, withSmallUML(umlTime((*bench).wallMilliseconds))},
		{"uml-small-alone", "the same, against the small kernel alone", "ms", ratio, 2, 0, 21, withSmallUML(umlWhole)},
		{"uml-prepare", "uml: before the guest starts", "ms", absolute, 30, 0, 11, umlPrepare},
		// For information: the image of 100 MiB that are kept; then also that they are all written anew.
		{"uml-keep", "uml, small kernel: --keep with 100 MiB in it", "ms", difference, 0, 0, 11, withSmallUML(guestKeep("true"))},
		{"uml-keep-write", "the same, all of it written anew", "ms", difference, 0, 0, 5, withSmallUML(guestKeep(writeKept))},
		{"uml-memory", "uml: PSS over the guest's memory", "MiB", absolute, 15, 0, 5, umlMemory},
		// 100 MB/s is 10.7 s.
		{"uml-output", "uml: 1 GiB of standard output", "s", absolute, 10.7, 0, 3, umlOutput},
		// Emulated, with the kernel that $HUTCH_KVM_KERNEL names or make guest-kernels built.
		{"tcg-start", "tcg: to the first instruction", "ms", ratio, 1.15, 0, 11, tcgStart},
		{"tcg-run", "tcg: run DIR /bin/true", "ms", ratio, 1.3, 0, 11, tcgWhole},
		{"tcg-prepare", "tcg: before the guest starts", "ms", absolute, 30, 0, 11, tcgPrepare},
		{"tcg-memory", "tcg: PSS over the guest's memory", "MiB", absolute, 40, 0, 5, tcgMemory},
		{"pull", "pull five layers from loopback and unpack", "s", ratio, 0.6, 0, 5, pull},
		{"layout-umoci", "five layers from an OCI layout", "s", ratio, 0.5, 0, 7, layoutUmoci},
		{"layout-podman", "five layers from an OCI layout", "s", ratio, 0.5, 0, 5, layoutPodman},
		{"start-image", "run IMAGE of five layers, less run DIR", "ms", difference, 1.0, 0, starts, startImage},
		// For information: the store's formats, by which its default was chosen. As root.
		{"erofs-import", "import five layers as EROFS images", "s", ratio, 0, 0, 7, importErofs},
		{"erofs-pull", "pull five layers as EROFS images", "s", ratio, 0, 0, 7, pullErofs},
		{"erofs-start", "run IMAGE, layers as EROFS images", "ms", difference, 0, 0, starts, startErofs},
		{"erofs-openat", "openat+close of a file of an EROFS layer", "ns", ratio, 0, 0, 21, openErofs},
		{"erofs-read", "reading 100 MB of an EROFS root, new box", "ms", ratio, 0, 0, 11, readErofs},
		{"erofs-disk", "the store's five layers as EROFS images", "MiB", ratio, 0, 0, 1, diskErofs},
		{"pull-memory", "peak memory of a pull, both processes", "MiB", absolute, 64, 0, 3, pullMemory},
		{"zeros-memory", "peak memory of an import of 1 GiB of zeros", "MiB", absolute, 64, 0, 1, zerosMemory},
	}
}

// result measures the row and sums it up; an error is part of the result.
func (r row) result(b *bench) result {
	runs := r.runs
	if b.runs > 0 {
		runs = b.runs
	}
	s, err := r.measure(b, runs)
	return r.summarize(s, err)
}
