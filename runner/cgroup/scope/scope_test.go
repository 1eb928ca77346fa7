package scope

import (
	"slices"
	"testing"
)

// That systemd understands what is asked TestInSystemdGuest of package cgroup
// shows, by a systemd.
func TestAddresses(t *testing.T) {
	for name, tt := range map[string]struct {
		uid  int
		env  map[string]string
		want []string
	}{
		"root": {0, map[string]string{"XDG_RUNTIME_DIR": "/x", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/y"}, []string{
			"unix:path=/run/dbus/system_bus_socket", "unix:path=/run/systemd/private",
		}},
		"a user": {1000, nil, []string{"unix:path=/run/user/1000/bus", "unix:path=/run/user/1000/systemd/private"}},
		"a bus of its own": {1000, map[string]string{"XDG_RUNTIME_DIR": "/r", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/y"}, []string{
			"unix:path=/y", "unix:path=/r/bus", "unix:path=/r/systemd/private",
		}},
		"an odd directory": {1000, map[string]string{"XDG_RUNTIME_DIR": "/a,b;c d"}, []string{
			"unix:path=/a%2cb%3bc%20d/bus", "unix:path=/a%2cb%3bc%20d/systemd/private",
		}},
	} {
		var got []string
		for _, a := range addresses(tt.uid, func(name string) string { return tt.env[name] }) {
			got = append(got, a.address)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
