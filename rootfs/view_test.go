package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// layer unpacks entries as an overlay layer and gives its directory.
func layer(t *testing.T, entries ...entry) string {
	t.Helper()
	dir := t.TempDir() + "/layer"
	mustUnpack(t, dir, tarOf(t, entries...), UnpackOptions{Whiteouts: WhiteoutsOverlay})
	return dir
}

func TestView(t *testing.T) {
	host := t.TempDir()
	writeFile(t, host+"/secret", []byte("secret"))
	bottom := layer(t,
		dirEntry("etc"), fileEntry("etc/passwd", "bottom"), fileEntry("etc/gone", "x"), fileEntry("etc/only", "bottom"),
		dirEntry("opaque"), fileEntry("opaque/hidden", "x"),
		dirEntry("dir"), fileEntry("dir/f", "x"), fileEntry("file", "x"),
		dirEntry("usr/lib"), fileEntry("usr/lib/f", "lib"), symlinkEntry("lib", "usr/lib"),
	)
	top := layer(t,
		dirEntry("etc"), fileEntry("etc/passwd", "top"), fileEntry("etc/.wh.gone", ""),
		dirEntry("opaque"), fileEntry("opaque/.wh..wh..opq", ""), fileEntry("opaque/new", "new"),
		fileEntry("dir", "now a file"), dirEntry("file"),
		symlinkEntry("out", host+"/secret"), symlinkEntry("up", "../../../../../../../.."+host+"/secret"),
		symlinkEntry("abs", "/etc/only"), symlinkEntry("rel", "etc/../etc/only"), symlinkEntry("loop", "loop"),
		symlinkEntry("lib64", "/lib/"), symlinkEntry("procroot", "/proc/self/root"),
		symlinkEntry("chain0", "chain1"), symlinkEntry("chain1", "/etc/../chain2"), symlinkEntry("chain2", "etc/only"),
		entry{Header: fifo("fifo")},
	)
	for _, v := range []struct {
		name string
		view View
	}{{"two layers", View{[]string{top, bottom}}}, {"three", View{[]string{layer(t, dirEntry("x")), top, bottom}}}} {
		for path, want := range map[string]string{
			"/etc/passwd": "top", "etc/only": "bottom", "/abs": "bottom", "/rel": "bottom", "/chain0": "bottom",
			"/opaque/new": "new", "/dir": "now a file", "/lib/f": "lib", "/lib64/f": "lib", "/../../etc/only": "bottom",
			"/lib/../lib/f": "lib", // usr/lib/../lib, as the kernel reads it
			"/etc/gone":     "ENOENT", "/opaque/hidden": "ENOENT", "/dir/f": "ENOTDIR", "/out": "ENOENT", "/up": "ENOENT",
			"/loop": "ELOOP", "/nothing/at/all": "ENOENT", "/procroot/etc/passwd": "ENOENT", "": "dir", "/": "dir", "/file": "dir",
			"/etc": "dir", "/etc/passwd/x": "ENOTDIR", "/fifo": "fifo",
		} {
			if got := look(v.view, path); got != want {
				t.Errorf("%s, %s: %q, want %q", v.name, path, got, want)
			}
		}
	}
	// The same with one layer, which the kernel resolves.
	one := View{[]string{top}}
	for path, want := range map[string]string{
		"/etc/passwd": "top", "/out": "ENOENT", "/up": "ENOENT", "/loop": "ELOOP", "/": "dir", "/fifo": "fifo", "/abs": "ENOENT",
	} {
		if got := look(one, path); got != want {
			t.Errorf("one layer, %s: %q, want %q", path, got, want)
		}
	}
	if b, err := os.ReadFile(top + "/out"); err != nil || string(b) != "secret" {
		t.Errorf("the attack does not bite: %q %v", b, err)
	}
}

func look(v View, path string) string {
	b, err := v.ReadFile(path, 100)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "ENOENT"
	case errors.Is(err, unix.ENOTDIR):
		return "ENOTDIR"
	case errors.Is(err, unix.ELOOP):
		return "ELOOP"
	case err != nil && strings.Contains(err.Error(), "is a directory"):
		return "dir"
	case err != nil && strings.Contains(err.Error(), "is a FIFO"):
		return "fifo"
	case err != nil:
		return err.Error()
	}
	return string(b)
}

