//go:build cgo

package seccomp

import (
	"fmt"
	"math"
	"os"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// optimize is SCMP_FLTATR_CTL_OPTIMIZE: 2 sorts the numbers into a binary tree.
const optimize = 2

// compilerVersion is part of the key of a cached filter.
func compilerVersion() string {
	major, minor, micro := libseccomp.GetLibraryVersion()
	return fmt.Sprintf("libseccomp %d.%d.%d", major, minor, micro)
}

// A libseccompCompiler makes the filters here.
type libseccompCompiler struct{}

func startCompiler() (c libseccompCompiler, err error) { return c, nil }

func (libseccompCompiler) close() {}

func (libseccompCompiler) compile(list []stage) (texts [][]instruction, err error) {
	for i := range list {
		f, err := compileStage(&list[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", list[i].name, err)
		}
		text, err := list[i].finish(f)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, nil
}

// compileStage makes one filter of libseccomp's.
//
// libseccomp passes the numbers of its native architecture through, so those
// that it has no name for work too. The numbers of another architecture it
// translates by name, and would refuse such; therefore a tabled target is
// always compiled as the native one, and the constant that is compared with
// the architecture changed afterwards. x86_64 and aarch64 are alike in all else
// that matters here: 64 bits, little-endian, no call that stands for many.
func compileStage(s *stage) (Filter, error) {
	f, err := libseccomp.NewFilter(libseccompAction(s.fallback))
	if err != nil {
		return nil, err
	}
	defer f.Release()
	if err := setUp(f, s.target, s.bad); err != nil {
		return nil, err
	}
	for _, r := range s.rules {
		if err := addRule(f, s.target, r); err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return export(f)
}

func setUp(f *libseccomp.ScmpFilter, t target, bad Action) error {
	if err := f.SetOptimize(optimize); err != nil {
		return err
	}
	if err := f.SetBadArchAction(libseccompAction(bad)); err != nil {
		return err
	}
	if t.tabled {
		return nil
	}
	arch, err := libseccomp.GetArchFromString(t.name)
	if err != nil {
		return err
	}
	if err := f.AddArch(arch); err != nil {
		return err
	}
	return f.RemoveArch(libseccomp.ArchNative)
}

// addRule adds a rule for each alternative, or one without condition.
func addRule(f *libseccomp.ScmpFilter, t target, r stageRule) error {
	nr, ok := numberIn(t, r.name)
	if !ok {
		return nil // the target has no such call
	}
	action := libseccompAction(r.action)
	if r.always() {
		return f.AddRule(nr, action)
	}
	for _, alternative := range r.alternatives {
		conditions := make([]libseccomp.ScmpCondition, len(alternative))
		for i, c := range alternative {
			var err error
			if conditions[i], err = libseccompCondition(c); err != nil {
				return err
			}
		}
		if err := f.AddRuleConditional(nr, action, conditions); err != nil {
			return err
		}
	}
	return nil
}

func numberIn(t target, name string) (libseccomp.ScmpSyscall, bool) {
	if t.tabled {
		nr, ok := Number(t.arch, name)
		return libseccomp.ScmpSyscall(nr), ok
	}
	nr, err := libseccomp.GetSyscallFromName(name)
	return nr, err == nil
}

func libseccompCondition(c condition) (libseccomp.ScmpCondition, error) {
	switch c.op {
	case "eq":
		return libseccomp.MakeCondition(c.index, libseccomp.CompareEqual, c.value)
	case "ne":
		return libseccomp.MakeCondition(c.index, libseccomp.CompareNotEqual, c.value)
	case "lt":
		return libseccomp.MakeCondition(c.index, libseccomp.CompareLess, c.value)
	case "le":
		return libseccomp.MakeCondition(c.index, libseccomp.CompareLessOrEqual, c.value)
	case "gt":
		return libseccomp.MakeCondition(c.index, libseccomp.CompareGreater, c.value)
	case "ge":
		return libseccomp.MakeCondition(c.index, libseccomp.CompareGreaterEqual, c.value)
	}
	return libseccomp.MakeCondition(c.index, libseccomp.CompareMaskedEqual, c.mask, c.value)
}

func libseccompAction(a Action) libseccomp.ScmpAction {
	data := int16(a & math.MaxInt16)
	switch a.Kind() {
	case ActionAllow:
		return libseccomp.ActAllow
	case ActionErrno:
		return libseccomp.ActErrno.SetReturnCode(data)
	case ActionLog:
		return libseccomp.ActLog
	case ActionNotify:
		return libseccomp.ActNotify
	case ActionTrace:
		return libseccomp.ActTrace.SetReturnCode(data)
	}
	return libseccomp.ActKillProcess
}

// export takes the filter's text through a file in memory: a pipe can be as
// short as one page, and nobody would read it.
func export(f *libseccomp.ScmpFilter) (Filter, error) {
	fd, err := unix.MemfdCreate("seccomp", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "seccomp")
	defer file.Close()
	if err := f.ExportBPF(file); err != nil {
		return nil, err
	}
	buf := make([]byte, (maxInstructions+1)*instructionSize)
	n, err := unix.Pread(fd, buf, 0)
	if err != nil {
		return nil, os.NewSyscallError("pread", err)
	}
	return Filter(buf[:n:n]), nil
}
