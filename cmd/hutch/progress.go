package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hutch/rootfs"
)

// progress reports an unpacking that takes longer than a second: a line that
// is written over on a terminal, a line every few seconds elsewhere.
func progress() func(rootfs.Progress) {
	began := time.Now()
	var last time.Time
	_, err := unix.IoctlGetTermios(int(os.Stderr.Fd()), unix.TCGETS)
	terminal, shown := err == nil, false
	every := 5 * time.Second
	if terminal {
		every = 100 * time.Millisecond
	}
	return func(p rootfs.Progress) {
		now := time.Now()
		if now.Sub(began) < time.Second || (!p.Done && now.Sub(last) < every) {
			return
		}
		last = now
		line := progressLine(p, now.Sub(began))
		switch {
		case !terminal:
			fmt.Fprintln(os.Stderr, line)
		case p.Done && shown:
			fmt.Fprint(os.Stderr, "\r\033[K")
		case !p.Done:
			shown = true
			fmt.Fprint(os.Stderr, "\r\033[K"+line)
		}
	}
}

func progressLine(p rootfs.Progress, took time.Duration) string {
	const mib = 1 << 20
	rate := float64(p.Written) / mib / took.Seconds()
	line := fmt.Sprintf("unpacking %s: %d MiB, %d files, %.0f MiB/s", p.Name, p.Written/mib, p.Entries, rate)
	if p.Total > 0 && p.Read > 0 && !p.Done {
		left := time.Duration(float64(took) * float64(p.Total-p.Read) / float64(p.Read))
		line += fmt.Sprintf(", %d %%, %s left", p.Read*100/p.Total, left.Round(time.Second))
	}
	return line
}
