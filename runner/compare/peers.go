package compare

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Peers are other tools that run a command in a root directory. To add one: a
// row with its Debian package, how it says its version, and its command line,
// which has c.Limits or is fenced.
func peerSides() []*side {
	return []*side{
		fenced(peerSide("bwrap", "bubblewrap", "--version", bwrapCommand)),
		peerSide("crun", "crun", "--version", ociCommand("crun")),
		peerSide("runc", "runc", "--version", ociCommand("runc")),
		peerSide("runsc", "runsc", "--version", ociCommand("runsc", "--network=none")),
		fenced(peerSide("systemd-nspawn", "systemd-container", "--version", nspawnCommand)),
		peerSide("podman", "podman", "--version", podmanCommand),
	}
}

func fenced(s *side) *side {
	s.fenced = true
	return s
}

func peerSide(program, debian, version string, command func(*Comparison, job) ([]string, func(), error)) *side {
	s := &side{name: program, kind: kindPeer, command: command}
	path, err := exec.LookPath(program)
	if err != nil {
		s.why = "not installed: apt-get install " + debian
		return s
	}
	out, err := exec.Command(path, version).Output()
	if err != nil {
		s.why = fmt.Sprintf("%s %s: %v", program, version, err)
	}
	s.version, _, _ = strings.Cut(string(out), "\n")
	return s
}

func bwrapCommand(c *Comparison, j job) ([]string, func(), error) {
	argv := []string{
		"bwrap", "--unshare-all", "--die-with-parent", "--new-session",
		"--ro-bind", c.rootDir, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
	}
	if j.bound {
		argv = append(argv, "--ro-bind", c.bundle, insideBundle, "--bind", c.disk, insideDisk)
	}
	return append(append(argv, "--"), j.argv...), func() {}, nil
}

func nspawnCommand(c *Comparison, j job) ([]string, func(), error) {
	argv := []string{
		"systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--pipe",
		"--read-only", "--tmpfs=/tmp", "--directory=" + c.rootDir,
	}
	if j.bound {
		argv = append(argv, "--bind-ro="+c.bundle+":"+insideBundle, "--bind="+c.disk+":"+insideDisk)
	}
	return append(append(argv, "--"), j.argv...), func() {}, nil
}

func podmanCommand(c *Comparison, j job) ([]string, func(), error) {
	argv := []string{
		"podman", "run", "--rm", "--interactive", "--network=none", "--read-only", "--tmpfs=/tmp:exec",
		"--pull=never", "--log-driver=none",
	}
	argv = append(argv, c.Limits.flags("--pids-limit")...)
	if j.bound {
		argv = append(argv, "--volume="+c.bundle+":"+insideBundle+":ro", "--volume="+c.disk+":"+insideDisk)
	}
	return append(append(argv, "--rootfs", c.rootDir), j.argv...), func() {}, nil
}

type object = map[string]any

// ociCommand runs a bundle of the OCI runtime specification.
func ociCommand(program string, options ...string) func(*Comparison, job) ([]string, func(), error) {
	return func(c *Comparison, j job) ([]string, func(), error) {
		dir, err := os.MkdirTemp(c.temp, program+"-")
		if err != nil {
			return nil, nil, err
		}
		data, err := json.Marshal(ociConfig(c, j))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644)
		}
		if err != nil {
			os.RemoveAll(dir)
			return nil, nil, err
		}
		name := "hutch-compare-" + filepath.Base(dir)
		argv := append([]string{program, "--root", filepath.Join(c.temp, "state-"+program)}, options...)
		if program == "runsc" && c.Limits == (Limits{}) {
			argv = append(argv, "--ignore-cgroups")
		}
		argv = append(argv, "run", "--bundle", dir, name)
		return argv, func() { os.RemoveAll(dir) }, nil
	}
}

// ociConfig asks of a runtime what the native engine does by default: the same
// namespaces and ids, and few capabilities.
func ociConfig(c *Comparison, j job) object {
	uid, gid, size := os.Getuid(), os.Getgid(), 1
	if uid == 0 {
		uid, gid, size = 1_000_000, 1_000_000, 65536
	}
	capabilities := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETUID", "CAP_SETGID", "CAP_KILL"}
	mount := func(kind, source, at string, options ...string) object {
		return object{"type": kind, "source": source, "destination": at, "options": options}
	}
	mounts := []object{
		mount("proc", "proc", "/proc", "nosuid", "nodev", "noexec"),
		mount("tmpfs", "tmpfs", "/dev", "nosuid", "mode=755", "size=65536k"),
		mount("devpts", "devpts", "/dev/pts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
		mount("tmpfs", "tmpfs", "/dev/shm", "nosuid", "nodev", "noexec", "mode=1777", "size=65536k"),
		mount("tmpfs", "tmpfs", "/tmp", "nosuid", "nodev", "mode=1777"),
	}
	if j.bound {
		mounts = append(mounts,
			mount("bind", c.bundle, insideBundle, "bind", "ro"), mount("bind", c.disk, insideDisk, "bind", "rw"))
	}
	return object{
		"ociVersion": "1.0.2", "hostname": "hutch",
		"root": object{"path": c.rootDir, "readonly": true},
		"process": object{
			"args": j.argv, "cwd": "/", "env": []string{"PATH=" + insidePath},
			"user": object{"uid": 0, "gid": 0}, "noNewPrivileges": true,
			"capabilities": object{"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
		},
		"mounts": mounts,
		"linux": object{
			"resources":   c.Limits.resources(),
			"uidMappings": []object{{"containerID": 0, "hostID": uid, "size": size}},
			"gidMappings": []object{{"containerID": 0, "hostID": gid, "size": size}},
			"namespaces": []object{
				{"type": "user"},
				{"type": "mount"},
				{"type": "pid"},
				{"type": "ipc"},
				{"type": "uts"},
				{"type": "network"},
			},
		},
	}
}

const insidePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
