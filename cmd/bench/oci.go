package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

type object = map[string]any

// writeBundle makes an OCI bundle that asks of a runtime what `hutch run` does
// by default, but for two things that would only slow the runtime: it compiles
// no seccomp filter and mounts no overlay.
func writeBundle(dir, root string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(bundleConfig(root, os.Getuid(), os.Getgid()), "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644)
}

// bundleConfig is config.json of the OCI runtime specification 1.0.
func bundleConfig(root string, uid, gid int) object {
	// Root maps a range of its own, as hutch does; anybody else only has the one id.
	firstUID, firstGID, size := 1_000_000, 1_000_000, 65536
	if uid != 0 {
		firstUID, firstGID, size = uid, gid, 1
	}
	capabilities := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETUID", "CAP_SETGID", "CAP_KILL"}
	linux := object{
		"uidMappings": []object{{"containerID": 0, "hostID": firstUID, "size": size}},
		"gidMappings": []object{{"containerID": 0, "hostID": firstGID, "size": size}},
		"namespaces": []object{
			{"type": "user"},
			{"type": "mount"},
			{"type": "pid"},
			{"type": "ipc"},
			{"type": "uts"},
			{"type": "network"},
		},
		"maskedPaths":   []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/acpi", "/proc/scsi", "/proc/sched_debug"},
		"readonlyPaths": []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	}
	return object{
		"ociVersion": "1.0.2",
		"hostname":   "hutch",
		"root":       object{"path": root, "readonly": true},
		"process": object{
			"args": []string{"/bin/true"}, "cwd": "/", "env": []string{"PATH=/bin"},
			"user": object{"uid": 0, "gid": 0}, "noNewPrivileges": true,
			"capabilities": object{"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
		},
		"mounts": bundleMounts(),
		"linux":  linux,
	}
}

func bundleMounts() []object {
	mount := func(kind, at string, options ...string) object {
		return object{"type": kind, "source": kind, "destination": at, "options": options}
	}
	return []object{
		mount("proc", "/proc", "nosuid", "nodev", "noexec"),
		mount("tmpfs", "/dev", "nosuid", "mode=755", "size=65536k"),
		mount("devpts", "/dev/pts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
		mount("tmpfs", "/dev/shm", "nosuid", "nodev", "noexec", "mode=1777", "size=65536k"),
		mount("mqueue", "/dev/mqueue", "nosuid", "nodev", "noexec"),
		mount("tmpfs", "/tmp", "nosuid", "nodev", "mode=1777"),
	}
}

// emptyUnified takes the controllers away from a cgroup2 that is mounted beside
// v1 hierarchies, for crun before 1.9 refuses to run while it holds one. The only
// such controller seen is hugetlb: mounted on a v1 hierarchy of its own it leaves
// cgroup2. The function returned undoes that.
func emptyUnified(at string) (restore func() error, err error) {
	nothing := func() error { return nil }
	controllers, err := os.ReadFile("/sys/fs/cgroup/unified/cgroup.controllers")
	if errors.Is(err, os.ErrNotExist) || strings.TrimSpace(string(controllers)) != "hugetlb" || os.Getuid() != 0 {
		return nothing, nil
	}
	if err := os.MkdirAll(at, 0o755); err != nil {
		return nothing, err
	}
	if err := syscall.Mount("hugetlb", at, "cgroup", 0, "hugetlb"); err != nil {
		return nothing, &os.PathError{Op: "mount cgroup hugetlb on", Path: at, Err: err}
	}
	return func() error {
		if err := syscall.Unmount(at, 0); err != nil {
			return &os.PathError{Op: "unmount", Path: at, Err: err}
		}
		return nil
	}, nil
}
