package native

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hutch/runner"
)

// empty wants a canary directory to hold nothing but its canary.
func empty(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "canary"))
	if len(list) != 1 || err != nil || string(text) != "sings" {
		t.Errorf("the host's %s was touched: %v %q %v", dir, list, text, err)
	}
}

// An image whose names are symbolic links leads the set-up nowhere: the start
// is refused, naming the place, or the link resolves inside the root
// (CVE-2025-31133, CVE-2025-52565, CVE-2026-41579, CVE-2019-19921).
func TestImagesThatPointElsewhere(t *testing.T) {
	core, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		// link in the image, to; OUT is a directory of the host.
		link, to string
		// refused is in the error; empty: the box must run.
		refused string
	}{
		{"null", "dev/null", "/proc/sys/kernel/core_pattern", ""},
		{"null out", "dev/null", "OUT/canary", ""},
		{"console", "dev/console", "OUT/canary", ""},
		{"ptmx", "dev/ptmx", "OUT/canary", ""},
		{"pts", "dev/pts", "OUT", ""},
		{"shm", "dev/shm", "OUT", ""},
		{"sys", "sys", "OUT", ""},
		{"dev", "dev", "OUT", "/dev"},
		{"dev up", "dev", "../../../../../../../../OUT", "/dev"},
		{"dev in", "dev", "/bin", "/dev"},
		{"proc", "proc", "OUT", "/proc"},
		{"proc root", "proc", "/", "/proc"},
		{"proc self", "proc", "proc", "/proc"},
		{"tmp", "tmp", "OUT", "/tmp"},
		{"tmp in", "tmp", "/bin", ""},
		{"bind", "mnt", "OUT", "/mnt"},
		{"bind up", "mnt", "../../../../../../../../../OUT", "/mnt"},
		{"bind by proc", "mnt", "/proc/self/cwd", "/mnt"},
		{"bind by fd", "mnt", "/proc/self/fd/0", "/mnt"},
		{"bind in", "mnt", "bin", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, image, source := tempDir(t), newImage(t), tempDir(t)
			write(t, filepath.Join(out, "canary"), "sings")
			link := filepath.Join(image, test.link)
			mkdir(t, filepath.Dir(link))
			symlink(t, strings.ReplaceAll(test.to, "OUT", out), link)

			s := newSpecIn(t, image, "stat", "/dev/null")
			if strings.HasPrefix(test.name, "tmp in") {
				// The prober is covered by the new /tmp: only the start counts.
				s.Command = []string{"/nowhere"}
			}
			if test.link == "mnt" {
				s.Mounts = []runner.Mount{{Type: runner.MountBind, Source: source, Target: "/mnt/a/b"}}
			}
			o, err := tryBox(s, "")
			switch {
			case test.refused != "":
				if e := asError(t, err); e.Stage != runner.StageStart || !strings.Contains(e.Error()+e.Hint, test.refused) || e.Hint == "" {
					t.Errorf("%s: %v (%s)", e.Stage, e, e.Hint)
				}
			case s.Command[0] == "/nowhere":
				if e := asError(t, err); e.Stage != runner.StageExec {
					t.Errorf("%s: %v", e.Stage, e)
				}
			case err != nil:
				t.Errorf("%v (%s)", err, runner.Hint(err))
			case !strings.HasPrefix(o.out, "20666 ") || !strings.HasSuffix(o.out, " 103\n"):
				t.Errorf("/dev/null inside is %q", o.out)
			}
			empty(t, out)
			if left, _ := os.ReadDir(source); len(left) != 0 {
				t.Errorf("the bind source holds %v", left)
			}
			if now, _ := os.ReadFile("/proc/sys/kernel/core_pattern"); string(now) != string(core) {
				t.Errorf("core_pattern is now %q", now)
			}
		})
	}
	t.Run("bites", func(t *testing.T) {
		// What a set-up that looks names up by path does with such an image.
		out, image := tempDir(t), newImage(t)
		symlink(t, out, filepath.Join(image, "dev"))
		mkdir(t, filepath.Join(image, "dev/shm"))
		if _, err := os.Stat(filepath.Join(out, "shm")); err != nil {
			t.Error(err)
		}
	})
}

