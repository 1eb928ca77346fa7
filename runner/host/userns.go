package host

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// UserNamespaces is whether this process can make a user namespace and be root
// in it. It is tried: no setting tells the whole truth.
func UserNamespaces() Fact {
	f := Fact{Name: nameUserns}
	if err := tryUserNamespace(); err != nil {
		f.Reason, f.Remedy = ExplainUserNamespace(err)
		return f
	}
	f.Have = true
	if n := sysctl("user/max_user_namespaces"); n != "" {
		f.Value = "at most " + n
	}
	return f
}

// tryUserNamespace also mounts in it: Ubuntu's AppArmor rule lets a namespace
// be made, and then takes its capabilities away.
func tryUserNamespace() error {
	l := new(opList)
	l.mount("mount in it", "none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	return runOps(unix.CLONE_NEWUSER|unix.CLONE_NEWNS, l)
}

// usernsEvidence is all that ExplainUserNamespace judges by.
type usernsEvidence struct {
	err           error
	unprivClone   string // kernel.unprivileged_userns_clone (Debian, Arch)
	maxNamespaces string // user.max_user_namespaces
	appArmor      string // kernel.apparmor_restrict_unprivileged_userns (Ubuntu)
	container     string // "docker", "podman", …; "": none that shows
	seccomp       string // the Seccomp line of /proc/self/status
	seLinux       bool   // enforcing
	chrooted      bool
	root          bool
}

// ExplainUserNamespace says why a user namespace could not be made, and the
// command that changes it. err is what clone3, clone, unshare, the write of a
// uid_map or the first mount inside answered.
func ExplainUserNamespace(err error) (reason, remedy string) {
	return explain(usernsEvidence{
		err:           err,
		unprivClone:   sysctl("kernel/unprivileged_userns_clone"),
		maxNamespaces: sysctl("user/max_user_namespaces"),
		appArmor:      sysctl("kernel/apparmor_restrict_unprivileged_userns"),
		container:     Container(),
		seccomp:       statusField(selfStatus(), "Seccomp"),
		seLinux:       strings.TrimSpace(readSmall("/sys/fs/selinux/enforce")) == "1",
		chrooted:      chrooted(),
		root:          os.Geteuid() == 0,
	})
}

// explain goes from what the errno proves to what is merely likely.
func explain(e usernsEvidence) (reason, remedy string) {
	switch {
	case errors.Is(e.err, unix.EMFILE), errors.Is(e.err, unix.ENFILE):
		return "no descriptor is left", "raise the limit of open files: ulimit -n"
	case errors.Is(e.err, unix.EAGAIN):
		return "no process is left", "raise the limit of processes: ulimit -u, or pids.max of the control group around hutch"
	case e.maxNamespaces == "0":
		return "user.max_user_namespaces is 0",
			"as root: sysctl -w user.max_user_namespaces=15000" + inContainer(e.container)
	case errors.Is(e.err, unix.ENOSPC), errors.Is(e.err, unix.EUSERS):
		return "the limit of user.max_user_namespaces (" + e.maxNamespaces + "), or of 32 nested ones, is reached",
			"end some boxes, or as root: sysctl -w user.max_user_namespaces=100000"
	case errors.Is(e.err, unix.EINVAL):
		return "the kernel was built without user namespaces (CONFIG_USER_NS)", "use a kernel that has them, or the uml engine"
	case errors.Is(e.err, unix.ENOSYS):
		return "clone3 is missing: the kernel is older than 5.3, or a container's seccomp profile hides it",
			"use a newer kernel; in a container: --security-opt seccomp=unconfined"
	case e.unprivClone == "0" && !e.root:
		return "kernel.unprivileged_userns_clone is 0", "as root: sysctl -w kernel.unprivileged_userns_clone=1"
	case e.appArmor != "" && e.appArmor != "0" && !e.root:
		return "kernel.apparmor_restrict_unprivileged_userns is " + e.appArmor + " (Ubuntu): AppArmor takes away what a user namespace gives",
			"as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; or give hutch an AppArmor profile with the rule userns"
	case e.chrooted && errors.Is(e.err, unix.EPERM):
		return "this process is in a chroot, where the kernel forbids user namespaces", "leave the chroot, or enter it with pivot_root (unshare -m)"
	case e.container != "" && e.seccomp == "2":
		return "the seccomp profile of this container (" + e.container + ") forbids it",
			"run the container with --security-opt seccomp=unconfined" + moreForContainer(e.container)
	case e.container != "":
		return "this container (" + e.container + ") forbids it",
			"run the container with --privileged, or --cap-add SYS_ADMIN --security-opt apparmor=unconfined"
	case e.seccomp == "2":
		return "a seccomp filter on this process forbids it",
			"start hutch outside of the sandbox or service that set it (systemd: RestrictNamespaces=no)"
	case e.seLinux:
		return "SELinux is enforcing and its policy forbids it",
			"look for the denial with ausearch -m avc -ts recent, and allow user_namespace create for this domain"
	case e.err != nil:
		return "the kernel refused: " + e.err.Error(), "run hutch as root, or use the uml engine"
	}
	return "", ""
}

func inContainer(container string) string {
	if container == "" {
		return ""
	}
	return ", outside of this container (" + container + ")"
}

func moreForContainer(container string) string {
	if container == "docker" {
		return " --security-opt apparmor=unconfined --security-opt systempaths=unconfined"
	}
	return " --security-opt unmask=ALL"
}

// Container names the kind of container that this process is in, by the marks
// that the container managers leave; "" when there is none. A mark may be left
// over, so it explains a failure and proves nothing.
func Container() string {
	for _, m := range [...]struct{ file, kind string }{
		{"/run/.containerenv", "podman"},
		{"/.dockerenv", "docker"},
		{"/var/run/secrets/kubernetes.io", "kubernetes"},
	} {
		if _, err := os.Lstat(m.file); err == nil {
			return m.kind
		}
	}
	return strings.TrimSpace(readSmall("/run/systemd/container"))
}

// chrooted reports whether this process's root is not that of its mount
// namespace: then the root's mount is not the first of mountinfo's parents.
func chrooted() bool {
	text := readSmall("/proc/self/mountinfo")
	return text != "" && !hasRootMount(text)
}

// hasRootMount looks for a mount on "/": inside a chroot to a directory that
// is no mount point, none is listed.
func hasRootMount(mountinfo string) bool {
	for line := range strings.SplitSeq(mountinfo, "\n") {
		if f := strings.Fields(line); len(f) > 4 && f[4] == "/" {
			return true
		}
	}
	return false
}

// sysctl reads one, named with slashes; "" when it is not there.
func sysctl(name string) string { return strings.TrimSpace(readSmall("/proc/sys/" + name)) }

// readSmall is a file's text, "" when it cannot be read. Package os would ask
// first whether the file can be polled, with ten system calls for the first one.
func readSmall(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	text := make([]byte, 0, 1024)
	for {
		n, err := unix.Read(fd, text[len(text):cap(text)])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return ""
		case n == 0:
			return string(text)
		default:
			text = slices.Grow(text[:len(text)+n], 1024)
		}
	}
}

func itoa[T int | uint32 | uint64](n T) string { return strconv.FormatUint(uint64(n), 10) }
