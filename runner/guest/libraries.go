package guest

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"hutch/runner"
)

// libraryDirs is where the loader looks without being told, ld.so(8), with
// Debian's directories first.
var libraryDirs = [...]string{
	"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
}

// Libraries is the loader and the shared libraries of a program, and theirs.
func Libraries(program string) ([]string, error) {
	var out []string
	for queue := []string{program}; len(queue) > 0; queue = queue[1:] {
		loader, needed, err := imports(queue[0])
		if err != nil {
			return nil, &runner.Error{Stage: runner.StageStart, Step: "program " + program, Err: err, Hint: "it must be a program of this machine's architecture"}
		}
		if loader != "" && !slices.Contains(out, loader) {
			out = append(out, loader)
		}
		for _, name := range needed {
			path, err := findLibrary(name)
			if err != nil {
				return nil, &runner.Error{Stage: runner.StageStart, Step: "program " + program, Err: err, Hint: "install what it is linked with"}
			}
			if !slices.Contains(out, path) {
				out = append(out, path)
				queue = append(queue, path)
			}
		}
	}
	return out, nil
}

// machine is this machine's architecture.
func machine() elf.Machine {
	if runtime.GOARCH == "arm64" {
		return elf.EM_AARCH64
	}
	return elf.EM_X86_64
}

// imports is what a program says of its loader and libraries.
func imports(name string) (loader string, needed []string, err error) {
	f, err := elf.Open(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return "", nil, err
		}
		return "", nil, errors.New("it is not a program (ELF)")
	}
	defer f.Close()
	if own := machine(); f.Machine != own {
		return "", nil, fmt.Errorf("it is for %v, and this machine is %v", f.Machine, own)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz > 1 && p.Filesz < 4096 {
			b := make([]byte, p.Filesz)
			if _, err := p.ReadAt(b, 0); err != nil {
				return "", nil, err
			}
			loader = string(b[:len(b)-1])
		}
	}
	if f.Section(".dynamic") == nil {
		return loader, nil, nil
	}
	needed, err = f.ImportedLibraries()
	return loader, needed, err
}

func findLibrary(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	for _, dir := range libraryDirs {
		path := filepath.Join(dir, filepath.Base(name))
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("its library %s is not installed", name)
}
