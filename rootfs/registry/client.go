package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Client is hutch's end: a repository that is open.
type Client struct {
	conn    *Conn
	process *os.Process

	mu      sync.Mutex
	next    int
	waiting map[int]chan Reply
	ended   error // why no more replies come
}

// highFD is above what a new process gets, which must not cover the program.
const highFD = 64

// Start runs program, which may be a memfd, and opens a repository. It calls
// onThread, if not nil, on the thread that starts it, just before.
func Start(ctx context.Context, program *os.File, onThread func(), o Open) (*Client, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "socket")
	defer theirs.Close()
	conn, err := NewConn(pair[0])
	if err != nil {
		return nil, err
	}
	fd, err := unix.FcntlInt(program.Fd(), unix.F_DUPFD_CLOEXEC, highFD)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("hutch-pull: %w", err)
	}
	defer unix.Close(fd)
	runtime.LockOSThread()
	if onThread != nil {
		onThread()
	}
	p, err := os.StartProcess(fmt.Sprintf("/proc/self/fd/%d", fd), []string{"hutch-pull"}, &os.ProcAttr{
		Dir: "/", Env: environment(os.Environ()), Files: []*os.File{nil, nil, os.Stderr, theirs},
		// It ends by itself when its socket does, unless something keeps it from that.
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	runtime.UnlockOSThread()
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("hutch-pull: %w", err)
	}
	c := &Client{conn: conn, process: p, waiting: map[int]chan Reply{}}
	go c.listen()
	reply, err := c.ask(Request{Op: OpOpen, Open: &o}, nil)
	if err == nil {
		_, err = wait(ctx, reply)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// environment leaves out what is for the Go runtime of the caller's programs:
// GODEBUG, for one, can take back what TLS has learned. The rest is for
// credential helpers, which may want anything, and the program forgets it when
// these have run.
func environment(caller []string) []string {
	env := []string{}
	for _, e := range caller {
		switch name, _, _ := strings.Cut(e, "="); name {
		case "GODEBUG", "GOTRACEBACK", "GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GORACE", "GOCOVERDIR":
		default:
			env = append(env, e)
		}
	}
	return env
}

// Close ends the program.
func (c *Client) Close() {
	c.conn.Close()
	_ = c.process.Kill()
	_, _ = c.process.Wait()
}

// errEnded is what is said of a program that died.
var errEnded = errors.New("hutch-pull ended before it was done; try again")

// listen hands each reply to who waits for it, up to the end.
func (c *Client) listen() {
	for {
		var r Reply
		f, err := c.conn.Receive(&r)
		if f != nil {
			f.Close()
		}
		c.mu.Lock()
		if err != nil {
			c.ended = errEnded
			for id, w := range c.waiting {
				delete(c.waiting, id)
				w <- Reply{Error: errEnded.Error()}
			}
			c.mu.Unlock()
			return
		}
		w := c.waiting[r.ID]
		delete(c.waiting, r.ID)
		c.mu.Unlock()
		if w != nil {
			w <- r
		}
	}
}

func (c *Client) ask(r Request, with *os.File) (chan Reply, error) {
	w := make(chan Reply, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return nil, c.ended
	}
	c.next++
	r.ID = c.next
	if err := c.conn.Send(r, with); err != nil {
		return nil, fmt.Errorf("hutch-pull: %w", err)
	}
	c.waiting[r.ID] = w
	return w, nil
}

func wait(ctx context.Context, w chan Reply) (Reply, error) {
	select {
	case r := <-w:
		if r.Error != "" {
			return r, &Error{Text: r.Error, Hint: r.Hint, Status: r.Status}
		}
		return r, nil
	case <-ctx.Done():
		return Reply{}, ctx.Err()
	}
}

// Manifest fetches a manifest or an index of at most max bytes, by its tag or
// digest. The caller checks what it got.
func (c *Client) Manifest(ctx context.Context, reference string, max int64) (data []byte, mediaType string, err error) {
	r, err := c.stream(ctx, Request{Op: OpManifest, Reference: reference})
	if err != nil {
		return nil, "", err
	}
	defer r.Close()
	data, err = io.ReadAll(io.LimitReader(r, max+1))
	if err == nil && int64(len(data)) > max {
		err = fmt.Errorf("the manifest has more than %d bytes", max)
	}
	return data, r.reply.MediaType, err
}

// Blob opens a blob. A failure of the fetching is the error of a Read, never
// an early io.EOF. The caller checks what it got.
func (c *Client) Blob(ctx context.Context, digest string, size int64) (io.ReadCloser, error) {
	return c.stream(ctx, Request{Op: OpBlob, Reference: digest, Size: size})
}

// pipeSize is what an ordinary user may have, pipe(7).
const pipeSize = 1 << 20

func (c *Client) stream(ctx context.Context, req Request) (*stream, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	// A hint: users with many large pipes are refused more.
	if raw, err := w.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
	}
	reply, err := c.ask(req, w)
	w.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	s := &stream{ctx: ctx, pipe: r, wait: reply}
	s.stop = context.AfterFunc(ctx, func() { r.Close() })
	return s, nil
}

// A stream is the reading end of a pipe, and the verdict at its end.
type stream struct {
	ctx   context.Context
	pipe  *os.File
	wait  chan Reply
	stop  func() bool
	reply Reply
	done  error
}

func (s *stream) Read(p []byte) (int, error) {
	if s.done != nil {
		return 0, s.done
	}
	n, err := s.pipe.Read(p)
	if n > 0 || err == nil {
		return n, nil
	}
	if s.done = s.ctx.Err(); s.done == nil {
		s.reply, s.done = wait(s.ctx, s.wait)
	}
	if s.done == nil {
		s.done = io.EOF
	}
	return 0, s.done
}

func (s *stream) Close() error {
	s.stop()
	s.pipe.Close()
	return nil
}
