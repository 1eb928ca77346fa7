package profiles

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"hutch/seccomp"
)

// A family is a profile that extends another file, which extends a third and a
// built-in one, with a cache of their own.
type family struct{ dir, near, far, third, cache string }

func newFamily(t *testing.T) family {
	t.Helper()
	dir := t.TempDir()
	f := family{
		dir: dir, near: filepath.Join(dir, "near.toml"), far: filepath.Join(dir, "far.toml"),
		third: filepath.Join(dir, "third.toml"), cache: filepath.Join(dir, "cache"),
	}
	writeFile(t, f.near, "version = 1\nextends = [\"./far.toml\"]\n[limits]\npids = 7\n[seccomp]\nallow = [\"kcmp\"]\ndeny = [\"no_such_call\"]\n")
	writeFile(t, f.far, "version = 1\nextends = [\"default\", \"./third.toml\"]\n[limits]\nmemory = \"1M\"\n")
	writeFile(t, f.third, "version = 1\n[process.env]\nA = \"b\"\n[capabilities]\nkeep = []\n")
	return f
}

func (f family) ready(t *testing.T) (*Profile, seccomp.Filter) {
	t.Helper()
	p, filter, err := Ready(f.near, f.cache)
	if err != nil {
		t.Fatal(err)
	}
	return p, filter
}

// fresh is what there would be without a cache.
func (f family) fresh(t *testing.T) (*Profile, seccomp.Filter) {
	t.Helper()
	p, err := Load(f.near)
	if err != nil {
		t.Fatal(err)
	}
	filter, err := p.Filter("")
	if err != nil {
		t.Fatal(err)
	}
	p.Description, p.Extends, p.Seccomp = "", nil, nil
	return p, filter
}

func (f family) check(t *testing.T) {
	t.Helper()
	want, wantFilter := f.fresh(t)
	for _, use := range []string{"first", "second"} {
		got, filter := f.ready(t)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s use: %s\nwant %s", use, dump(got), dump(want))
		}
		if !bytes.Equal(filter, wantFilter) {
			t.Errorf("%s use: another filter", use)
		}
	}
}

// plant puts another profile into the cache, so that its use can be seen.
func (f family) plant(t *testing.T) (file string) {
	t.Helper()
	f.ready(t)
	key, err := readyKey(f.near)
	must(t, err)
	cache, err := seccomp.OpenCache(f.cache)
	must(t, err)
	defer cache.Close()
	e, err := loadEntry(cache, key)
	must(t, err)
	e.profile.Limits.Processes = 4711
	must(t, cache.Put(ready(), key, e.bytes()))
	list, err := filepath.Glob(f.cache + "/*.profile")
	if err != nil || len(list) != 1 {
		t.Fatalf("the cache holds %v, %v", list, err)
	}
	return list[0]
}

func TestReadyIsWhatLoadIs(t *testing.T) { newFamily(t).check(t) }

func TestReadyUsesTheCache(t *testing.T) {
	f := newFamily(t)
	f.plant(t)
	if p, _ := f.ready(t); p.Limits.Processes != 4711 {
		t.Errorf("pids = %d: the cache was not used", p.Limits.Processes)
	}
}

// Whichever file changes, nothing of before is used.
func TestReadySeesEveryChange(t *testing.T) {
	for _, name := range []string{"near", "far", "third"} {
		t.Run(name, func(t *testing.T) {
			f := newFamily(t)
			f.plant(t)
			path := filepath.Join(f.dir, name+".toml")
			data, err := os.ReadFile(path)
			must(t, err)
			writeFile(t, path, string(data)+"[network]\nmode = \"host\"\n")
			if p, _ := f.ready(t); p.Limits.Processes != 7 || p.Network.Mode != "host" {
				t.Errorf("pids %d, network %q", p.Limits.Processes, p.Network.Mode)
			}
			f.check(t)
		})
	}
}

