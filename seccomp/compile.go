package seccomp

import (
	"fmt"
	"slices"
)

// A Compiler runs hutch-seccomp, a program of its own that libseccomp is linked
// into. Hutch itself does without a C library, whose start would be a part of
// every run's.
type Compiler interface {
	// Version names the library, and is a part of what names a cached filter.
	Version() string
	// Start starts the program. Either Run or Cancel of it has to be called.
	Start() (Compilation, error)
}

// A Compilation is the program, running.
type Compilation interface {
	// Run gives the program's standard output for what is its standard input.
	Run(request []byte) ([]byte, error)
	// Cancel ends it.
	Cancel()
}

// external compiles in a build without cgo.
//
//lint:ignore U1000 compile_external.go uses it
var external Compiler

// UseCompiler sets the compiler of a program that libseccomp is not linked into.
func UseCompiler(c Compiler) { external = c }

// Compile turns a policy into a filter for this machine. The error is a
// *FieldError where the policy is at fault.
func Compile(p *Policy) (Filter, error) { return CompileFor(p, Native()) }

// CompileFor compiles for a machine of another architecture, which only a
// generator needs: libseccomp on x86_64 also makes filters for aarch64.
func CompileFor(p *Policy, a Arch) (Filter, error) {
	c, err := startCompiler()
	if err != nil {
		return nil, err
	}
	defer c.close()
	l, err := p.lower()
	if err != nil {
		return nil, err
	}
	targets, err := p.targets(a)
	if err != nil {
		return nil, err
	}
	return l.compile(c, a, targets)
}

// A target is one architecture to compile for.
type target struct {
	name string
	arch Arch
	// tabled: the numbers come from this package, whatever libseccomp knows.
	tabled bool
}

// targets lists a first, then what the policy names besides.
func (p *Policy) targets(a Arch) ([]target, error) {
	list := []target{{a.String(), a, true}}
	for i, name := range p.Architectures {
		var t target
		switch {
		case name == a.String():
			continue
		case name == "x86" && a == ArchX86_64:
			t = target{name, archX86, false}
		case name == "x32" && a == ArchX86_64:
			t = target{name, ArchX86_64, false}
		case name == "arm" && a == ArchAArch64:
			t = target{name, archARM, false}
		default:
			return nil, &FieldError{fmt.Sprintf("architectures[%d]", i), errArchitecture(name)}
		}
		if !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	return list, nil
}
