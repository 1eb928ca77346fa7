package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// askScope has systemd put a process into a scope of its own, by hutch-scope.
func askScope(ctx context.Context, unit string, pid int) error {
	program, err := carried("hutch-scope", "ask systemd for a scope")
	if err != nil {
		return err
	}
	defer program.Close()
	var words bytes.Buffer
	cmd := exec.CommandContext(ctx, fmt.Sprintf("/proc/self/fd/%d", program.Fd()), unit, strconv.Itoa(pid))
	cmd.Args[0], cmd.Stderr = "hutch-scope", &words
	if err = onOrdinaryThread(cmd.Start); err == nil {
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() && words.Len() > 0 {
		return errors.New(strings.TrimSpace(words.String()))
	}
	return err
}
