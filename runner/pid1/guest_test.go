package pid1

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hutch/runner"
	"hutch/runner/guest"
	"hutch/runner/host"
)

// A bootedGuest is a real kernel with the real process 1, whose host is the test.
type bootedGuest struct {
	conn    *guest.Conn
	to      *os.File
	console *lockedBuffer
	ended   chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// boot starts a User Mode Linux with the hutch-guest that make built.
func boot(t *testing.T) *bootedGuest {
	t.Helper()
	kernel, err := exec.LookPath("linux.uml")
	if err != nil {
		t.Fatal(err)
	}
	initramfs, err := guest.Initramfs{Init: "/proc/self/exe", Program: openGuest, Dir: t.TempDir()}.Path()
	if err != nil {
		t.Fatal(err)
	}
	in, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	g := &bootedGuest{conn: guest.NewConn(from, to), to: to, console: &lockedBuffer{}, ended: make(chan struct{})}
	g.conn.Pace()
	c := exec.Command(kernel, "mem=128M", "initrd="+initramfs, "con=null", "con0=null,fd:2", "ssl=null", "ssl0=fd:0,fd:1",
		"HUTCH_GUEST=/dev/ttyS0", "quiet", "panic=-1", "noreboot", "uml_dir="+t.TempDir())
	c.Stdin, c.Stdout, c.Stderr = in, out, g.console
	c.WaitDelay = time.Second
	// The kernel has a process for each of the guest's, which outlive it.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	release := host.Together(c.Process.Pid)
	go func() {
		c.Wait()
		release()
		close(g.ended)
	}()
	t.Cleanup(func() {
		syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		<-g.ended
		to.Close()
		from.Close()
	})
	return g
}

func openGuest() (io.ReadCloser, error) {
	f, err := os.Open("../../cmd/hutch/embedded/hutch-guest.gz")
	if err != nil {
		return nil, err
	}
	return gzip.NewReader(f)
}

// says waits for words on the console, and for the end of the guest.
func (g *bootedGuest) says(t *testing.T, want string) {
	t.Helper()
	select {
	case <-g.ended:
	case <-time.After(60 * time.Second):
		t.Error("the guest does not end")
	}
	if got := g.console.String(); !strings.Contains(got, want) {
		t.Errorf("the console says %q, want %q", got, want)
	}
}

// A host that does not keep to the protocol gets nothing run: process 1 says
// what was wrong on the console, and the guest ends.
func TestHostOfABootedGuest(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		act  func(*bootedGuest) error
		want string
	}{
		"noise":       {func(g *bootedGuest) error { return write(g, strings.Repeat("\xff", 64)) }, "does not keep to the protocol"},
		"version":     {func(g *bootedGuest) error { return write(g, "\x01\x00\x00\x00\x0a\x00\x00\x00hutchgst\xff\xff") }, "version 65535"},
		"early frame": {greeted(func(c *guest.Conn) error { return c.SendNumber(guest.Signal, 0, 9) }), "signal before setup"},
		"no spec":     {greeted(func(c *guest.Conn) error { return c.SendMessage(guest.Setup, struct{}{}) }), "the host sent no spec"},
		"no JSON":     {greeted(func(c *guest.Conn) error { return c.Send(guest.Setup, 0, []byte("{")) }), "unexpected end of JSON"},
		"kill":        {greeted(func(c *guest.Conn) error { return c.Send(guest.Kill, 0, nil) }), "ended by the host"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := boot(t)
			if err := tt.act(g); err != nil {
				t.Fatal(err)
			}
			g.says(t, "hutch in the guest: ")
			g.says(t, tt.want)
		})
	}
}

// write writes when the guest has spoken: before, its terminal is not raw.
func write(g *bootedGuest, text string) error {
	if err := g.conn.AwaitHello(); err != nil {
		return err
	}
	_, err := io.WriteString(g.to, text)
	return err
}

func greeted(act func(*guest.Conn) error) func(*bootedGuest) error {
	return func(g *bootedGuest) error {
		if err := g.conn.Greet(); err != nil {
			return err
		}
		return act(g.conn)
	}
}

// What cannot be mounted, or is no Spec, is told over the channel, and nothing
// runs.
func TestFailures(t *testing.T) {
	t.Parallel()
	spec := &runner.Spec{Version: runner.SpecVersion}
	for name, tt := range map[string]struct {
		config *guest.Config
		want   string
	}{
		"a disk that is not there": {&guest.Config{Spec: spec, Disks: []guest.Disk{{Device: "serial:none", Type: "ext4", Target: "/layer/0"}}}, "mount disk serial:none (ext4)"},
		"a share that is none":     {&guest.Config{Spec: spec, Shares: []guest.Share{{Type: "nofs", Source: "x", Target: "/share/x"}}}, "mount share /share/x (nofs)"},
		"an empty spec":            {&guest.Config{Spec: spec}, "command"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := boot(t)
			if err := g.conn.Greet(); err != nil {
				t.Fatalf("%v: %s", err, g.console)
			}
			go g.conn.SendMessage(guest.Setup, tt.config)
			f, err := g.conn.Receive()
			if err != nil || f.Type != guest.Failed {
				t.Fatalf("%s, %v: %s", f.Type, err, g.console)
			}
			var failure guest.Failure
			if err := json.Unmarshal(f.Body, &failure); err != nil || !strings.Contains(failure.Err().Error(), tt.want) {
				t.Errorf("%s, %v; want %q", f.Body, err, tt.want)
			}
		})
	}
}

// Modules are loaded in the order of their names, which is that in which they
// were found to need each other; without any there is nothing to do.
func TestModuleOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"010-c.ko", "002-b.ko", "001-z.ko", "100-a.ko"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := moduleFiles(dir)
	if err != nil || strings.Join(got, " ") != "001-z.ko 002-b.ko 010-c.ko 100-a.ko" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := moduleFiles(filepath.Join(dir, "none")); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := moduleFiles(filepath.Join(dir, "010-c.ko")); err == nil {
		t.Error("a file is a directory of modules")
	}
	// What is no module is refused by the kernel, or by its rights.
	if err := loadModule(filepath.Join(dir, "010-c.ko")); err == nil {
		t.Error("an empty file is a module")
	}
	if err := loadModule(filepath.Join(dir, "none.ko")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
