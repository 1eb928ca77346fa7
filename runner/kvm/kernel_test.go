package kvm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hutch/runner"
)

// fullConfig is the configuration of a kernel that has all options.
func fullConfig(change ...string) string {
	text := "\nCONFIG_X86_64=y\nCONFIG_VIRTIO_MMIO=m\n"
	for _, o := range options {
		text += "CONFIG_" + o.name + "=y\n"
	}
	return strings.NewReplacer(change...).Replace(text)
}

func TestParseConfig(t *testing.T) {
	if c, loaded, missing := parseConfig(fullConfig()); missing != "" || len(loaded) != 0 || c.VirtioMMIO != 'm' || c.VirtioPCI != 0 {
		t.Errorf("%+v %v %q", c, loaded, missing)
	}
	if _, loaded, missing := parseConfig(fullConfig("EROFS_FS=y", "EROFS_FS=m")); missing != "" || strings.Join(loaded, " ") != "erofs" {
		t.Errorf("erofs as a module: %v %q", loaded, missing)
	}
	for _, tt := range []struct{ from, to, want string }{
		{"CONFIG_MEMCG=y", "# CONFIG_MEMCG is not set", "CONFIG_MEMCG, which the limit of memory needs"},
		{"CONFIG_DEVTMPFS=y", "CONFIG_DEVTMPFS=m", "CONFIG_DEVTMPFS, which devices needs"},
		{"CONFIG_X86_64=y", "CONFIG_ARM64=y", "not for x86-64"},
	} {
		if _, _, missing := parseConfig(fullConfig(tt.from, tt.to)); !strings.Contains(missing, tt.want) {
			t.Errorf("%s: %q, want %q", tt.to, missing, tt.want)
		}
	}
}

// bzImage is the head of a compressed kernel.
func bzImage(version string, flags byte) []byte {
	b := make([]byte, 0x1000)
	copy(b[0x202:], "HdrS")
	b[0x20e], b[0x20f] = 0x00, 0x08
	b[0x236] = flags
	copy(b[0xa00:], version+" (someone@somewhere) #1")
	return b
}

func TestBadKernels(t *testing.T) {
	dir := t.TempDir()
	arm := make([]byte, 0x1000)
	copy(arm[0x38:], "ARM\x64")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		data   []byte
		config string
		want   string
	}{
		"short":     {[]byte("x"), "", "too short"},
		"text":      {[]byte(strings.Repeat("no kernel ", 100)), "", "no kernel for x86-64"},
		"arm64":     {arm, "", "arm64"},
		"32-bit":    {bzImage("6.1.0", 0), "", "32 bits"},
		"no-config": {bzImage("6.1.0", 1), "", "its configuration is not beside it"},
		"no-memcg":  {bzImage("6.1.0", 1), fullConfig("CONFIG_MEMCG=y", ""), "CONFIG_MEMCG"},
		"program":   {self, "", "CONFIG_PVH"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, tt.data, 0o644); err != nil {
				t.Fatal(err)
			}
			if tt.config != "" {
				if err := os.WriteFile(path+".config", []byte(tt.config), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			e := Engine{Cache: filepath.Join(dir, "cache")}
			_, err := e.inspectKernel(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) || runner.Hint(err) == "" {
				t.Errorf("error %v, hint %q, want %q", err, runner.Hint(err), tt.want)
			}
		})
	}
}

func TestModulesThatDoNotMatch(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "vmlinuz")
	if err := os.WriteFile(path, bzImage("1.2.3-none", 1), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".config", []byte(fullConfig("EROFS_FS=y", "EROFS_FS=m")), 0o644); err != nil {
		t.Fatal(err)
	}
	e := Engine{Cache: filepath.Join(dir, "cache")}
	k, err := e.inspectKernel(path)
	if err != nil || k.Release != "1.2.3-none" {
		t.Fatalf("%+v, %v", k, err)
	}
	if _, err := k.modules(); err == nil || !strings.Contains(err.Error(), "no modules for release 1.2.3-none") {
		t.Errorf("error %v", err)
	}
}

// What the file says may be anything.
func FuzzRelease(f *testing.F) {
	f.Add(bzImage("6.1.0", 1))
	f.Add(bzImage(strings.Repeat("x", 300), 0xff))
	f.Add([]byte("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 1000)))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "kernel")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if r, err := release(file); err == nil && len(r) > 256 {
			t.Errorf("a release of %d bytes", len(r))
		}
	})
}
