// Command hutch-pull fetches manifests and blobs from one repository of a
// registry for hutch, which starts it with a socket; see package registry. It
// is no program for people: hutch carries it inside itself.
//
// What it reads was sent by strangers. So, as soon as it knows the credentials,
// it gives up every privilege and all files; and it decides nothing: hutch
// verifies whatever comes out of it.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"

	"golang.org/x/sys/unix"

	"hutch/rootfs/registry"
)

// memoryLimit is soft: beyond it garbage is collected more eagerly.
const memoryLimit = 24 << 20

func main() {
	debug.SetMemoryLimit(memoryLimit)
	debug.SetGCPercent(50)
	if _, err := unix.FcntlInt(registry.SocketFD, unix.F_GETFD, 0); err != nil {
		fmt.Fprintln(os.Stderr, "hutch-pull: is started by hutch, and does nothing else; write hutch image pull")
		os.Exit(125)
	}
	unix.CloseOnExec(registry.SocketFD)
	_ = unix.Prctl(unix.PR_SET_NAME, comm(), 0, 0, 0)
	conn, err := registry.NewConn(registry.SocketFD)
	if err == nil {
		err = serve(conn)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hutch-pull:", err)
		os.Exit(125)
	}
}

// serve answers until hutch is gone.
func serve(conn *registry.Conn) error {
	var first registry.Request
	if f, err := conn.Receive(&first); err != nil || f != nil || first.Op != registry.OpOpen || first.Open == nil {
		return fmt.Errorf("the first request must open a repository: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p, err := open(ctx, *first.Open)
	if err := conn.Send(reply(first.ID, err), nil); err != nil {
		return err
	}
	if err != nil {
		return nil // it was told
	}
	var sending sync.Mutex
	for {
		var r registry.Request
		to, err := conn.Receive(&r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			answer := p.answer(ctx, r, to)
			sending.Lock()
			defer sending.Unlock()
			_ = conn.Send(answer, nil) // without hutch nobody is interested
		}()
	}
}

// answer does what is asked and closes the pipe before the reply.
func (p *puller) answer(ctx context.Context, r registry.Request, to *os.File) registry.Reply {
	if to == nil {
		return reply(r.ID, fmt.Errorf("request %s without a pipe", r.Op))
	}
	defer to.Close()
	switch r.Op {
	case registry.OpManifest:
		mediaType, err := p.manifest(ctx, to, r.Reference)
		a := reply(r.ID, err)
		a.MediaType = mediaType
		return a
	case registry.OpBlob:
		return reply(r.ID, p.blob(ctx, to, r.Reference, r.Size))
	}
	return reply(r.ID, fmt.Errorf("no such request: %q", r.Op))
}
