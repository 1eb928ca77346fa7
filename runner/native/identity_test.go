package native

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hutch/runner"
	"hutch/runner/plan"
)

// Only what was declared is in the environment, whatever the caller has.
func TestEnvironment(t *testing.T) {
	t.Setenv("HUTCH_SECRET", "hidden")
	t.Setenv("LD_PRELOAD", "/nowhere.so")
	for _, init := range []bool{true, false} {
		s := newSpec(t, "env")
		s.Init = init
		s.Env = []string{"A=1", "B=x y=z", "EMPTY=", "HUTCH_PROBE=inside"}
		got := runBox(t, s, "").out
		if want := strings.Join(s.Env, "\n") + "\nHOME=/root\n"; got != want {
			t.Errorf("init %v: the environment is %q, want %q", init, got, want)
		}
	}
	s := newSpec(t, "cat", "/proc/self/environ", "/proc/1/cmdline")
	if got := runBox(t, s, "").out; strings.Contains(got, "hidden") || !strings.HasSuffix(got, "hutch-init\x00") {
		t.Errorf("environment and process 1: %q", got)
	}
}

// Odd users are refused or mean what they say; none is silently root
// (crun CVE-2026-30892).
func TestUsers(t *testing.T) {
	ranged := isRoot()
	if m, err := mapIDs(newSpec(t)); err == nil && m.setgroups {
		ranged = true
	}
	tests := []struct {
		user string
		want string // uid and gid inside; empty: refused
		one  bool   // can be had where a single id is mapped
	}{
		{"", "0 0", true},
		{"0", "0 0", true},
		{"root", "0 0", true},
		{"0:0", "0 0", true},
		{"web", "33 44", false},
		{"33", "33 44", false},
		{"web:5", "33 5", false},
		{"12:34", "12 34", false},
		{"1000", "1000 0", false},
		{"0:", "", true},
		{":5", "", true},
		{":", "", true},
		{"-1", "", true},
		{"+0", "", true},
		{" 0", "", true},
		{"0x0", "", true},
		{"00", "0 0", true},
		{"4294967295", "", true},
		{"4294967296", "", true},
		{"0:4294967296", "", true},
		{"18446744073709551616", "", true},
		{"65536", "", true},
		{"nobody-here", "", true},
		{"root:nobody-here", "", true},
		{"root:root:root", "", true},
		{"../etc", "", true},
		{"root\n", "", true},
	}
	for _, test := range tests {
		s := newSpec(t, "cat", "/proc/self/status")
		s.User = test.user
		o, err := tryBox(s, "")
		if test.want == "" || !test.one && !ranged {
			if err == nil {
				f := fields(o.out)
				t.Errorf("user %q was taken, as %s:%s", test.user, f["Uid"], f["Gid"])
			} else if e := asError(t, err); e.Hint == "" {
				t.Errorf("user %q: no hint: %v", test.user, e)
			}
			continue
		}
		if err != nil {
			t.Errorf("user %q: %v (%s)", test.user, err, runner.Hint(err))
			continue
		}
		f := fields(o.out)
		uid, gid, _ := strings.Cut(test.want, " ")
		if f["Uid"] != strings.Repeat(uid+" ", 3)+uid || f["Gid"] != strings.Repeat(gid+" ", 3)+gid {
			t.Errorf("user %q became %s, group %s", test.user, f["Uid"], f["Gid"])
		}
		if zero := "0000000000000000"; uid != "0" && (f["CapEff"] != zero || f["CapPrm"] != zero) || f["CapInh"] != zero || f["CapAmb"] != zero {
			t.Errorf("user %q has capabilities %s %s %s %s", test.user, f["CapEff"], f["CapPrm"], f["CapInh"], f["CapAmb"])
		}
	}
}

