package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// applets are the names under which busybox lies in the root.
func applets() []string {
	return []string{
		"sh", "cat", "dd", "echo", "env", "false", "head", "hostname", "id", "kill", "ls", "mkdir", "mount",
		"ps", "pwd", "sleep", "stat", "touch", "true", "wc",
	}
}

// busyboxRoot makes a small root file system.
func busyboxRoot(dir string) error {
	for _, d := range []string{"bin", "etc", "tmp", "root", "work"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := copyFile("/bin/busybox", filepath.Join(dir, "bin/busybox")); err != nil {
		return fmt.Errorf("%w (package busybox-static)", err)
	}
	for _, a := range applets() {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", a)); err != nil {
			return err
		}
	}
	return accounts(dir)
}

func accounts(dir string) error {
	const passwd = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/work:/bin/sh\n" +
		"_apt:x:42:65534::/nonexistent:/bin/false\nnobody:x:65534:65534::/nonexistent:/bin/false\n"
	const group = "root:x:0:\nextra:x:7:user\nuser:x:1000:\nnogroup:x:65534:\n"
	if err := os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte(passwd), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "etc/group"), []byte(group), 0o644)
}

// appRoot makes a root whose programs are those of a /usr that is bound
// there: what Debian's packages bring, at no cost.
func appRoot(dir string) error {
	for _, d := range []string{
		"usr", "root", "tmp", "work", "etc/apt/apt.conf.d", "var/lib/dpkg/info", "var/lib/dpkg/updates",
		"var/lib/dpkg/triggers", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt",
	} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+d, filepath.Join(dir, d)); err != nil {
			return err
		}
	}
	// Debian's own links to java and awk go through here.
	if err := copyLinks("/etc/alternatives", filepath.Join(dir, "etc/alternatives")); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"var/lib/dpkg/status":  "",
		"etc/apt/sources.list": "deb http://deb.debian.org/debian bookworm main\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return accounts(dir)
}

func copyLinks(from, to string) error {
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	links, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, l := range links {
		target, err := os.Readlink(filepath.Join(from, l.Name()))
		if err != nil {
			continue // its README
		}
		if err := os.Symlink(target, filepath.Join(to, l.Name())); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// smallRoot is the root for tests that are not scripts.
func smallRoot(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	if err := busyboxRoot(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}
