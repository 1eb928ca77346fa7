package seccomp

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestGroupsHoldEveryCallOnce(t *testing.T) {
	where := map[string]string{}
	for _, name := range Groups() {
		calls := Group(name)
		if !slices.IsSorted(calls) {
			t.Errorf("%s is not sorted", name)
		}
		for _, c := range calls {
			if other, twice := where[c]; twice {
				t.Errorf("%s is in %s and %s", c, other, name)
			}
			where[c] = name
		}
	}
	if !slices.IsSorted(Groups()) {
		t.Error("groups are not sorted")
	}
	for _, a := range []Arch{ArchX86_64, ArchAArch64} {
		for _, c := range Names(a) {
			if where[c] == "" {
				t.Errorf("%s: %s is in no group", a, c)
			}
			delete(where, c+"\x00")
		}
	}
	for c, group := range where {
		if !known(c) {
			t.Errorf("%s: %s is no system call", group, c)
		}
	}
}

// A filter that was cached with other tables is not used.
func TestGroupsDigest(t *testing.T) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%v %v %v", groups, variants, constants))
	if got := hex.EncodeToString(sum[:8]); got != groupsDigest {
		t.Errorf("the tables have changed: set groupsDigest to %q and run go generate in profiles", got)
	}
}

func TestTablesAreSorted(t *testing.T) {
	if names := ConstantNames(); !slices.IsSorted(names) {
		t.Error("constants are not sorted")
	}
	for _, a := range []Arch{ArchX86_64, ArchAArch64} {
		for i := 1; i < len(table(a)); i++ {
			if table(a)[i-1].nr >= table(a)[i].nr {
				t.Errorf("%s: %v before %v", a, table(a)[i-1], table(a)[i])
			}
		}
	}
	for i := 1; i < len(variants); i++ {
		if variants[i-1].name >= variants[i].name {
			t.Errorf("variants: %s before %s", variants[i-1].name, variants[i].name)
		}
	}
}

func TestLookup(t *testing.T) {
	tests := []struct {
		arch Arch
		nr   int
		name string
	}{
		{ArchX86_64, 0, "read"},
		{ArchX86_64, 435, "clone3"},
		{ArchX86_64, 463, "setxattrat"}, // unknown to libseccomp 2.5.4
		{ArchX86_64, 1000, ""},
		{ArchX86_64, -1, ""},
		{ArchX86_64, 400, ""}, // a hole
		{ArchAArch64, 63, "read"},
		{ArchAArch64, 79, "newfstatat"},
		{ArchAArch64, 244, ""}, // arch_specific_syscall is no call
	}
	for _, test := range tests {
		if got := Name(test.arch, test.nr); got != test.name {
			t.Errorf("Name(%s, %d) = %q, want %q", test.arch, test.nr, got, test.name)
		}
		if test.name == "" {
			continue
		}
		if nr, ok := Number(test.arch, test.name); !ok || nr != test.nr {
			t.Errorf("Number(%s, %s) = %d, %v, want %d", test.arch, test.name, nr, ok, test.nr)
		}
	}
	if nr, ok := Number(ArchAArch64, "open"); ok {
		t.Errorf("aarch64 has open as %d", nr)
	}
}

func TestNearest(t *testing.T) {
	for _, test := range []struct{ word, want string }{
		{"opneat", "openat"},
		{"sokcet", "socket"},
		{"@netwrok", ""},
		{"xyzzy_plugh", ""},
		{strings.Repeat("a", 1<<20), ""},
	} {
		if got := Nearest(test.word, Names(ArchX86_64)); got != test.want {
			t.Errorf("Nearest(%.20q) = %q, want %q", test.word, got, test.want)
		}
	}
}