func TestViewBounds(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/big", make([]byte, 101))
	v := View{[]string{dir}}
	if _, err := v.ReadFile("big", 100); err == nil || !strings.Contains(err.Error(), "larger than 100") {
		t.Error(err)
	}
	if b, err := v.ReadFile("big", 101); err != nil || len(b) != 101 {
		t.Error(len(b), err)
	}
	for _, p := range []string{strings.Repeat("a/", 5000), "a\x00b", strings.Repeat("n", 300)} {
		if _, err := v.Stat(p); err == nil {
			t.Errorf("%.20q: no error", p)
		}
		if _, err := (View{[]string{dir, dir}}).Stat(p); err == nil {
			t.Errorf("%.20q: no error with two layers", p)
		}
	}
	if _, err := (View{}).Stat("/"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if fi, err := v.Stat("/big"); err != nil || fi.Size() != 101 || fi.Name() != "big" || fi.Mode() != 0o644 {
		t.Errorf("%v %v", fi, err)
	}
}

func TestLookupUser(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir+"/etc/passwd", []byte("root:x:0:0:root:/root:/bin/sh\njoe:x:1000:1001:Joe:/home/joe:/bin/sh\n"+
		"broken\nbad:x:many:1::/:\n4242:x:0:0:trap:/:/bin/sh\nmax:x:4294967295:0::/:\nrel:x:5:5::home:\n"))
	writeFile(t, dir+"/etc/group", []byte("root:x:0:\njoe:x:1001:\nwheel:x:10:root,joe\naudio:x:29:joe\ndup:x:29:joe\nbroken\nbad:x:x:joe\n"))
	v := View{[]string{dir}}
	for spec, want := range map[string]User{
		"":            {Name: "root", Home: "/root", Groups: []uint32{10}},
		"root":        {Name: "root", Home: "/root", Groups: []uint32{10}},
		"joe":         {UID: 1000, GID: 1001, Name: "joe", Home: "/home/joe", Groups: []uint32{10, 29}},
		"1000":        {UID: 1000, GID: 1001, Name: "joe", Home: "/home/joe", Groups: []uint32{10, 29}},
		"joe:audio":   {UID: 1000, GID: 29, Name: "joe", Home: "/home/joe"},
		"joe:5":       {UID: 1000, GID: 5, Name: "joe", Home: "/home/joe"},
		"7:8":         {UID: 7, GID: 8, Home: "/"},
		"7":           {UID: 7, Home: "/"},
		"4242":        {UID: 4242, Home: "/"}, // not the user called "4242", who is root
		"4294967294":  {UID: 4294967294, Home: "/"},
		"rel":         {UID: 5, GID: 5, Name: "rel", Home: "/"},
		"00001000:10": {UID: 1000, GID: 10, Name: "joe", Home: "/home/joe"},
	} {
		got, err := LookupUser(v, spec)
		if err != nil || got.UID != want.UID || got.GID != want.GID || got.Name != want.Name || got.Home != want.Home ||
			len(got.Groups) != len(want.Groups) {
			t.Errorf("%q: %+v %v, want %+v", spec, got, err, want)
		}
	}
	for _, spec := range []string{
		"0:", ":5", ":", "4294967296", "4294967295", "0:4294967295", "-1", "+1", "0:-1", "99999999999999999999",
		"nobody", "joe:nogroup", "joe smith", " joe", "joe\n", "a:b:c", "joe/..", "max", "bad", "\x00", strings.Repeat("u", 300),
	} {
		if u, err := LookupUser(v, spec); err == nil {
			t.Errorf("%q: %+v", spec, u)
		} else if !strings.HasPrefix(err.Error(), "user ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", spec, err)
		}
	}
}

// TestPasswdAttacks: an image's account files that are no such thing.
func TestPasswdAttacks(t *testing.T) {
	host := t.TempDir()
	writeFile(t, host+"/passwd", []byte("joe:x:0:0::/:\n"))
	for _, tt := range []struct {
		name  string
		make  func(path string) error
		named string // what a lookup by name says
	}{
		{"missing", func(string) error { return nil }, "no /etc/passwd"},
		{"symlink to the host", func(p string) error { return os.Symlink(host+"/passwd", p) }, "no /etc/passwd"},
		{"symlink to a device", func(p string) error { return os.Symlink("/dev/zero", p) }, "no /etc/passwd"},
		{"fifo", func(p string) error { return unix.Mkfifo(p, 0o666) }, "FIFO"},
		{"directory", func(p string) error { return os.Mkdir(p, 0o755) }, "directory"},
		{"endless", func(p string) error {
			f, err := os.Create(p)
			return errors.Join(err, f.Truncate(1<<40), f.Close())
		}, "larger than"},
		{"circle", func(p string) error { return os.Symlink("passwd", p) }, "symbolic links"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := errors.Join(os.Mkdir(dir+"/etc", 0o755), tt.make(dir+"/etc/passwd")); err != nil {
				t.Fatal(err)
			}
			for _, v := range []View{{[]string{dir}}, {[]string{dir, t.TempDir()}}} {
				u, err := LookupUser(v, "joe")
				if err == nil || !strings.Contains(err.Error(), tt.named) {
					t.Errorf("joe: %+v %v", u, err)
				}
				u, err = LookupUser(v, "5:6")
				if tt.named == "no /etc/passwd" && (err != nil || u.UID != 5 || u.GID != 6) {
					t.Errorf("5:6: %+v %v", u, err)
				}
			}
		})
	}
	// A symlink that stays inside is followed inside.
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(dir+"/etc", 0o755), os.Symlink("/real", dir+"/etc/passwd")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir+"/real", []byte("joe:x:7:7::/:\n"))
	if u, err := LookupUser(View{[]string{dir}}, "joe"); err != nil || u.UID != 7 {
		t.Errorf("%+v %v", u, err)
	}
}

