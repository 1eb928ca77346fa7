package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"hutch/runner/host"
)

var update = flag.Bool("update", false, "rewrite the golden parts of the scripts")

// To add a verb: a file testdata/script/VERB.txtar. Beside the words of package
// testscript, a script has
//
//	status N COMMAND...          run it and expect the exit status N
//	bad N MESSAGE HINT COMMAND…  as status, and expect nothing on stdout, on stderr
//	                             "hutch: MESSAGE" and "hint: HINT" (regular
//	                             expressions) and no more, soon, and nothing left
//	repeat NAME TEXT N           set the variable NAME to N times TEXT
//	head N FROM TO               copy the first N bytes of a file
//	layout DIR              write the test image as an OCI layout, with the tag 1
//	flip PATH               change one byte of that file in the store's layers
//	flipimage IMAGE         change one byte of its topmost layer, of root's store
//	poke FILE OFFSET BYTE        overwrite one byte, both numbers as in Go
//
// and the conditions [root], [range], which says that many ids can be mapped,
// [groups], which says that this user may make control groups,
// [node] and [java], which are large and not needed by anything else. root/ is a root of busybox; app/ one that shows the host's /usr when
// it is bound there.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Setup:               setup,
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		ContinueOnError:     true,
		Condition: func(name string) (bool, error) {
			switch name {
			case "node", "java":
				return systemHas(name), nil
			case "root":
				return os.Geteuid() == 0, nil
			case "groups":
				return host.CgroupDelegation().Have, nil
			case "range":
				return manyIDs(), nil
			}
			return false, fmt.Errorf("no such condition: %s", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status, "bad": bad, "repeat": repeat, "head": head, "poke": poke,
			"layout": makeLayout, "flip": flip, "flipimage": flipImage,
		},
	})
}

// systemHas looks where app/ does, and not in the caller's PATH.
func systemHas(program string) bool {
	_, err := os.Stat("/usr/bin/" + program)
	return err == nil
}

func manyIDs() bool { return os.Geteuid() == 0 || (host.SubIDs().Have && host.Newuidmap().Have) }

// setup gives a script its roots and a home of its own.
func setup(env *testscript.Env) error {
	for _, v := range []struct{ name, dir string }{
		{"HOME", "home"},
		{"XDG_CACHE_HOME", "home/.cache"},
		{"XDG_DATA_HOME", "home/.local/share"},
		{"TMPDIR", "tmp"},
	} {
		dir := filepath.Join(env.WorkDir, v.dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		env.Setenv(v.name, dir)
	}
	// Some tools of an ordinary user's machine lie here.
	env.Setenv("PATH", env.Getenv("PATH")+":/usr/sbin:/sbin")
	if err := busyboxRoot(filepath.Join(env.WorkDir, "root")); err != nil {
		return err
	}
	return appRoot(filepath.Join(env.WorkDir, "app"))
}

// run is Exec, with the exit status.
func runStatus(ts *testscript.TestScript, args []string) int {
	err := ts.Exec(args[0], args[1:]...)
	var e *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e) && e.Exited():
		return e.ExitCode()
	}
	ts.Fatalf("%s: %v", strings.Join(args, " "), err)
	return -1
}

func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND...")
	}
	if got := runStatus(ts, args[1:]); strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

// slow is more than a start can take on the most loaded of machines; it is
// there to catch a wait.
const slow = 15 * time.Second

func bad(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: bad N MESSAGE HINT COMMAND...")
	}
	before, began := traces(ts), time.Now()
	got, took := runStatus(ts, args[3:]), time.Since(began)
	if ok, _ := regexp.MatchString("^"+args[0]+"$", strconv.Itoa(got)); !ok {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("something ran, or spoke on standard output: %q", out)
	}
	want := `^hutch: (?:` + args[1] + `)\nhint: (?:` + args[2] + `)\n$`
	if errOut := ts.ReadFile("stderr"); !regexp.MustCompile(want).MatchString(errOut) {
		ts.Fatalf("stderr is\n%swant\n%s", errOut, want)
	}
	if n := len(ts.ReadFile("stderr")); n > 2*longestLine+100 {
		ts.Fatalf("an error of %d bytes", n)
	}
	if took > slow {
		ts.Fatalf("took %v", took)
	}
	for _, a := range traces(ts) {
		if !slices.Contains(before, a) {
			ts.Fatalf("left behind: %s", a)
		}
	}
}

// traces lists what a run could leave behind: mounts, temporary files, and
// files beside the roots. Processes are looked for at the end of all tests.
func traces(ts *testscript.TestScript) (all []string) {
	work := ts.Getenv("WORK")
	if os.Getenv(privateVar) != "" { // others mount too where it is shared, and an ordinary user cannot
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		ts.Check(err)
		for line := range strings.Lines(string(mounts)) {
			all = append(all, "mount "+line)
		}
	}
	for _, pattern := range []string{"*", "tmp/*"} {
		files, err := filepath.Glob(filepath.Join(work, pattern))
		ts.Check(err)
		all = append(all, files...)
	}
	return all
}

func repeat(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Setenv(args[0], strings.Repeat(args[1], n))
}

func head(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	data := ts.ReadFile(args[1])
	if len(data) <= n {
		ts.Fatalf("%s has only %d bytes", args[1], len(data))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(data[:n]), 0o755))
}

func poke(ts *testscript.TestScript, _ bool, args []string) {
	offset, err := strconv.ParseInt(args[1], 0, 64)
	ts.Check(err)
	value, err := strconv.ParseUint(args[2], 0, 8)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0)
	ts.Check(err)
	_, err = f.WriteAt([]byte{byte(value)}, offset)
	ts.Check(err)
	ts.Check(f.Close())
}
