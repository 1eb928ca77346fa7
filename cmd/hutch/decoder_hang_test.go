package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A decoder that has been taken over says no end of words, starts others that
// stay, and does not end when it is done. Hutch does not wait for it, and keeps
// little of what it says.
func TestDecoderThatStays(t *testing.T) {
	t.Parallel()
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	d := &decoder{fed: make(chan error, 1), out: out}
	d.cmd = exec.Cmd{
		Path: "/bin/sh", Args: []string{"sh", "-c", "yes no end of words >&2 & exec >&-; sleep 1000"},
		Stdout: stdout, Stderr: &d.words, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}, WaitDelay: lastMoments,
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stdout.Close()
	began := time.Now()
	if _, err := d.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("ended well: %v", err)
	}
	if spent := time.Since(began); spent > 4*lastMoments {
		t.Errorf("waited %v", spent)
	}
	if n := len(d.words.String()); n == 0 || n > mostWords {
		t.Errorf("kept %d bytes", n)
	}
	// Killed they are, and each has to get a processor once more to be gone.
	await(t, "the end of all that it started", func() bool { return len(group(d.cmd.Process.Pid)) == 0 })
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// group is what still runs of a process group: field 5 of proc_pid_stat(5).
func group(pgid int) (stats []string) {
	names, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range names {
		data, _ := os.ReadFile(name)
		_, rest, _ := strings.Cut(string(data), ") ")
		f := strings.Fields(rest)
		if len(f) > 2 && f[0] != "Z" && f[0] != "X" && f[2] == strconv.Itoa(pgid) {
			stats = append(stats, string(data))
		}
	}
	return stats
}
