package kvm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"hutch/runner"
	"hutch/runner/guest"
)

// qemuName is the program for machines like this one.
const qemuName = "qemu-system-x86_64"

// A qemu is what is known of the emulator.
type qemu struct {
	Path    string   `json:"path"`
	Version [2]int   `json:"version"`
	Microvm bool     `json:"microvm"`
	Files   []string `json:"files"` // that it needs: libraries, accelerator, firmware
}

const installQEMU = "as root: apt-get install qemu-system-x86; or use --engine uml, which needs no emulator"

// findQEMU looks it up and asks it what it is, once for each build of it.
func findQEMU(cache string) (*qemu, error) {
	path, err := exec.LookPath(qemuName)
	if err != nil {
		return nil, &runner.Error{Stage: runner.StageStart, Step: qemuName + " is not in PATH", Hint: installQEMU}
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, &runner.Error{Stage: runner.StageStart, Step: "QEMU", Err: err, Hint: installQEMU}
	}
	q := &qemu{}
	err = remember(cache, "qemu", path, q, func() error { return q.inspect(path) })
	if err != nil {
		return nil, err
	}
	return q, nil
}

// inspect asks QEMU for its version and machines.
func (q *qemu) inspect(path string) error {
	fail := func(err error) error {
		return &runner.Error{Stage: runner.StageStart, Step: path, Err: err, Hint: "it must be a working QEMU: apt-get install --reinstall qemu-system-x86"}
	}
	out, err := guest.Ask(path, "--version")
	if err != nil {
		return fail(err)
	}
	if q.Version, err = parseVersion(out); err != nil {
		return fail(err)
	}
	// Before it is asked for what an old one does not know.
	if err := checkVersion(q.Version); err != nil {
		return err
	}
	machines, err := guest.Ask(path, "-machine", "help")
	if err != nil {
		return fail(err)
	}
	q.Path, q.Microvm = path, hasMachine(machines, "microvm")
	q.Files, err = qemuFiles(path)
	return err
}

// parseVersion reads "QEMU emulator version 7.2.22 (Debian …)".
func parseVersion(text string) (v [2]int, err error) {
	_, rest, ok := strings.Cut(text, "version ")
	major, rest, ok2 := strings.Cut(rest, ".")
	if v[0], err = strconv.Atoi(major); !ok || !ok2 || err != nil {
		return v, fmt.Errorf("it says no version: %.60q", text)
	}
	minor := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if minor < 0 {
		minor = len(rest)
	}
	if v[1], err = strconv.Atoi(rest[:minor]); err != nil {
		return v, fmt.Errorf("it says no version: %.60q", text)
	}
	return v, nil
}

// hasMachine looks for a line that begins with the name.
func hasMachine(list, name string) bool {
	for line := range strings.SplitSeq(list, "\n") {
		if word, _, _ := strings.Cut(line, " "); word == name {
			return true
		}
	}
	return false
}

// moduleDirs is where QEMU's modules are, by distribution; dataDirs is where
// its firmware is. What is not there is built in, or not needed.
var (
	moduleDirs = [...]string{"/usr/lib/x86_64-linux-gnu/qemu", "/usr/lib/qemu", "/usr/lib64/qemu"}
	dataDirs   = [...]string{"/usr/share/qemu", "/usr/share/seabios", "/usr/lib/ipxe/qemu"}
)

// qemuFiles is all that the process opens: nothing else is in its box.
func qemuFiles(path string) ([]string, error) {
	files := []string{path}
	for _, dir := range moduleDirs {
		if m := filepath.Join(dir, "accel-tcg-x86_64.so"); isFile(m) {
			files = append(files, m)
		}
	}
	list := []string{}
	for _, f := range files {
		libraries, err := guest.Libraries(f)
		if err != nil {
			return nil, err
		}
		list = append(list, libraries...)
	}
	files = appendNew(files, list...)
	for _, dir := range dataDirs {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			files = append(files, dir)
		}
	}
	return files, nil
}

func appendNew(list []string, more ...string) []string {
	seen := map[string]bool{}
	for _, f := range list {
		seen[f] = true
	}
	for _, f := range more {
		if !seen[f] {
			seen[f] = true
			list = append(list, f)
		}
	}
	return list
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
