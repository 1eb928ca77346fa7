package rootfs

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("rootdir", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, "some.tar", nil)
	writeFile(t, "noext", nil)
	if err := unix.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	digest := "sha256:" + strings.Repeat("0a", 32)
	for arg, want := range map[string]Ref{
		"host":                         {Kind: KindHost},
		"-":                            {Kind: KindTar, Path: "-"},
		"./rootdir":                    {Kind: KindDir, Path: "./rootdir"},
		"rootdir":                      {Kind: KindDir, Path: "rootdir"},
		"/":                            {Kind: KindDir, Path: "/"},
		"some.tar":                     {Kind: KindTar, Path: "some.tar"},
		"noext":                        {Kind: KindTar, Path: "noext"},
		"pipe":                         {Kind: KindTar, Path: "pipe"},
		"oci:dir":                      {Kind: KindOCI, Path: "dir"},
		"oci:dir:v1":                   {Kind: KindOCI, Path: "dir", Tag: "v1"},
		"oci:/a:b/dir":                 {Kind: KindOCI, Path: "/a:b/dir"},
		"oci-archive:f.tar":            {Kind: KindOCIArchive, Path: "f.tar"},
		"docker-archive:f.tar":         {Kind: KindDockerArchive, Path: "f.tar"},
		"debian":                       {Kind: KindImage, Name: "debian"},
		"debian:12":                    {Kind: KindImage, Name: "debian", Tag: "12"},
		"localhost:5000/a/b:v":         {Kind: KindImage, Name: "localhost:5000/a/b", Tag: "v"},
		"Registry.example/x@" + digest: {Kind: KindImage, Name: "Registry.example/x", Digest: digest},
	} {
		got, err := Parse(arg)
		if err != nil || got != want {
			t.Errorf("%q: %+v %v", arg, got, err)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%q: as a string %q, read back %+v %v", arg, got.String(), again, err)
		}
	}
	for arg, want := range map[string]string{
		"": "a root is one of", "./nothing": "no such file", "/nothing": "no such file", "x.tar.gz": "no such file", "x/": "no such file",
		"oci:": "no path", "oci::tag": "no path", "Debian": "./DIR", "a b": "./DIR", "debian:": "./DIR", "debian:-x": "./DIR",
		"x@sha256:12": "64 hexadecimal", "x@": "64 hexadecimal", "a\x00b": "NUL", "--help": "./DIR", "a//b": "./DIR",
		"/dev/null": "character device", "some.tar/x": "not a directory", strings.Repeat("n", 300): "too long",
	} {
		r, err := Parse(arg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v %v, want %q", arg, r, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"host", "-", "oci:a:b", "a.b:5/c:d@sha256:0", "./x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		r, err := Parse(arg)
		if err != nil {
			return
		}
		if again, err := Parse(r.String()); err != nil || again != r {
			t.Errorf("%q: %+v, read back %+v %v", arg, r, again, err)
		}
	})
}
