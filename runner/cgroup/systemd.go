package cgroup

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// errNoSystemd: there is no systemd to ask, or no way to talk to it.
var errNoSystemd = errors.New("no systemd here")

// systemdWait bounds the whole conversation.
const systemdWait = 5 * time.Second

// systemdScope asks systemd for a transient scope of its own for this process,
// delegated (org.freedesktop.systemd1(5), StartTransientUnit), and returns
// the scope's group, in which this process has stepped aside. Only systemd can
// do that for an ordinary user: moving a process needs write access to a group
// above both places, and that one belongs to root.
//
// It runs busctl(1) instead of linking a D-Bus library: that costs every start
// of hutch nothing (README.md has the figures), and whoever has systemd has it.
func systemdScope(h *hierarchy, need set) (string, error) {
	busctl, err := exec.LookPath("busctl")
	if err != nil || !exists("/run/systemd/system") {
		return "", errNoSystemd
	}
	name, err := ownName()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), systemdWait)
	defer cancel()
	out, err := exec.CommandContext(ctx, busctl, scopeCall(name+".scope", os.Getpid(), os.Geteuid())...).CombinedOutput()
	if err != nil {
		return "", &Error{
			Controller: need.first(), Op: "ask systemd for a delegated scope", Err: err,
			Reason: strings.TrimSpace(string(out)), Remedy: scopeRemedy(need),
		}
	}
	return h.enterScope(ctx, name+".scope", need)
}

// scopeCall is the command line. The types: name, mode, properties as
// (name, variant), and no auxiliary units.
func scopeCall(unit string, pid, uid int) []string {
	bus := "--system"
	if uid != 0 {
		bus = "--user"
	}
	return []string{
		bus, "--quiet", "call",
		"org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
		"StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail",
		"3",
		"PIDs", "au", "1", itoa(int64(pid)),
		"Delegate", "b", "true",
		"CollectMode", "s", "inactive-or-failed",
		"0",
	}
}

func scopeRemedy(need set) string {
	if os.Geteuid() == 0 {
		return delegateV2(need)
	}
	return "log in through systemd-logind, or set XDG_RUNTIME_DIR=/run/user/" + itoa(int64(os.Geteuid())) +
		" (loginctl enable-linger starts the user's manager); or " + delegateV2(need)
}

// enterScope waits until systemd has moved this process: the call answers when
// the job is queued.
func (h *hierarchy) enterScope(ctx context.Context, unit string, need set) (string, error) {
	for {
		lay, err := readLayout()
		if err != nil {
			return "", err
		}
		if strings.HasSuffix(lay.v2.self, "/"+unit) {
			return h.inScope(&lay.v2, need)
		}
		if ctx.Err() != nil {
			return "", &Error{
				Controller: need.first(), Op: "wait for systemd to start " + unit, Err: ctx.Err(),
				Remedy: "look at systemctl status " + unit,
			}
		}
		time.Sleep(500 * time.Microsecond)
	}
}

func (h *hierarchy) inScope(scope *hierarchy, need set) (string, error) {
	if have := controllersIn(scope.self, controllersFile); !need.subset(have) {
		lacking := need &^ have
		return "", &Error{
			Controller: lacking.first(), Op: "use the scope " + scope.self,
			Reason: "systemd does not delegate the controller", Remedy: delegateV2(need),
		}
	}
	err := scope.stepAside(need)
	if errors.Is(err, unix.EBUSY) {
		err = handOn(scope.self, need)
	}
	if err != nil {
		return "", &Error{Controller: need.first(), Op: "use the scope " + scope.self, Err: err, Remedy: delegateV2(need)}
	}
	return scope.self, nil
}
