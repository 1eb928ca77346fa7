package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hutch/rootfs"
)

// patience is what may pass before anything is shown.
const patience = time.Second

// progress reports what takes longer than a second: a bar that is written over
// on a terminal and gone in the end, a plain line every few seconds elsewhere.
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
		if now.Sub(began) < patience || (!p.Done && now.Sub(last) < every) {
			return
		}
		last = now
		took := now.Sub(began)
		switch {
		case !terminal:
			fmt.Fprintln(os.Stderr, progressLine(p, took))
		case p.Done && shown:
			fmt.Fprint(os.Stderr, "\r\033[K")
		case !p.Done:
			shown = true
			fmt.Fprint(os.Stderr, "\r\033[K"+progressBar(p, took, columns()))
		}
	}
}

// columns is the width of the terminal.
func columns() int {
	size, err := unix.IoctlGetWinsize(int(os.Stderr.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return 80
	}
	return int(size.Col)
}

func progressLine(p rootfs.Progress, took time.Duration) string {
	const mib = 1 << 20
	line := fmt.Sprintf("unpacking %s: %d MiB, %d files, %s", printable(p.Name), p.Written/mib, p.Entries, rate(p, took))
	if share, left, ok := remaining(p, took); ok {
		line += fmt.Sprintf(", %d %%, %s left", share, left)
	}
	return line
}

func rate(p rootfs.Progress, took time.Duration) string {
	return fmt.Sprintf("%.0f MiB/s", float64(p.Written)/(1<<20)/took.Seconds())
}

// remaining says how many percent are done, and how long the rest will take at
// the same rate.
func remaining(p rootfs.Progress, took time.Duration) (percent int64, left time.Duration, ok bool) {
	if p.Total <= 0 || p.Read <= 0 || p.Done {
		return 0, 0, false
	}
	read := min(p.Read, p.Total)
	left = time.Duration(float64(took) * float64(p.Total-read) / float64(read))
	return read * 100 / p.Total, left.Round(time.Second), true
}

// progressBar is a line of less than width columns: a line as wide as the
// terminal would wrap on some.
func progressBar(p rootfs.Progress, took time.Duration, width int) string {
	share, left, ok := remaining(p, took)
	if !ok {
		return fit(progressLine(p, took), width-1)
	}
	const bar = 20
	full := int(share * bar / 100)
	tail := fmt.Sprintf(" [%s%s] %3d %% %s, %s left", strings.Repeat("#", full), strings.Repeat("-", bar-full), share, rate(p, took), left)
	if len(tail) > width-12 { // a narrow terminal
		return fit(fmt.Sprintf("%d %% %s left", share, left), width-1)
	}
	return fit("unpacking "+printable(p.Name), width-1-len(tail)) + tail
}

// fit shortens s to n columns, from its middle.
func fit(s string, n int) string {
	r := []rune(s)
	if n = max(n, 0); len(r) <= n {
		return s
	}
	if n < 4 {
		return string(r[:n])
	}
	return string(r[:n/2-1]) + "…" + string(r[len(r)-(n-n/2):])
}
