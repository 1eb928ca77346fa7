// Package scope asks systemd, over D-Bus, for a transient scope.
//
// It is apart from package cgroup because the D-Bus library, and the package
// net that it needs, cost every program that links them 0.07 ms of its start.
package scope

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/godbus/dbus/v5"
)

// A property is one of StartTransientUnit's: a name and a value, (sv).
type property struct {
	Name  string
	Value dbus.Variant
}

// Start has systemd, that of the machine for root and the user's own for
// others, put process pid into a new scope of that name, and delegate to it
// the controllers that it has itself (org.freedesktop.systemd1(5),
// StartTransientUnit). It returns when the job is queued.
func Start(ctx context.Context, unit string, pid int) error {
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	properties := []property{
		{"PIDs", dbus.MakeVariant([]uint32{uint32(pid)})},
		{"Delegate", dbus.MakeVariant(true)},
		{"CollectMode", dbus.MakeVariant("inactive-or-failed")},
	}
	// Auxiliary units: none.
	var others []struct {
		Name       string
		Properties []property
	}
	var job dbus.ObjectPath
	return conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1").CallWithContext(
		ctx, "org.freedesktop.systemd1.Manager.StartTransientUnit", 0, unit, "fail", properties, others,
	).Store(&job)
}

// connect speaks to systemd by the bus, or where there is none, as on a machine
// without dbus-user-session, by systemd's own socket.
func connect(ctx context.Context) (*dbus.Conn, error) {
	var failed error
	for _, a := range addresses(os.Geteuid(), os.Getenv) {
		conn, err := dial(ctx, a)
		if err == nil {
			return conn, nil
		}
		if err = fmt.Errorf("%s: %w", a.address, err); failed != nil {
			err = fmt.Errorf("%w; %w", failed, err)
		}
		failed = err
	}
	return nil, failed
}

// An address is where systemd may be spoken to, in D-Bus's words.
type address struct {
	address string
	bus     bool // a bus wants to be greeted
}

func addresses(uid int, env func(string) string) []address {
	if uid == 0 {
		return []address{{"unix:path=/run/dbus/system_bus_socket", true}, {"unix:path=/run/systemd/private", false}}
	}
	runtime := env("XDG_RUNTIME_DIR")
	if runtime == "" {
		runtime = "/run/user/" + strconv.Itoa(uid)
	}
	runtime = dbus.EscapeBusAddressValue(runtime)
	list := []address{{"unix:path=" + runtime + "/bus", true}, {"unix:path=" + runtime + "/systemd/private", false}}
	if own := env("DBUS_SESSION_BUS_ADDRESS"); own != "" {
		list = append([]address{{own, true}}, list...)
	}
	return list
}

func dial(ctx context.Context, a address) (*dbus.Conn, error) {
	conn, err := dbus.Dial(a.address, dbus.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	if err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}); err == nil && a.bus {
		err = conn.Hello()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
