package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// memory is the proportional set size of hutch and of all that it started but
// the application, while the application sleeps.
func memory(b *bench, runs int) (s samples, err error) {
	c, err := b.hutchRun("/bin/sleep", "60")
	if err != nil {
		return s, err
	}
	for range runs {
		kib, err := memoryOnce(c)
		if err != nil {
			return s, err
		}
		s.add(kib/1024, 0)
	}
	return s, nil
}

func memoryOnce(c command) (kib float64, err error) {
	var stderr bytes.Buffer
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	// SIGTERM is passed on to the application, which ends the box in order.
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-ended
			err = errors.Join(err, fmt.Errorf("%s did not end within 5 s of SIGTERM", c.name))
		}
	}()
	tree, err := waitForApplication(cmd.Process.Pid, "sleep", ended)
	if err != nil {
		select {
		case <-ended:
			return 0, exitError(c, cmd.ProcessState, stderr.Bytes())
		default:
			return 0, err
		}
	}
	// What the start needed only for a moment is given back by then.
	time.Sleep(200 * time.Millisecond)
	for _, pid := range tree {
		pss, err := pssKiB(pid)
		if err != nil {
			return 0, err
		}
		kib += pss
	}
	return kib, nil
}

// waitForApplication waits until a descendant of pid is called name, and
// returns pid and the other descendants.
func waitForApplication(pid int, name string, ended <-chan struct{}) ([]int, error) {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		select {
		case <-ended:
			return nil, errors.New("it ended")
		case <-time.After(10 * time.Millisecond):
		}
		var others []int
		running := false
		for _, p := range descendants(pid) {
			comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p))
			if strings.TrimSpace(string(comm)) == name {
				running = true
			} else {
				others = append(others, p)
			}
		}
		if running {
			return others, nil
		}
	}
	return nil, fmt.Errorf("no %s among the processes of %d within 5 s", name, pid)
}

// descendants is pid and all below it. A thread's children are listed with that
// thread (proc_pid_task_children(5)).
func descendants(pid int) []int {
	all := []int{pid}
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		for child := range strings.FieldsSeq(string(children)) {
			if p, err := strconv.Atoi(child); err == nil {
				all = append(all, descendants(p)...)
			}
		}
	}
	return all
}

// pssKiB reads the proportional set size (proc_pid_smaps(5)).
func pssKiB(pid int) (float64, error) {
	file := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "Pss:" {
			return strconv.ParseFloat(fields[1], 64)
		}
	}
	return 0, fmt.Errorf("%s has no line Pss", file)
}
