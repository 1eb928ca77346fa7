package seccomp

import (
	"path/filepath"
	"testing"
)

// typical is as large as a real policy: about 280 calls, some with conditions.
func typical() *Policy {
	mask := Value("0xffffffff")
	p := &Policy{Allow: []string{"@file", "@io", "@memory", "@process", "@signal", "@time", "@network", "@ipc", "@xattr", "@identity", "@scheduler"}}
	for _, family := range []Value{"AF_UNIX", "AF_INET", "AF_INET6"} {
		p.Rules = append(p.Rules, Rule{Calls: []string{"socket"}, Action: "allow", Args: []Arg{{0, "masked_eq", family, mask}}})
	}
	p.Rules = append(p.Rules,
		Rule{Calls: []string{"socket"}, Action: "errno", Errno: "EAFNOSUPPORT"},
		Rule{Calls: []string{"ioctl"}, Action: "errno", Args: []Arg{{1, "masked_eq", "TIOCSTI", mask}}},
	)
	return p
}

func BenchmarkCompile(b *testing.B) {
	p := typical()
	for b.Loop() {
		if _, err := Compile(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoadCached(b *testing.B) {
	p, dir := typical(), filepath.Join(b.TempDir(), "cache")
	if _, err := Load(p, dir); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Load(p, dir); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKey(b *testing.B) {
	p := typical()
	for b.Loop() {
		p.Key()
	}
}

func BenchmarkRun(b *testing.B) {
	f, err := Compile(typical())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		f.run(&Data{Nr: 1, Arch: Native()})
	}
}
