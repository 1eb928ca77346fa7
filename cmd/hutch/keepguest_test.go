package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hutch/rootfs"
)

// keeper runs hutch with a keep, on a root with busybox and a directory of files
// that all say the number of the run that wrote them.
type keeper struct {
	t     *testing.T
	hutch string
	root  string
	name  string
	store string
}

func newKeeper(t *testing.T) *keeper {
	t.Helper()
	hutch, err := filepath.Abs("../../bin/hutch")
	if err != nil {
		t.Fatal(err)
	}
	store, err := rootfs.DefaultStore()
	if err != nil {
		t.Fatal(err)
	}
	k := &keeper{t: t, hutch: hutch, root: smallRoot(t), name: strings.ToLower(filepath.Base(t.Name())), store: store}
	t.Cleanup(func() {
		if out, err := exec.Command(hutch, "keep", "rm", k.name).CombinedOutput(); err != nil {
			t.Errorf("keep rm: %v: %s", err, out)
		}
	})
	return k
}

func (k *keeper) command(engine, script string) *exec.Cmd {
	args := append([]string{"run", "--keep", k.name, "--engine"}, strings.Fields(engine)...)
	return exec.Command(k.hutch, append(args, k.root, "sh", "-c", script)...)
}

// write is what run n does.
func (k *keeper) write(n int) string {
	return fmt.Sprintf("mkdir -p /d; i=0; while [ $i -lt 100 ]; do echo %d >/d/$i; i=$((i+1)); done; rm -f /only*; echo %d >/only%d; echo written", n, n, n)
}

// written starts a script of write in a guest, and returns when it has written.
func (k *keeper) written(script string) (cmd *exec.Cmd, errs *bytes.Buffer) {
	k.t.Helper()
	cmd, errs = k.command("uml", script), &bytes.Buffer{}
	cmd.Stderr = errs
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = out.Read(make([]byte, 8))
	}
	if err != nil {
		k.t.Fatalf("%v: %s", err, errs)
	}
	return cmd, errs
}

// wrote is the run whose writes are kept, all of them: the native engine looks.
func (k *keeper) wrote() string {
	k.t.Helper()
	out, err := k.command("native", "cat /d/* | sort | uniq -c; cat /only*; ls / | grep -c only").CombinedOutput()
	f := strings.Fields(string(out))
	if err != nil || len(f) != 4 || f[0] != "100" || f[1] != f[2] || f[3] != "1" {
		k.t.Fatalf("what is kept is of no run, or of several: %v: %s", err, out)
	}
	for _, left := range []string{"image", "image.part", "merging", "data/merged"} {
		if _, err := os.Lstat(filepath.Join(k.store, "keep", k.name, left)); !os.IsNotExist(err) {
			k.t.Errorf("left behind: %s, %v", left, err)
		}
	}
	return f[1]
}

// TestKeepSurvivesKill: whenever hutch is killed, while a guest runs, while what
// it has written is put in, or after that, what is kept is all of one run.
func TestKeepSurvivesKill(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	if out, err := k.command("native", k.write(0)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	merging := filepath.Join(k.store, "keep", k.name, "merging")
	was := "0"
	for n := 1; n <= 7; n++ {
		cmd, _ := k.written(k.write(n) + "; " + []string{"sleep 100", "exit"}[min(n-1, 1)])
		for end := time.Now().Add(20 * time.Second); n > 1; time.Sleep(100 * time.Microsecond) {
			if _, err := os.Lstat(merging); err == nil {
				break
			}
			if time.Now().After(end) || ended(cmd.Process.Pid) {
				t.Logf("run %d: was over before it was seen to merge", n)
				break
			}
		}
		late := max(n-2, 0) // a helper of an ordinary user takes some time to begin
		time.Sleep(time.Duration(late*late*4) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		now := k.wrote()
		if now != was && now != fmt.Sprint(n) || n == 1 && now != was {
			t.Errorf("after run %d what is kept is that of run %s, and was that of %s", n, now, was)
		}
		t.Logf("run %d: kept is that of run %s", n, now)
		was = now
	}
}

// TestKeepOfALostGuest: a guest that ends without a report has changed nothing,
// and it is said.
func TestKeepOfALostGuest(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	if out, err := k.command("uml", k.write(1)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd, errs := k.written(k.write(2) + "; sleep 100")
	for _, pid := range guestsOf(cmd.Process.Pid) {
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill()
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 125 {
		t.Errorf("%v, want status 125", err)
	}
	if !strings.Contains(errs.String(), "what is kept is what it was before the run") {
		t.Errorf("it says %q", errs.String())
	}
	if got := k.wrote(); got != "1" {
		t.Errorf("kept is what run %s wrote", got)
	}
}