// Root inside is nobody outside, and what it may do is what was declared.
func TestRootInsideIsNotRootOutside(t *testing.T) {
	for _, test := range []struct {
		caps []string
		want string
	}{
		{[]string{}, "0000000000000000"},
		{[]string{"CAP_CHOWN", "CAP_KILL"}, "0000000000000021"},
	} {
		s := newSpec(t, "stay", "100", "-", newMark())
		s.Capabilities = test.caps
		b := startBox(t, s)
		name := strings.Fields(processes(s.Command[4])[0])[0]
		status, err := os.ReadFile(filepath.Join(filepath.Dir(name), "status"))
		if err != nil {
			t.Fatal(err)
		}
		reaper, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.Process.PID()))
		if err != nil {
			t.Fatal(err)
		}
		for who, text := range map[string]string{"application": string(status), "reaper": string(reaper)} {
			f := fields(text)
			if isRoot() && strings.HasPrefix(f["Uid"], "0") || !isRoot() && !strings.HasPrefix(f["Uid"], fmt.Sprint(os.Geteuid(), " ")) {
				t.Errorf("the %s is outside %s", who, f["Uid"])
			}
			want := test.want
			if who == "reaper" {
				want = "0000000000000020" // CAP_KILL, to pass signals on to another user
				if f["NoNewPrivs"] != "1" {
					t.Errorf("the reaper may gain privileges")
				}
			}
			for _, set := range []string{"CapPrm", "CapEff"} {
				if f[set] != want {
					t.Errorf("%s: %s is %s, want %s", who, set, f[set], want)
				}
			}
			if zero := "0000000000000000"; f["CapInh"] != zero || f["CapAmb"] != zero || who == "application" && f["CapBnd"] != want {
				t.Errorf("%s: inheritable %s, ambient %s, bounding %s", who, f["CapInh"], f["CapAmb"], f["CapBnd"])
			}
		}
		b.end(t)
	}
}

// A host root keeps the caller's ids where it is an ordinary user, and no
// capability.
func TestHostRootHasNoCapabilities(t *testing.T) {
	s := newSpec(t)
	s.Root.Kind, s.Root.Lowers = runner.RootHost, nil
	s.Capabilities = nil
	s.Command = []string{"cat", "/proc/self/status"}
	f := fields(runBox(t, s, "").out)
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if f[set] != "0000000000000000" {
			t.Errorf("%s is %s", set, f[set])
		}
	}
	uid := fmt.Sprint(os.Geteuid())
	if isRoot() {
		uid = "0"
	}
	if f["Uid"] != strings.Repeat(uid+" ", 3)+uid {
		t.Errorf("the user is %s", f["Uid"])
	}
}

// A program that is setuid gains nothing, on the root or on a bind.
func TestSetuid(t *testing.T) {
	image := newImage(t)
	if err := os.Chmod(filepath.Join(image, "bin/probe"), 0o755|os.ModeSetuid|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	s := newSpecIn(t, image, "cat", "/proc/self/status")
	if isRoot() {
		s.User = "1234:1234"
	}
	f := fields(runBox(t, s, "").out)
	ids := strings.Fields(f["Uid"] + " " + f["Gid"])
	if slices.Sort(ids); ids[0] != ids[len(ids)-1] || f["CapPrm"] != "0000000000000000" && isRoot() {
		t.Errorf("setuid changed something: %s %s %s", f["Uid"], f["Gid"], f["CapPrm"])
	}
}

// The session keyring, with the caller's keys, is not the box's.
func TestKeyring(t *testing.T) {
	runtime.LockOSThread() // a thread's keyring is its own, and its children's
	defer runtime.UnlockOSThread()
	if _, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.AddKey("user", "native-test", []byte("secret"), unix.KEY_SPEC_SESSION_KEYRING); err != nil {
		t.Fatal(err)
	}
	s := unfiltered(newSpec(t, "key", "native-test"))
	if out := runBox(t, s, "").out; errno(strings.TrimSpace(out)) != unix.ENOKEY {
		t.Errorf("the caller's key: %q, want ENOKEY", out)
	}
	if out := runWithout(t, s, plan.NewKeyring); out != "0\n" {
		t.Errorf("it does not bite: with the caller's keyring: %q", out)
	}
}
