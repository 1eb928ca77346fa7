package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// askFor bounds how long a program may take to say what it is.
	askFor = 5 * time.Second
	// askSize bounds what it may say, in bytes; a kernel's configuration is a
	// quarter of a mebibyte.
	askSize = 4 << 20
)

// Ask runs a kernel or an emulator with arguments that have it print something
// and exit, and is what it printed. The program may be anything: what it has
// started ends with it.
func Ask(path string, args ...string) (string, error) {
	what := strings.Join(args, " ")
	ctx, cancel := context.WithTimeout(context.Background(), askFor)
	defer cancel()
	c := exec.CommandContext(ctx, path, args...)
	c.Env = []string{"PATH=/usr/bin:/bin"}
	c.WaitDelay = time.Second
	// Its processes are a namespace's, which ends with the first of them,
	// pid_namespaces(7), and that with us.
	c.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL, Cloneflags: unix.CLONE_NEWPID}
	if os.Geteuid() != 0 {
		c.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
	}
	out, complaint := bounded{full: cancel}, bounded{full: func() {}}
	c.Stdout, c.Stderr = &out, &complaint
	err := c.Run()
	var exit *exec.ExitError
	switch {
	case out.over:
		return "", fmt.Errorf("%s prints more than %d MiB", what, askSize>>20)
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s did not end within %v", what, askFor)
	case errors.As(err, &exit) && complaint.text.Len() > 0:
		line, _, _ := strings.Cut(strings.TrimSpace(complaint.text.String()), "\n")
		return "", fmt.Errorf("%s: %w: %.200s", what, err, line)
	case err != nil:
		return "", err
	case out.text.Len() == 0:
		return "", errors.New("it says nothing when asked with " + what)
	}
	return out.text.String(), nil
}

// bounded keeps what is written, up to askSize.
type bounded struct {
	text bytes.Buffer
	over bool
	full func() // called when there is more
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.text.Len()+len(p) > askSize {
		b.over = true
		b.full()
		return len(p), nil
	}
	return b.text.Write(p)
}
