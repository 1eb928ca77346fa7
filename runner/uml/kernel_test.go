package uml

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A kernel without an option that a guest needs is refused, by its name; what
// is a module is loaded.
func TestCheckConfig(t *testing.T) {
	t.Parallel()
	config := "CONFIG_UML=y\n"
	for _, o := range options {
		config += "CONFIG_" + o.name + "=y\n"
	}
	if modules, err := check(config); err != nil || len(modules) != 0 {
		t.Errorf("%v, %v", modules, err)
	}
	for _, o := range options {
		without := strings.Replace(config, "CONFIG_"+o.name+"=y\n", "# CONFIG_"+o.name+" is not set\n", 1)
		if _, err := check(without); err == nil || !strings.Contains(err.Error(), "CONFIG_"+o.name+",") {
			t.Errorf("without %s: %v", o.name, err)
		}
		modules, err := check(strings.Replace(config, "CONFIG_"+o.name+"=y\n", "CONFIG_"+o.name+"=m\n", 1))
		if o.module == "" && err == nil || o.module != "" && (err != nil || len(modules) != 1 || modules[0] != o.module) {
			t.Errorf("%s as a module: %v, %v", o.name, modules, err)
		}
	}
	if _, err := check("CONFIG_X86=y\n"); err == nil || !strings.Contains(err.Error(), "not a User Mode Linux kernel") {
		t.Errorf("%v", err)
	}
}

// What is kept of a kernel is asked for again when the file is another, or a
// module is gone.
func TestInspectIsKept(t *testing.T) {
	t.Parallel()
	path, err := (&Engine{}).findKernel()
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	first, err := inspect(path, cache)
	if err != nil || first.Release == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	kept, err := filepath.Glob(cache + "/kernel-*.json")
	if err != nil || len(kept) != 1 {
		t.Fatalf("%v, %v", kept, err)
	}
	for _, text := range []string{"not JSON", `{"release":"1","modules":["/nope"]}`, ""} {
		if err := os.WriteFile(kept[0], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if again, err := inspect(path, cache); err != nil || again.Release != first.Release {
			t.Errorf("with %q in the cache: %+v, %v", text, again, err)
		}
	}
}

// The kernel's command line is made of what hutch chose, and nothing else.
func TestArgs(t *testing.T) {
	t.Parallel()
	l := layout{memory: 512 << 20, disks: []string{"/store/a", "/store/b"}}
	const want = "mem=512M initrd=/uml/initramfs con=null con0=null,fd:2 ssl=null ssl0=fd:0,fd:1 " +
		"HUTCH_GUEST=/dev/ttyS0 quiet panic=-1 noreboot lpj=40000000 umid=hutch uml_dir=/tmp/uml ubd0rc=/disk/0 ubd1rc=/disk/1"
	if got := strings.Join(l.args(), " "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