func TestDiagnoseExec(t *testing.T) {
	dir := t.TempDir()
	exe := func(name, content string, mode os.FileMode) {
		t.Helper()
		writeFile(t, dir+"/"+name, []byte(content))
		if err := os.Chmod(dir+"/"+name, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"/bin", "/usr", "/usr/bin"} {
		if err := os.Mkdir(dir+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	exe("bin/dynamic", string(self), 0o755)
	arm := []byte(string(self))
	arm[18], arm[19] = 183, 0
	exe("bin/arm", string(arm), 0o755)
	i386 := []byte(string(self))
	i386[4], i386[18] = 1, 3
	exe("bin/i386", string(i386), 0o755)
	exe("bin/cut", string(self[:60]), 0o755)
	exe("bin/cutmore", string(self[:20]), 0o755)
	exe("bin/object", string(append(append([]byte{}, self[:16]...), append([]byte{1, 0}, self[18:]...)...)), 0o755)
	exe("bin/noint", "#!/bin/nothere -x\n", 0o755)
	exe("bin/crlf", "#!/bin/dynamic\r\n", 0o755)
	exe("bin/onarm", "#! /bin/arm\n", 0o755)
	exe("bin/loop", "#!/bin/loop\n", 0o755)
	exe("bin/bare", "#!\n", 0o755)
	exe("bin/text", "echo hi\n", 0o755)
	exe("bin/empty", "", 0o755)
	exe("bin/noexec", "#!/bin/sh\n", 0o644)
	exe("bin/pe", "MZ\x90", 0o755)
	exe("usr/bin/both", "text", 0o755)
	exe("bin/both", "text", 0o644)
	if err := errors.Join(unix.Mkfifo(dir+"/bin/fifo", 0o755), os.Symlink("circle", dir+"/bin/circle"),
		os.Symlink("/bin/noexec", dir+"/bin/link")); err != nil {
		t.Fatal(err)
	}
	v := View{[]string{dir}}
	for _, tt := range []struct {
		command string
		code    int
		want    string
	}{
		{"", 127, "empty"},
		{"nothing", 127, "looked in /bin:/usr/bin"},
		{"/bin/nothing", 127, "not found"},
		{"/bin/noexec/x", 127, "not found"},
		{"circle", 127, "not found"},
		{"/bin/circle", 127, "circle"},
		{"/bin", 126, "is a directory"},
		{"noexec", 126, "not executable"},
		{"link", 126, "not executable"},
		{"fifo", 126, "FIFO"},
		{"empty", 126, "empty file"},
		{"text", 126, "neither a program nor a script"},
		{"pe", 126, "Windows program"},
		{"noint", 126, "interpreter /bin/nothere is not in the root"},
		{"crlf", 126, "Windows line ends"},
		{"bare", 126, "names no interpreter"},
		{"loop", 126, "more than 4 deep"},
		{"onarm", 126, "program for arm64"},
		{"arm", 126, "program for arm64, and this machine is"},
		{"i386", 126, "386"},
		{"cut", 126, "ends inside"},
		{"cutmore", 126, "cut short"},
		{"object", 126, "type 1"},
		{"dynamic", 126, "needs the dynamic loader /lib64/ld-linux-x86-64.so.2"},
		{"both", 126, "/usr/bin/both: is neither"},
	} {
		p := DiagnoseExec(v, tt.command, []string{"/bin", "/usr/bin"})
		if p.Code != tt.code || !strings.Contains(p.Message, tt.want) || strings.Contains(p.Message, "%!") {
			t.Errorf("%s: %d %s (%s)", tt.command, p.Code, p.Message, p.Hint)
		}
	}
	if err := os.Mkdir(dir+"/lib64", 0o755); err != nil {
		t.Fatal(err)
	}
	exe("lib64/ld-linux-x86-64.so.2", string(self), 0o755)
	if p := DiagnoseExec(v, "dynamic", []string{"/bin"}); !strings.Contains(p.Message, "are there") || p.Code != 126 {
		t.Errorf("%+v", p)
	}
}

func FuzzDiagnose(f *testing.F) {
	self, err := os.ReadFile("/bin/true")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(self[:1000])
	f.Add([]byte("#!/f -x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/f", data, 0o755); err != nil {
			t.Fatal(err)
		}
		if p := DiagnoseExec(View{[]string{dir}}, "/f", nil); p.Message == "" || p.Code != 126 {
			t.Errorf("%+v", p)
		}
	})
}
