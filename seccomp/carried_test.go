package seccomp

import (
	"bytes"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// carried is hutch-seccomp, compiled for this test.
func carried(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "hutch-seccomp")
	out, err := exec.Command("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, "../cmd/hutch-seccomp/hutch-seccomp.c", "-lseccomp").CombinedOutput()
	if err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return program
}

func runCarried(t *testing.T, program string, request []byte) ([]byte, error) {
	t.Helper()
	var out, words bytes.Buffer
	cmd := exec.Command(program)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(request), &out, &words
	if err := cmd.Run(); err != nil {
		t.Logf("%s: %s", err, &words)
		return nil, err
	}
	return out.Bytes(), nil
}

// The program that hutch carries makes, byte for byte, what libseccomp-golang
// makes, for every architecture that a policy may name.
func TestCarriedCompiler(t *testing.T) {
	t.Parallel()
	program := carried(t)
	calls := []string{"read", "write", "ioctl", "socket", "clone", "listns", "mseal", "socketcall", "stat"}
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 0))
		p := randomPolicy(r, slices.Clone(calls[:7]))
		if seed%3 == 0 {
			p.Architectures = []string{"x86", "x32"}[:1+seed%2]
		}
		l, err := p.lower()
		if err != nil {
			t.Fatal(err)
		}
		for _, arch := range []Arch{ArchX86_64, ArchAArch64} {
			if arch == ArchAArch64 && len(p.Architectures) > 0 {
				continue
			}
			targets, err := p.targets(arch)
			if err != nil {
				t.Fatal(err)
			}
			var list []stage
			for _, target := range targets {
				list = append(list, l.stagesFor(target, ActionKillProcess)...)
			}
			want, err := libseccompCompiler{}.compile(list)
			if err != nil {
				t.Fatal(err)
			}
			made, err := runCarried(t, program, request(list))
			if err != nil {
				t.Fatal(err)
			}
			got, err := takeFilters(list, made)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%+v for %s: %v\n%v\nwant\n%v", p, arch, err, got, want)
			}
		}
	}
}

// What is no request is refused in words; what is no answer is an error.
func TestCarriedCompilerRefuses(t *testing.T) {
	t.Parallel()
	program := carried(t)
	for _, bad := range []string{
		"x", "stage", "stage native 1", "stage vax 327681 0 0\n", "stage native 327681 0 1\n", "stage native 327681 0 1\nrule 0 2147418112 7\n",
		"stage native 327681 0 1\nrule 0 2147418112 1\n9 1 1 1\n", "stage native 3 0 0\n", "stage native 2147418112 0 1\nrule 0 2147418112 0\n",
	} {
		if _, err := runCarried(t, program, []byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	list := []stage{{target: target{"x86_64", ArchX86_64, true}, fallback: ActionAllow, bad: ActionKillProcess}}
	good, err := runCarried(t, program, request(list))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := takeFilters(list, good); err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if _, err := takeFilters(list, good[:n]); err == nil {
			t.Errorf("%d bytes of %d were taken", n, len(good))
		}
	}
	if _, err := takeFilters(list, append(slices.Clone(good), 'x')); err == nil {
		t.Error("more than was asked for was taken")
	}
}
