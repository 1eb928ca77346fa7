package pid1

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/guest"
)

// told is what becomes of a guest that is told what say sends.
func told(t *testing.T, say func(*guest.Conn)) (*guest.Config, error) {
	t.Helper()
	var ends [4]*os.File
	for i := 0; i < len(ends); i += 2 {
		var err error
		if ends[i], ends[i+1], err = os.Pipe(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, f := range ends {
			f.Close()
		}
	})
	host, inside := guest.NewConn(ends[0], ends[3]), guest.NewConn(ends[2], ends[1])
	go func() {
		say(host)
		ends[3].Close()
	}()
	return receiveConfig(inside)
}

// A host may say anything before it says what to run; what is no setup is no
// crash, and never taken for one.
func TestHostileHost(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		say  func(*guest.Conn)
		want string
	}{
		"nothing":      {func(*guest.Conn) {}, "EOF"},
		"kill":         {func(c *guest.Conn) { c.Send(guest.Kill, 0, nil) }, "ended by the host"},
		"a signal":     {func(c *guest.Conn) { c.SendNumber(guest.Signal, 0, 9) }, "before setup"},
		"a size":       {func(c *guest.Conn) { c.SendSize(runner.Size{Rows: 1, Columns: 1}) }, "before setup"},
		"no JSON":      {func(c *guest.Conn) { c.Send(guest.Setup, 0, []byte("{")) }, "JSON"},
		"no spec":      {func(c *guest.Conn) { c.Send(guest.Setup, 0, []byte("{}")) }, "the host sent no spec"},
		"wrong types":  {func(c *guest.Conn) { c.Send(guest.Setup, 0, []byte(`{"spec":[1]}`)) }, "cannot unmarshal"},
		"an end":       {func(c *guest.Conn) { c.Send(guest.Ended, 0, []byte("{}")) }, "before setup"},
		"half a setup": {func(c *guest.Conn) { c.Send(guest.Setup, 0, []byte(`{"spec":`)) }, "JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c, err := told(t, tt.say); c != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v, %v, want %q", c, err, tt.want)
			}
		})
	}
	answered := make(chan error, 1)
	c, err := told(t, func(host *guest.Conn) {
		host.Send(guest.Ping, 0, nil)
		f, err := host.Receive()
		if err == nil && f.Type != guest.Pong {
			err = errors.New("a ping is answered with " + f.Type.String())
		}
		answered <- err
		host.SendMessage(guest.Setup, &guest.Config{Spec: &runner.Spec{Hostname: "box"}})
	})
	if err != nil || c.Spec.Hostname != "box" {
		t.Errorf("%+v, %v", c, err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// A name is all of a file, but for the end of its line; what is not there, or
// only begins so, is not called so.
func TestIsCalled(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "serial")
	for text, want := range map[string]bool{"layer1": true, "layer1\n": true, "layer10\n": false, "layer\n": false, "": false, strings.Repeat("x", 4096): false} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if isCalled(name, "layer1") != want {
			t.Errorf("%.20q: %t", text, !want)
		}
	}
	if isCalled(name+".none", "layer1") || isCalled(filepath.Dir(name), "layer1") {
		t.Error("what cannot be read has the name")
	}
}

// A disk that is known by its path is there; one whose serial number nobody has
// is waited for in vain, under a name that no disk has.
func TestFindDisk(t *testing.T) {
	t.Parallel()
	for device, want := range map[string]string{"/dev/ubda": "/dev/ubda", guest.SerialPrefix + "nobody-has-this": "/dev/nobody-has-this"} {
		if got := findDisk(device); got != want {
			t.Errorf("%s: %s, want %s", device, got, want)
		}
	}
}

// A channel lets every byte through as it is; what is none is told, in the time
// that it was given.
func TestChannel(t *testing.T) {
	t.Parallel()
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(master)
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	c, err := openChannel(filepath.Join("/dev/pts", strconv.Itoa(n)), portWait)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	if _, err := unix.Write(master, every); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 0, 512)
	for len(got) < 256 {
		n, err := c.Read(got[len(got):cap(got)])
		if err != nil {
			t.Fatal(err)
		}
		got = got[:len(got)+n]
	}
	if string(got) != string(every) {
		t.Errorf("% x", got)
	}
	began := time.Now()
	for name, want := range map[string]string{
		"/nonexistent": "open /nonexistent", os.DevNull: "make raw /dev/null", virtioPrefix + "nobody": `no virtio port is called "nobody"`,
	} {
		if _, err := openChannel(name, 100*time.Millisecond); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if took := time.Since(began); took > portWait/2 {
		t.Errorf("took %v", took)
	}
}

// A file that is no module is an error and does not panic; nothing is loaded
// where no guest is, and this process may not be one's first.
func TestNotAGuest(t *testing.T) {
	t.Setenv(ChannelVar, "/dev/null")
	if Wanted() {
		t.Fatal("this test would switch the machine off")
	}
	if err := loadModule(filepath.Join(t.TempDir(), "none.ko")); !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v", err)
	}
	if n := available(); n < 1<<20 {
		t.Errorf("%d bytes of memory available", n)
	}
}
