package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed testdata/loop.c
var loopSource string

// boxRoot is a root filesystem of one static busybox and the loop program, made
// on first use.
func (b *bench) boxRoot() (string, error) {
	if b.root != "" {
		return b.root, nil
	}
	if b.root = os.Getenv(rootVar); b.root != "" {
		return b.root, nil // made by the bench outside
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return "", missingPeer{"busybox", "apt-get install busybox-static"}
	}
	root := filepath.Join(b.temp, "root")
	for _, dir := range [...]string{"bin", "dev", "proc", "sys", "tmp", "run", "etc", "root"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return "", err
		}
	}
	files := [...]struct {
		name, text string
		mode       fs.FileMode
	}{
		{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644},
		{"etc/group", "root:x:0:\n", 0o644},
		{"etc/file", "to be opened\n", 0o644},
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(root, f.name), []byte(f.text), f.mode); err != nil {
			return "", err
		}
	}
	if err := copyFile(busybox, filepath.Join(root, "bin/busybox")); err != nil {
		return "", err
	}
	for _, applet := range [...]string{"sh", "true", "sleep"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	if err := compileLoop(filepath.Join(root, "bin/loop")); err != nil {
		return "", err
	}
	b.root = root
	return root, nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

func compileLoop(to string) error { return compileC(loopSource, to) }

func compileC(source, to string) error {
	gcc := exec.Command("gcc", "-O2", "-static", "-x", "c", "-o", to, "-")
	gcc.Stdin = strings.NewReader(source)
	if out, err := gcc.CombinedOutput(); err != nil {
		return fmt.Errorf("gcc: %w: %s (apt-get install gcc libc6-dev)", err, out)
	}
	return nil
}
