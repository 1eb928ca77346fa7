package seccomp

import (
	"slices"
	"testing"
)

// A filter that listens allows what the filter allows, kills for what it kills
// for, and notifies of the rest, of what is watched too.
func TestListenAnswersTheSame(t *testing.T) {
	f, err := Compile(&Policy{Allow: []string{"@file", "@io"}, Rules: []Rule{
		{Calls: []string{"reboot"}, Action: "kill"},
		{Calls: []string{"socket"}, Action: "allow", Args: []Arg{{Index: 0, Op: "eq", Value: "AF_UNIX"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	token := Token{1, 2, 3, 0xdeadbeef}
	openat, _ := Number(Native(), "openat")
	reboot, _ := Number(Native(), "reboot")
	sendmsg, _ := Number(Native(), "sendmsg")
	l, err := f.Listen(token, []int{openat, reboot, sendmsg})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[Action]int{}
	for _, arch := range []Arch{ArchX86_64, ArchAArch64, archX86, 7} {
		for nr := int32(-2); nr < 700; nr++ {
			for _, arg := range []uint64{0, 1, 2} {
				d := Data{Nr: nr, Arch: arch, Args: [6]uint64{arg}}
				want, got := Run(f, d), Run(l, d)
				if want.Kind() == ActionErrno || arch == Native() && (int(nr) == openat || int(nr) == sendmsg) {
					want = ActionNotify
				}
				if want != got {
					t.Fatalf("call %d of %v with %d: %v, want %v", nr, arch, arg, got, want)
				}
				seen[got.Kind()]++
			}
		}
	}
	if seen[ActionAllow] == 0 || seen[ActionNotify] == 0 || seen[ActionKillProcess] == 0 {
		t.Errorf("only %v were seen", seen)
	}
	key := Data{Nr: int32(sendmsg), Arch: Native(), Args: [6]uint64{3, 4, 0, 1 | 2<<32, 3 | 0xdeadbeef<<32}}
	if got := Run(l, key); got != ActionAllow {
		t.Errorf("with the token: %v", got)
	}
	for i := range 128 {
		d := key
		d.Args[3+i/64] ^= 1 << (i % 64)
		if got := Run(l, d); got != ActionNotify {
			t.Errorf("bit %d of the token does not matter: %v", i, got)
		}
	}
}

func TestExplainWords(t *testing.T) {
	mem := func(address uint64, n int) []byte {
		switch address {
		case 1:
			return []byte("/etc/pass\x1bwd\x00rest")
		case 2:
			return []byte{2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}[:min(n, 16)]
		}
		return nil
	}
	for _, tt := range []struct {
		name string
		args [6]uint64
		want []string
	}{
		{"openat", [6]uint64{0xffffff9c, 1, 0o102, 0o644}, []string{"AT_FDCWD", `"/etc/pass\x1bwd"`, "O_RDWR|O_CREAT", "0644"}},
		{"connect", [6]uint64{3, 2, 16}, []string{"3", "127.0.0.1:80"}},
		{"connect", [6]uint64{3, 9, 16}, []string{"3"}},
		{"mount", [6]uint64{0, 9, 1, 0x1000}, []string{"NULL", "0x9", `"/etc/pass\x1bwd"`, "MS_BIND"}},
		{"socket", [6]uint64{38, 5 | 0x80000}, []string{"AF_ALG", "SOCK_SEQPACKET", "0"}},
		{"reboot", [6]uint64{1}, nil},
	} {
		if got := Explain(tt.name, tt.args, mem); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What Allowance writes allows the call that it was made of, and no other
// family.
func TestAllowanceAllows(t *testing.T) {
	base := &Policy{Allow: []string{"@io"}}
	for _, name := range Names(Native()) {
		if !known(name) {
			continue
		}
		nr, _ := Number(Native(), name)
		for _, arg := range []uint64{0, 1, 16, 0x10000000, 0x5412} {
			d := Data{Nr: int32(nr), Arch: Native(), Args: [6]uint64{arg, arg}}
			p := base.Clone()
			p.Rules = append(p.Rules, Allowance(name, d.Args))
			f, err := Compile(p)
			if err != nil {
				t.Fatalf("%s: %v", p.Rules[0].Line(), err)
			}
			if got := Run(f, d); got != ActionAllow {
				t.Errorf("%s does not allow it: %v", p.Rules[0].Line(), got)
			}
			if len(p.Rules[0].Args) == 0 {
				break
			}
		}
	}
}

func FuzzAddress(f *testing.F) {
	f.Add([]byte{2, 0, 0, 80, 127, 0, 0, 1})
	f.Add([]byte{1, 0, 0, 'x'})
	f.Fuzz(func(_ *testing.T, b []byte) { Address(b) })
}

func TestFold(t *testing.T) {
	got := Fold([]string{"/usr/lib/a", "/usr/lib/b", "/usr/lib/c", "/usr/lib/x/d", "/etc/passwd", "/usr/lib/../bin/z"}, 2)
	if want := []string{"/etc/passwd", "/usr/bin/z", "/usr/lib"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