func TestCheckNamesTheField(t *testing.T) {
	arg := func(a Arg) *Policy {
		return &Policy{Rules: []Rule{{Calls: []string{"socket"}, Action: "allow", Args: []Arg{a}}}}
	}
	tests := []struct {
		policy     *Policy
		path, text string
	}{
		{&Policy{Default: "alow"}, "default", `did you mean "allow"?`},
		{&Policy{Default: "notify"}, "default", "name the calls"},
		{&Policy{Errno: "EPRM"}, "errno", `did you mean "EPERM"?`},
		{&Policy{Newer: "enosis"}, "newer", `did you mean "enosys"?`},
		{&Policy{Architectures: []string{"x68"}}, "architectures[0]", `did you mean "x86"?`},
		{&Policy{Allow: []string{"read", "opneat"}}, "allow[1]", `did you mean "openat"?`},
		{&Policy{Deny: []string{"@flie"}}, "deny[0]", `did you mean "@file"?`},
		{&Policy{Rules: []Rule{{Action: "allow"}}}, "rules[0].calls", "must name"},
		{&Policy{Rules: []Rule{{Calls: []string{"read"}, Action: "kil"}}}, "rules[0].action", `did you mean "kill"?`},
		{&Policy{Rules: []Rule{{Calls: []string{"read"}, Action: "allow", Errno: "EPERM"}}}, "rules[0].errno", "not with"},
		{arg(Arg{6, "eq", "1", ""}), "rules[0].args[0].index", "0 to 5"},
		{arg(Arg{-1, "eq", "1", ""}), "rules[0].args[0].index", "0 to 5"},
		{arg(Arg{0, "equal", "1", ""}), "rules[0].args[0].op", "unknown comparison"},
		{arg(Arg{0, "eq", "AF_INET7", ""}), "rules[0].args[0].value", `did you mean "AF_INET`},
		{arg(Arg{0, "eq", "", ""}), "rules[0].args[0].value", "expected a number"},
		{arg(Arg{0, "eq", "1", "1"}), "rules[0].args[0].mask", "not with"},
		{arg(Arg{0, "masked_eq", "2", "1"}), "rules[0].args[0].value", "nothing would match"},
		{&Policy{Rules: []Rule{{Calls: []string{"read"}, Action: "allow", Args: []Arg{{0, "ge", "1", ""}, {0, "le", "3", ""}}}}}, "rules[0].args[1].index", "twice"},
	}
	for _, test := range tests {
		err := test.policy.Check()
		var field *FieldError
		if !errors.As(err, &field) || field.Path != test.path || !strings.Contains(err.Error(), test.text) {
			t.Errorf("got %v, want %s: … %s", err, test.path, test.text)
		}
		if _, err := Compile(test.policy); err == nil {
			t.Errorf("%s: compiles", test.path)
		}
	}
}

// eval answers as the comment on Policy says, without stages or BPF.
func eval(t *testing.T, p *Policy, d Data) Action {
	t.Helper()
	l, err := p.lower()
	if err != nil {
		t.Fatal(err)
	}
	if d.Arch != Native() || d.Nr>>30 == 1 || d.Nr < -1 {
		return ActionKillProcess
	}
	if int(d.Nr) > Last(d.Arch) {
		return l.newer
	}
	errno, _ := parseErrno(p.Errno, 1)
	clauses, err := p.clauses(errno)
	if err != nil {
		t.Fatal(err)
	}
	best := clause{rank: 1 << 30, action: l.fallback}
	for _, c := range clauses {
		if nr, ok := Number(d.Arch, c.name); !ok || nr != int(d.Nr) || !holds(c.conditions, d) {
			continue
		}
		if c.rank < best.rank || c.rank == best.rank && before(c, best) {
			best = c
		}
	}
	return best.action
}

func before(a, b clause) bool {
	if a.plain != b.plain {
		return b.plain
	}
	if a.strictness != b.strictness {
		return a.strictness < b.strictness
	}
	return a.sequence < b.sequence
}

func holds(conditions []condition, d Data) bool {
	for _, c := range conditions {
		v := d.Args[c.index]
		ok := map[string]bool{
			"eq": v == c.value, "ne": v != c.value, "lt": v < c.value, "le": v <= c.value,
			"gt": v > c.value, "ge": v >= c.value, "masked_eq": v&c.mask == c.value,
		}[c.op]
		if !ok {
			return false
		}
	}
	return true
}

var interesting = []Value{"0", "1", "2", "3", "0xffffffff", "0x100000000", "0x100000001", "0xffffffffffffffff", "0x8000000000000000"}

