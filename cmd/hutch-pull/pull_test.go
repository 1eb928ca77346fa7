package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"golang.org/x/sys/unix"

	"hutch/rootfs/confine"
	"hutch/rootfs/registry"
)

// TestMain lets the test binary confine itself and try what it then may.
func TestMain(m *testing.M) {
	if dir := os.Getenv("HUTCH_PULL_CONFINED"); dir != "" {
		confined(dir)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// confined prints the name of each attempt that succeeds.
func confined(dir string) {
	if how := os.Getenv("HUTCH_PULL_FREE"); how != "1" {
		give := func() error { return confine.Self(readable[:]...) }
		if how == "alone" {
			give = confine.Alone
		}
		if err := give(); err != nil {
			fmt.Println("confine:", err)
			return
		}
	}
	for _, attempt := range []struct {
		name string
		do   func() error
	}{
		{"read", func() error { _, err := os.ReadFile(dir + "/secret"); return err }},
		{"list", func() error { _, err := os.ReadDir(dir); return err }},
		{"write", func() error { return os.WriteFile(dir+"/new", []byte("x"), 0o666) }},
		{"change", func() error { return os.WriteFile(dir+"/secret", []byte("x"), 0o666) }},
		{"execute", func() error { return exec.Command("/bin/true").Run() }},
		{"listen", func() error {
			var plain net.ListenConfig // Landlock knows nothing of multipath TCP
			plain.SetMultipathTCP(false)
			l, err := plain.Listen(context.Background(), "tcp", "127.0.0.1:0")
			if err == nil {
				l.Close()
			}
			return err
		}},
		{"multipath", func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}},
		{"fork", func() error {
			pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
			if errno != 0 {
				return errno
			}
			if pid == 0 {
				for {
					syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
				}
			}
			_, err := unix.Wait4(int(pid), nil, 0, nil)
			return err
		}},
		{"signal", func() error { return syscall.Kill(os.Getppid(), 0) }},
		{"environment", func() error {
			if os.Getenv("HUTCH_PULL_SECRET") == "" {
				return errors.New("not there")
			}
			return nil
		}},
	} {
		if attempt.do() == nil {
			fmt.Print(attempt.name, " ")
		}
	}
	// What it is for still works.
	_, err := os.ReadFile("/etc/resolv.conf")
	if c, derr := net.Dial("tcp", os.Getenv("HTTP_PROXY")); derr == nil && (err == nil || errors.Is(err, os.ErrNotExist)) {
		c.Close()
		fmt.Print("connect")
	}
}

func TestConfine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	run := func(more ...string) string {
		t.Helper()
		// Anybody may do all of it here: only the confinement forbids it.
		dir, err := os.MkdirTemp("/tmp", "hutch-confine-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if err := errors.Join(os.WriteFile(dir+"/secret", nil, 0o666), os.Chmod(dir, 0o777), os.Chmod(dir+"/secret", 0o666)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(append(os.Environ(), "HUTCH_PULL_CONFINED="+dir, "HUTCH_PULL_SECRET=1", "HTTP_PROXY="+l.Addr().String()), more...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if got := run(); got != "multipath fork connect" {
		t.Errorf("confined it can: %s", got)
	}
	if got := run("HUTCH_PULL_FREE=alone"); got != "" {
		t.Errorf("confined and alone it can: %s", got)
	}
	if got := run("HUTCH_PULL_FREE=1"); got != "read list write change execute listen multipath fork signal environment connect" {
		t.Errorf("the test does not bite; free it can: %s", got)
	}
}

// client is a puller of a server, unconfined.
func client(t *testing.T, handler http.HandlerFunc, o registry.Open) *puller {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			handler(w, r)
		}
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	o.Host, o.Repository = strings.TrimPrefix(server.URL, "http://"), "a/b"
	reg, err := name.NewRegistry(o.Host)
	if err != nil {
		t.Fatal(err)
	}
	p, err := connect(context.Background(), o, reg, authn.Anonymous)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func quick() registry.Open {
	return registry.Open{Stall: 150 * time.Millisecond, Pause: time.Millisecond}
}

func blobTo(t *testing.T, p *puller, size int64) (string, error) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "blob"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = p.blob(context.Background(), f, "sha256:00", size)
	data, rerr := os.ReadFile(f.Name())
	if rerr != nil {
		t.Fatal(rerr)
	}
	return string(data), err
}

