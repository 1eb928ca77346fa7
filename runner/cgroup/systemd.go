package cgroup

import (
	"context"
	"errors"
	"os"
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
func systemdScope(h *hierarchy, need set, ask func(ctx context.Context, unit string, pid int) error) (string, error) {
	if ask == nil || !exists("/run/systemd/system") {
		return "", errNoSystemd
	}
	name, err := ownName()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), systemdWait)
	defer cancel()
	if err := ask(ctx, name+".scope", os.Getpid()); err != nil {
		return "", &Error{Controller: need.first(), Op: "ask systemd for a delegated scope", Err: err, Remedy: scopeRemedy(need)}
	}
	return h.enterScope(ctx, name+".scope", need)
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