// A file that becomes bad, goes away or leads outside is an error as ever, with
// its place, although all was well before.
func TestReadyTellsMistakes(t *testing.T) {
	tests := map[string]struct {
		spoil func(t *testing.T, f family)
		want  string
	}{
		"mistake":    {func(t *testing.T, f family) { writeFile(t, f.third, "version = 1\n[limits]\npds = 3\n") }, "third.toml:3:1: unknown key"},
		"gone":       {func(t *testing.T, f family) { must(t, os.Remove(f.far)) }, "far.toml"},
		"first gone": {func(t *testing.T, f family) { must(t, os.Remove(f.near)) }, "near.toml"},
		"same bytes from outside": {func(t *testing.T, f family) {
			outside := filepath.Join(t.TempDir(), "far.toml")
			must(t, os.Rename(f.far, outside))
			must(t, os.Symlink(outside, f.far))
		}, "lies outside"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFamily(t)
			f.check(t)
			test.spoil(t, f)
			if _, _, err := Ready(f.near, f.cache); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}

// What is not exactly what Ready stored is not used; see also the tests of the
// filters' cache.
func TestReadyDistrustsTheCache(t *testing.T) {
	tests := map[string]func(t *testing.T, f family, file string){
		"a bit flipped": func(t *testing.T, _ family, file string) {
			data, err := os.ReadFile(file)
			must(t, err)
			data[len(data)-1] ^= 1
			writeFile(t, file, string(data))
		},
		"cut short":        func(t *testing.T, _ family, file string) { must(t, os.Truncate(file, 100)) },
		"empty":            func(t *testing.T, _ family, file string) { must(t, os.Truncate(file, 0)) },
		"writable by all":  func(t *testing.T, _ family, file string) { must(t, os.Chmod(file, 0o666)) },
		"the directory is": func(t *testing.T, f family, _ string) { must(t, os.Chmod(f.cache, 0o777)) },
		"another profile's": func(t *testing.T, f family, file string) {
			_, _, err := Ready(f.far, f.cache)
			must(t, err)
			list, err := filepath.Glob(f.cache + "/*.profile")
			if err != nil || len(list) != 2 {
				t.Fatal(list, err)
			}
			for _, other := range list {
				if other != file {
					must(t, os.Rename(other, file))
				}
			}
		},
		"symlink": func(t *testing.T, _ family, file string) {
			must(t, os.Rename(file, file+".other"))
			must(t, os.Symlink(file+".other", file))
		},
	}
	if os.Geteuid() == 0 {
		tests["another's file"] = func(t *testing.T, _ family, file string) { must(t, os.Chown(file, 65534, -1)) }
		tests["another's directory"] = func(t *testing.T, f family, _ string) { must(t, os.Chown(f.cache, 65534, -1)) }
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFamily(t)
			spoil(t, f, f.plant(t))
			if p, _ := f.ready(t); p.Limits.Processes != 7 {
				t.Errorf("pids = %d: the cache's bytes were used", p.Limits.Processes)
			}
		})
	}
}

func TestReadyWithoutACache(t *testing.T) {
	f := newFamily(t)
	for _, dir := range []string{"", f.near, "/proc/none/of/these"} {
		f.cache = dir
		f.check(t)
	}
	if p, filter, err := Ready("strict", ""); err != nil || p.Name != "strict" || len(filter) == 0 {
		t.Errorf("built-in: %v, %v", p, err)
	}
}

// Every key that a run needs comes back, said or not said.
func TestReadyKeepsEveryKey(t *testing.T) {
	for _, p := range []*Profile{{}, full(t)} {
		p.Description, p.Extends, p.Seccomp = "", nil, nil
		e := entry{sources: []source{{"a", "b", [32]byte{1}}}, profile: p}
		got, err := readEntry(e.bytes())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("%s\nwant %s", dump(got.profile), dump(p))
		}
	}
}

// full returns a profile in which every field says something.
func full(t *testing.T) *Profile {
	p := &Profile{}
	fill(t, reflect.ValueOf(p).Elem())
	return p
}

func fill(t *testing.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("word")
	case reflect.Int, reflect.Int64:
		v.SetInt(42)
	case reflect.Uint16:
		v.SetUint(443)
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(1))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"a": "b", "c": ""}))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	default:
		t.Fatalf("%s: no value for it", v.Type())
	}
}

func FuzzReadEntry(f *testing.F) {
	yes := true
	p := &Profile{Process: Process{Env: map[string]string{"A": "b"}, Init: &yes}, Filesystem: Filesystem{Hidden: []string{"/x"}}}
	e := entry{sources: []source{{path: "a"}}, profile: p}
	f.Add(e.bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := readEntry(data)
		if err != nil {
			return
		}
		again, err := readEntry(e.bytes())
		if err != nil && !errors.Is(err, errEntry) {
			t.Fatal(err)
		}
		if err != nil || !bytes.Equal(again.bytes(), e.bytes()) {
			t.Errorf("written and read again it is another: %v", err)
		}
	})
}