// TestSilent: a registry that says nothing any more is left, and asked for the
// rest.
func TestSilent(t *testing.T) {
	t.Parallel()
	asked := 0
	p := client(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		var from int
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-9/10", from))
			w.WriteHeader(http.StatusPartialContent)
		}
		io.WriteString(w, "0123456789"[from:min(from+4, 10)])
		w.(http.Flusher).Flush()
		if from+4 < 10 {
			<-r.Context().Done()
		}
	}, quick())
	if got, err := blobTo(t, p, 10); err != nil || got != "0123456789" || asked != 3 {
		t.Errorf("%q, %v, asked %d times", got, err, asked)
	}
	p = client(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, quick())
	if _, err := blobTo(t, p, 10); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("error %v", err)
	}
}

// TestNoRanges: a registry that always begins at the beginning, or refuses to
// begin elsewhere.
func TestNoRanges(t *testing.T) {
	t.Parallel()
	for _, refuse := range []bool{false, true} {
		asked := 0
		p := client(t, func(w http.ResponseWriter, r *http.Request) {
			asked++
			if refuse && r.Header.Get("Range") != "" {
				http.Error(w, "no", http.StatusRequestedRangeNotSatisfiable)
				return
			}
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "0123456789"[:min(10, 4*asked)])
		}, quick())
		if got, err := blobTo(t, p, 10); err != nil || got != "0123456789" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// TestNeverWhole: who breaks off again and again is given up.
func TestNeverWhole(t *testing.T) {
	t.Parallel()
	p := client(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		w.WriteHeader(http.StatusOK)
	}, quick())
	if got, err := blobTo(t, p, 10); err == nil || got != "" {
		t.Errorf("%q, %v", got, err)
	}
	// An endless one is cut off one byte behind its end.
	p = client(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}, quick())
	if got, err := blobTo(t, p, 10); err != nil || len(got) != 11 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestGuard(t *testing.T) {
	public := newGuard(registry.Open{Host: "registry.example"})
	local := newGuard(registry.Open{Host: "localhost:5000"})
	odd := newGuard(registry.Open{Host: "169.254.7.7:5000", PlainHTTP: true})
	for _, tt := range []struct {
		g    *guard
		url  string
		want string
	}{
		{public, "https://registry.example/v2/", ""},
		{public, "https://cdn.example/blob", ""},
		{public, "https://10.1.2.3/blob", ""},
		{public, "http://registry.example/v2/", "by http"},
		{public, "http://10.1.2.3/blob", "by http"},
		{public, "https://169.254.169.254/", "link-local"},
		{public, "https://[fe80::1%25eth0]/", "link-local"},
		{public, "https://[::ffff:169.254.169.254]/", "link-local"},
		{public, "https://[fd00:ec2::254]/", "link-local"},
		{public, "https://127.0.0.1/", "this machine"},
		{public, "https://[::1]:8080/", "this machine"},
		{public, "https://0.0.0.0/", "no machine"},
		{public, "ftp://x/", "no web address"},
		{public, "file:///etc/passwd", "no web address"},
		{local, "http://localhost:5000/v2/", ""},
		{local, "http://127.0.0.1:9/blob", ""},
		{local, "http://169.254.169.254/", "link-local"},
		{local, "http://example.com/", "by http"},
		{odd, "http://169.254.7.7:5000/v2/", ""},
		{odd, "http://169.254.7.8:5000/v2/", "link-local"},
	} {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		err = tt.g.checkURL(u)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s of %s: %v, want %q", tt.url, tt.g.home, err, tt.want)
		}
	}
	// A name that leads to such an address is caught when it is connected to.
	if err := public.checkAddr(netip.MustParseAddr("169.254.169.254"), true); err == nil {
		t.Error("the registry's own name may lead to a link-local address")
	}
	if _, err := public.dial(context.Background(), "tcp", "localhost:1"); err == nil || !strings.Contains(err.Error(), "this machine") {
		t.Errorf("dialled: %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	for v, want := range map[string]time.Duration{"": 0, "3": 3 * time.Second, "-1": -time.Second, "soon": 0, "99999999999999999999": 0} {
		if got := retryAfter(&http.Response{Header: http.Header{"Retry-After": {v}}}); got != want {
			t.Errorf("%q: %v, want %v", v, got, want)
		}
	}
}
