package profiles

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	libseccomp "github.com/seccomp/libseccomp-golang"

	"hutch/seccomp"
)

func dockerDefault(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/docker/default.json")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// asRunc makes the filter that runc would ask libseccomp for, out of the rules
// for amd64 or arm64 and these capabilities. It shares no code with DecodeOCI.
func asRunc(t *testing.T, data []byte, goarch string, caps []string) seccomp.Filter {
	t.Helper()
	var in struct {
		DefaultErrnoRet int16
		Syscalls        []struct {
			Names    []string
			Action   string
			ErrnoRet int16
			Args     []struct {
				Index           uint
				Value, ValueTwo uint64
				Op              string
			}
			Includes, Excludes struct{ Caps, Arches []string }
		}
	}
	must(t, json.Unmarshal(data, &in))
	f, err := libseccomp.NewFilter(libseccomp.ActErrno.SetReturnCode(in.DefaultErrnoRet))
	must(t, err)
	defer f.Release()
	has := func(list []string) func(string) bool {
		return func(s string) bool { return slices.Contains(list, s) }
	}
	hasNot := func(list []string) func(string) bool {
		return func(s string) bool { return !slices.Contains(list, s) }
	}
	ops := map[string]libseccomp.ScmpCompareOp{
		"SCMP_CMP_EQ": libseccomp.CompareEqual, "SCMP_CMP_NE": libseccomp.CompareNotEqual,
		"SCMP_CMP_LT": libseccomp.CompareLess, "SCMP_CMP_MASKED_EQ": libseccomp.CompareMaskedEqual,
	}
	for _, r := range in.Syscalls {
		if slices.ContainsFunc(r.Excludes.Caps, has(caps)) || slices.Contains(r.Excludes.Arches, goarch) ||
			slices.ContainsFunc(r.Includes.Caps, hasNot(caps)) || len(r.Includes.Arches) > 0 && !slices.Contains(r.Includes.Arches, goarch) {
			continue
		}
		action := libseccomp.ActAllow
		if r.Action == "SCMP_ACT_ERRNO" {
			action = libseccomp.ActErrno.SetReturnCode(r.ErrnoRet)
		}
		var conditions []libseccomp.ScmpCondition
		for _, a := range r.Args {
			c, err := libseccomp.MakeCondition(a.Index, ops[a.Op], a.Value, a.ValueTwo)
			must(t, err)
			conditions = append(conditions, c)
		}
		for _, name := range r.Names {
			nr, ok := seccomp.Number(seccomp.Native(), name)
			if !ok {
				continue
			}
			if len(conditions) == 0 {
				must(t, f.AddRule(libseccomp.ScmpSyscall(nr), action))
			} else {
				must(t, f.AddRuleConditional(libseccomp.ScmpSyscall(nr), action, conditions))
			}
		}
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "bpf"))
	must(t, err)
	defer out.Close()
	must(t, f.ExportBPF(out))
	text, err := os.ReadFile(out.Name())
	must(t, err)
	return text
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestDockerDefaultIsTheSame asks both filters about every call, with many
// arguments, for three sets of capabilities; and once more after a round trip
// through TOML.
func TestDockerDefaultIsTheSame(t *testing.T) {
	t.Parallel()
	data := dockerDefault(t)
	goarch := "amd64"
	if seccomp.Native() == seccomp.ArchAArch64 {
		goarch = "arm64"
	}
	values := []uint64{0, 1, 2, 8, 11, 12, 13, 16, 38, 40, 44, 45, 46, 0x20000, 0x20008, 0x7e020000, 0x10000000, 0x2000000, 0xffffffff, 1<<32 | 40, 1 << 63}
	for _, caps := range [][]string{nil, DockerCapabilities(), append(DockerCapabilities(), "CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_TIME")} {
		p, warnings, err := DecodeOCI("default.json", data, Target{Arch: seccomp.Native(), Capabilities: caps})
		must(t, err)
		if len(warnings) > 0 || !strings.Contains(p.Description, "riscv_hwprobe") {
			t.Errorf("warnings %q, description %q", warnings, p.Description)
		}
		back, _ := encodeAndRead(t, p, Encoder{})
		want := asRunc(t, data, goarch, caps)
		got, err := seccomp.Compile(back.Seccomp)
		must(t, err)
		for nr := 0; nr <= seccomp.Last(seccomp.Native()); nr++ {
			for index := range 6 {
				for _, v := range values {
					d := seccomp.Data{Nr: int32(nr), Arch: seccomp.Native()}
					d.Args[index] = v
					if g, w := seccomp.Run(got, d), seccomp.Run(want, d); g != w {
						t.Fatalf("caps %q: %d %s, argument %d = %#x: %v, libseccomp %v", caps, nr, seccomp.Name(seccomp.Native(), nr), index, v, g, w)
					}
				}
			}
		}
	}
}

func TestDecodeOCIErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "x.json:1:1: EOF"},
		{"\x00\x01", "x.json:1:1: invalid character"},
		{"[]", "expected an object"},
		{`{"defaultAction": "SCMP_ACT_ALOW"}`, `x.json:1:19: defaultAction: unknown action "SCMP_ACT_ALOW": did you mean "SCMP_ACT_ALLOW"?`},
		{`{"defaultActoin": "SCMP_ACT_ALLOW"}`, `x.json:1:2: unknown key "defaultActoin": did you mean "defaultAction"?`},
		{"{\"defaultAction\": \"SCMP_ACT_ERRNO\",\n\"syscalls\": [{\"names\": [\"read\"], \"action\": \"x\"}]}", "x.json:2:44: syscalls[0].action: unknown action"},
		{`{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": 5}`, "syscalls: expected a list, not number"},
		{`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 0}`, "errno 0: there is no such error"},
		{`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 99999}`, "errno 99999"},
		{`{"defaultAction": "SCMP_ACT_NOTIFY"}`, "listener"},
		{`{"defaultAction": "SCMP_ACT_ERRNO"} {}`, "more text"},
		{`{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "archMap": [{}]}`, "one of them must go"},
		{`{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"name": "read", "names": ["x"], "action": "SCMP_ACT_ALLOW"}]}`, "one of them must go"},
		{`{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"name": "read", "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}]}`, "syscalls[0].args[0]: index 6"},
		{`{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"name": "read", "action": "SCMP_ACT_ALLOW", "args": [{"index": 1, "op": "=="}]}]}`, "unknown op"},
		{`{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"name": "read", "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "x"}}]}`, "expected a kernel version"},
		{strings.Repeat("[", 100000), "x.json"},
		{strings.Repeat(" ", maxInput+1), "more than 1 MiB"},
	} {
		_, _, err := DecodeOCI("x.json", []byte(c.text), Target{Arch: seccomp.Native()})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80q:\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestDecodeOCIMeaning(t *testing.T) {
	data := `{"defaultAction": "SCMP_ACT_LOG", "syscalls": [
	{"names": ["mount", "nosuchcall"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
	{"names": ["reboot"], "action": "SCMP_ACT_KILL"},
	{"names": ["swapon"], "action": "SCMP_ACT_TRACE"},
	{"names": ["swapoff"], "action": "SCMP_ACT_ERRNO", "errno": "EACCES"},
	{"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": [
		{"index": 1, "value": 5, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 255, "valueTwo": 263, "op": "SCMP_CMP_MASKED_EQ"}]},
	{"names": ["acct"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "7.1"}},
	{"names": ["bpf"], "action": "SCMP_ACT_ERRNO", "excludes": {"minKernel": "4.8"}},
	{"names": ["chroot"], "action": "SCMP_ACT_ALLOW"},
	{"names": ["chroot"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}`
	p, warnings, err := DecodeOCI("x.json", []byte(data), Target{Arch: seccomp.Native(), Kernel: "6.18.5-x"})
	must(t, err)
	if got := strings.Join(warnings, "\n"); !strings.Contains(got, "nosuchcall") || !strings.Contains(got, "SCMP_ACT_KILL kills") || !strings.Contains(got, "chroot") {
		t.Errorf("warnings:\n%s", got)
	}
	f, err := seccomp.Compile(p.Seccomp)
	must(t, err)
	for _, c := range []struct {
		call string
		arg  uint64
		want string
	}{
		{"read", 0, "log"},
		{"mount", 0, "errno ENOSYS"},
		{"reboot", 0, "kill"},
		{"swapon", 0, "errno ENOSYS"},
		{"swapoff", 0, "errno EACCES"},
		{"ioctl", 5, "errno EPERM"},
		{"ioctl", 0x107, "errno EPERM"},
		{"ioctl", 8, "log"},
		{"acct", 0, "log"},
		{"bpf", 0, "log"},
		{"chroot", 0, "allow"},
	} {
		nr, _ := seccomp.Number(seccomp.Native(), c.call)
		got := seccomp.Run(f, seccomp.Data{Nr: int32(nr), Arch: seccomp.Native(), Args: [6]uint64{0, c.arg}})
		if got.String() != c.want {
			t.Errorf("%s %#x: %v, want %s", c.call, c.arg, got, c.want)
		}
	}
}

func FuzzDecodeOCI(f *testing.F) {
	f.Add(dockerDefault(f))
	f.Add([]byte(`{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"name": "read", "action": "SCMP_ACT_ALLOW", "args": [{"index": 1, "value": 18446744073709551615, "op": "SCMP_CMP_MASKED_EQ"}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, _, err := DecodeOCI("x.json", data, Target{Arch: seccomp.Native()})
		if err != nil {
			return
		}
		back, text := encodeAndRead(t, p, Encoder{})
		if a, b := fmt.Sprint(back.Seccomp.Digest()), fmt.Sprint(p.Seccomp.Digest()); a != b {
			t.Errorf("another policy after writing and reading:\n%s", text)
		}
	})
}