// What stands where a directory must be is refused, not replaced.
func TestImageWithFileForDirectory(t *testing.T) {
	for _, name := range []string{"proc", "dev", "tmp"} {
		image := newImage(t)
		write(t, filepath.Join(image, name), "a file")
		_, err := tryBox(newSpecIn(t, image, "env"), "")
		if e := asError(t, err); !strings.Contains(e.Error(), "/"+name) || !strings.Contains(e.Hint, "not a directory") {
			t.Errorf("%s: %v (%s)", name, e, e.Hint)
		}
	}
}

// The image's passwd is a link to the host's, or endless: neither is read
// (podman CVE-2024-9676).
func TestImageWithForeignPasswd(t *testing.T) {
	for _, to := range []string{"OUT/passwd", "/dev/zero", "../../../../../../OUT/passwd"} {
		out, image := tempDir(t), newImage(t)
		write(t, filepath.Join(out, "passwd"), "evil:x:0:0::/:/bin/sh\n")
		mkdir(t, filepath.Join(image, "etc"))
		symlink(t, strings.ReplaceAll(to, "OUT", out), filepath.Join(image, "etc/passwd"))
		s := newSpecIn(t, image, "env")
		s.User = "evil"
		began := time.Now()
		_, err := tryBox(s, "")
		if e := asError(t, err); e.Stage != runner.StageStart || !strings.Contains(e.Error(), "evil") {
			t.Errorf("%s: %v", to, e)
		}
		if time.Since(began) > 30*time.Second {
			t.Errorf("%s: took %v", to, time.Since(began))
		}
	}
}

// One box swaps a name in a shared directory between a directory and links
// out of it, while another is started again and again with a mount below that
// name (CVE-2019-19921, crun CVE-2026-47766).
func TestNamesSwappedWhileStarting(t *testing.T) {
	for _, to := range []string{"OUT", "../../../../../../../../OUT"} {
		out, shared, source := tempDir(t), tempDir(t), tempDir(t)
		write(t, filepath.Join(out, "canary"), "sings")
		write(t, filepath.Join(source, "file"), "payload")
		mkdir(t, filepath.Join(shared, "a"))
		symlink(t, strings.ReplaceAll(to, "OUT", out), filepath.Join(shared, "b"))
		bind := runner.Mount{Type: runner.MountBind, Source: shared, Target: "/shared"}

		attack := newSpec(t, "swap", "/shared/a", "/shared/b")
		attack.Mounts = []runner.Mount{bind}
		swapper := startBox(t, attack)

		if to == "OUT" {
			// It bites: by path, sooner or later, the link is hit.
			hit := filepath.Join(out, "bite")
			for end := time.Now().Add(2 * time.Minute); ; {
				os.Mkdir(filepath.Join(shared, "a/bite"), 0o755)
				if os.Remove(hit) == nil {
					break
				}
				if time.Now().After(end) {
					t.Fatal("the race was never lost by path")
				}
			}
		}
		ran, refused := 0, 0
		for range 100 {
			victim := newSpec(t, "cat", "/shared/a/sub/file")
			victim.Mounts = []runner.Mount{bind, {Type: runner.MountBind, Source: source, Target: "/shared/a/sub"}}
			o, err := tryBox(victim, "")
			if err != nil {
				if e := asError(t, err); e.Stage != runner.StageStart {
					t.Errorf("%s: %v", e.Stage, e)
				}
				refused++
			} else if ran++; o.out != "payload" && !strings.Contains(o.out, "No such file") && !strings.Contains(o.out, "Not a directory") {
				t.Errorf("the victim saw %q", o.out)
			}
		}
		t.Logf("%d ran, %d refused", ran, refused)
		swapper.end(t)
		empty(t, out)
	}
}