func randomPolicy(r *rand.Rand, calls []string) *Policy {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	p := &Policy{
		Default: pick("", "errno", "kill", "allow", "log"),
		Errno:   pick("", "EACCES"),
		Newer:   pick("", "default", "enosys"),
	}
	for range r.IntN(12) {
		rule := Rule{Action: pick("allow", "allow", "errno", "kill", "log", "notify"), Rank: r.IntN(3)}
		if rule.Action == "errno" {
			rule.Errno = pick("", "ENOSYS", "EINVAL")
		}
		for range 1 + r.IntN(2) {
			rule.Calls = append(rule.Calls, calls[r.IntN(len(calls))])
		}
		for _, index := range r.Perm(3)[:r.IntN(3)] {
			a := Arg{Index: index, Op: pick("eq", "ne", "lt", "le", "gt", "ge", "masked_eq"), Value: interesting[r.IntN(len(interesting))]}
			if a.Op == "masked_eq" {
				a.Mask, a.Value = interesting[r.IntN(len(interesting))], "0"
				if r.IntN(2) == 0 {
					a.Value = a.Mask
				}
			}
			rule.Args = append(rule.Args, a)
		}
		p.Rules = append(p.Rules, rule)
	}
	return p
}

// The compiled filter means what the words of the policy mean, whatever the
// conditions and however they overlap.
func TestCompileAgreesWithTheWords(t *testing.T) {
	for seed := range uint64(1500) {
		compareRandom(t, seed)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(compareRandom)
}

// compareRandom compiles a random policy and asks filter and policy about
// random calls.
func compareRandom(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	calls := []string{"read", "write", "ioctl", "socket", "clone", "listns", "mseal"}
	p := randomPolicy(r, calls)
	f, err := Compile(p)
	if err != nil {
		t.Fatalf("%+v: %v", p, err)
	}
	for range 150 {
		d := randomData(t, r, calls)
		if got, want := Run(f, d), eval(t, p, d); got != want {
			var b bytes.Buffer
			_ = Disassemble(&b, f)
			t.Fatalf("%+v\n%+v\nfilter: %s, policy: %s\n%s", p, d, got, want, &b)
		}
	}
}

func randomData(t *testing.T, r *rand.Rand, calls []string) Data {
	d := Data{Arch: Native()}
	nr, _ := Number(d.Arch, calls[r.IntN(len(calls))])
	d.Nr = int32(nr)
	if r.IntN(8) == 0 {
		d.Nr = int32(r.Uint32())
	}
	if r.IntN(30) == 0 {
		d.Arch = archX86
	}
	for i := range 3 {
		v, err := interesting[r.IntN(len(interesting))].number()
		if err != nil {
			t.Fatal(err)
		}
		d.Args[i] = v
	}
	return d
}

func TestPrecedence(t *testing.T) {
	stdin := []Arg{{0, "eq", "0", ""}}
	tests := []struct {
		name string
		p    Policy
		want Action // of write(0)
	}{
		{"default", Policy{}, actionErrno(1)},
		{"allow", Policy{Allow: []string{"write"}}, ActionAllow},
		{"deny beats allow", Policy{Allow: []string{"write"}, Deny: []string{"write"}, Errno: "EIO"}, actionErrno(5)},
		{"condition beats none", Policy{Deny: []string{"write"}, Rules: []Rule{{Calls: []string{"write"}, Action: "allow", Args: stdin}}}, ActionAllow},
		{"condition that fails", Policy{Allow: []string{"write"}, Rules: []Rule{{Calls: []string{"write"}, Action: "kill", Args: []Arg{{0, "eq", "1", ""}}}}}, ActionAllow},
		{"nearer beats farther", Policy{Allow: []string{"write"}, Rules: []Rule{{Calls: []string{"write"}, Action: "kill", Args: stdin, Rank: 1}}}, ActionAllow},
		{"but not by its group", Policy{Allow: []string{"@io"}, Rules: []Rule{{Calls: []string{"write"}, Action: "kill", Args: stdin, Rank: 1}}}, ActionKillProcess},
		{"a nearer group beats a farther one", Policy{Allow: []string{"@io"}, Rules: []Rule{{Calls: []string{"@io"}, Action: "kill", Rank: 1}}}, ActionAllow},
		{"a nearer group denies", Policy{Deny: []string{"@io"}, Rules: []Rule{{Calls: []string{"write"}, Action: "allow", Args: stdin, Rank: 1}}}, actionErrno(1)},
	}
	nr, _ := Number(Native(), "write")
	for _, test := range tests {
		f, err := Compile(&test.p)
		if err != nil {
			t.Fatal(err)
		}
		if got := Run(f, Data{Nr: int32(nr), Arch: Native()}); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestOtherArchitectures(t *testing.T) {
	if Native() != ArchX86_64 {
		t.Skip("the architectures beside x86_64 are tested there")
	}
	const x32 = 0x40000000
	tests := []struct {
		architectures []string
		x86, x32      Action // of getpid
	}{
		{nil, ActionKillProcess, ActionKillProcess},
		{[]string{"x86"}, ActionAllow, ActionKillProcess},
		{[]string{"x32"}, ActionKillProcess, ActionAllow},
		{[]string{"x86_64", "x86", "x32", "x86"}, ActionAllow, ActionAllow},
	}
	for _, test := range tests {
		f, err := Compile(&Policy{Architectures: test.architectures, Allow: []string{"getpid", "mmap"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			what string
			d    Data
			want Action
		}{
			{"x86_64 getpid", Data{Nr: 39, Arch: ArchX86_64}, ActionAllow},
			{"x86_64 newer", Data{Nr: 5000, Arch: ArchX86_64}, actionErrno(38)},
			{"x86 getpid", Data{Nr: 20, Arch: archX86}, test.x86},
			{"x86 mmap2", Data{Nr: 192, Arch: archX86}, test.x86},
			{"x32 getpid", Data{Nr: 39 | x32, Arch: ArchX86_64}, test.x32},
			{"aarch64 getpid", Data{Nr: 172, Arch: ArchAArch64}, ActionKillProcess},
		} {
			if got := Run(f, c.d); got != c.want {
				t.Errorf("%v: %s: %s, want %s", test.architectures, c.what, got, c.want)
			}
		}
	}
	if _, err := Compile(&Policy{Architectures: []string{"arm"}}); err == nil {
		t.Error("arm compiles on x86_64")
	}
}

func TestKeyTellsPoliciesApart(t *testing.T) {
	policies := []*Policy{
		{},
		{Default: "kill"},
		{Errno: "EIO"},
		{Newer: "default"},
		{Architectures: []string{"x86"}},
		{Allow: []string{"read"}},
		{Deny: []string{"read"}},
		{Allow: []string{"read", "write"}},
		{Allow: []string{"readwrite"}},
		{Rules: []Rule{{Calls: []string{"read"}, Action: "allow"}}},
		{Rules: []Rule{{Calls: []string{"read"}, Action: "allow", Rank: 1}}},
		{Rules: []Rule{{Calls: []string{"read"}, Action: "allow", Args: []Arg{{0, "eq", "1", ""}}}}},
		{Rules: []Rule{{Calls: []string{"read"}, Action: "allow", Args: []Arg{{0, "eq", "2", ""}}}}},
		{Rules: []Rule{{Calls: []string{"read"}, Action: "errno", Errno: "EIO"}}},
	}
	seen := map[Key]int{}
	for i, p := range policies {
		if j, twice := seen[p.Key()]; twice {
			t.Errorf("%+v and %+v have the same key", p, policies[j])
		}
		seen[p.Key()] = i
		if p.Key() == p.Digest() {
			t.Errorf("%+v: the key does not hold the machine", p)
		}
		if p.Clone().Key() != p.Key() {
			t.Errorf("%+v: a copy has another key", p)
		}
	}
	with := &Policy{Rules: []Rule{{Calls: []string{"read"}, Action: "allow", Reason: "why not"}}}
	if with.Key() != policies[9].Key() {
		t.Error("a reason changes the key")
	}
}

func FuzzRun(f *testing.F) {
	compiled, err := Compile(&Policy{Allow: []string{"@io"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(compiled), int32(0), uint64(0))
	f.Add([]byte{6, 0, 0, 0, 0, 0, 0xff, 0x7f}, int32(1), uint64(1))
	f.Fuzz(func(t *testing.T, text []byte, nr int32, arg uint64) {
		filter := Filter(text)
		got := Run(filter, Data{Nr: nr, Arch: Native(), Args: [6]uint64{arg, arg, arg, arg, arg, arg}})
		var b bytes.Buffer
		err := Disassemble(&b, filter)
		if (err == nil) != (filter.Check() == nil) {
			t.Errorf("Disassemble: %v, Check: %v", err, filter.Check())
		}
		if err != nil && got != ActionKillProcess {
			t.Errorf("a filter that is none answers %s", got)
		}
	})
}

func FuzzUnseal(f *testing.F) {
	filter, err := Compile(&Policy{})
	if err != nil {
		f.Fatal(err)
	}
	key := (&Policy{}).Key()
	f.Add(append(key.seal(filter), filter...))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := filters().open(key, data)
		if err == nil && !bytes.Equal(got, filter) {
			t.Error("what was never stored was taken")
		}
	})
}
