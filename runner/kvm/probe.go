package kvm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"hutch/runner"
	"hutch/runner/guest"
)

// firstMessage is how long a guest has to print its first line. A KVM that
// works needs a tenth of a second; one that emulates a guest's instructions
// one by one needs hours, and says nothing.
const firstMessage = 3 * time.Second

// A watch keeps the beginning and the end of what QEMU and the guest's kernel
// print, to tell a KVM that does not work.
type watch struct {
	mu    sync.Mutex
	text  []byte
	first chan struct{} // closed with the first line, or the end
	ended chan struct{} // closed with the end
}

const watchSize = 16 << 10

func (w *watch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	if bytes.IndexByte(w.text, '\n') >= 0 {
		select {
		case <-w.first:
		default:
			close(w.first)
		}
	}
	if len(w.text) > watchSize {
		w.text = append(w.text[:0], w.text[len(w.text)-watchSize/2:]...)
	}
	return len(p), nil
}

// watchFirst waits for a line of m's console, which it passes on.
func watchFirst(m *guest.Machine) (*watch, error) {
	r, out, err := os.Pipe()
	if err != nil {
		return nil, &runner.Error{Stage: runner.StageStart, Step: "make a pipe for the console", Err: err}
	}
	w := &watch{first: make(chan struct{}), ended: make(chan struct{})}
	console := m.Console
	m.Console = r
	go func() {
		io.Copy(io.MultiWriter(w, out), console)
		close(w.ended)
		out.Close()
		console.Close()
	}()
	select {
	case <-w.first:
	case <-w.ended:
	case <-time.After(firstMessage):
		return w, broken("its guest said nothing for " + firstMessage.String())
	}
	if why := w.complaint(); why != "" {
		return w, broken(why)
	}
	return w, nil
}

// complaint is QEMU's line about a KVM that does not work, or "".
func (w *watch) complaint() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return complaint(string(w.text))
}

// complaint looks for what QEMU says, which is also what it asserts.
func complaint(text string) string {
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if _, rest, ok := strings.Cut(line, qemuName+": "); ok {
			return rest
		}
		if strings.HasPrefix(line, "KVM internal error") || strings.HasPrefix(line, "qemu: ") {
			return line
		}
	}
	return ""
}

// explain turns the end of a guest that never reported into what it says
// about KVM.
func (w *watch) explain(err error) error {
	if w == nil {
		return err
	}
	if why := w.complaint(); why != "" {
		return broken(why)
	}
	return err
}

// Try boots a guest with nothing to do, to its first message.
func (e *Engine) Try() error { return e.probe(context.Background()) }

// probe boots a guest with nothing to do, to its first message.
func (e *Engine) probe(ctx context.Context) error {
	if err := e.check(); err != nil {
		return err
	}
	g, err := e.prepare(1, false)
	if err != nil {
		return err
	}
	if g.plan.accel == AccelTCG {
		return nil // an emulator that is installed works
	}
	m, _, err := e.boot(ctx, g, nil, booted, nil)
	if err != nil {
		return err
	}
	kill := m.Process.Kill()
	_, err = m.Process.Wait()
	for _, f := range []*os.File{m.To, m.From, m.Console} {
		f.Close()
	}
	return errors.Join(kill, err)
}
