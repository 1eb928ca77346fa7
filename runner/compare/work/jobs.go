package work

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// job runs a program of the root to its end, and returns the milliseconds.
func job(dir, stdin, program string, args ...string) (float64, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return 0, errLacking{program}
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", program, err, lastLine(out.String()))
	}
	return float64(time.Since(began).Microseconds()) / 1e3, nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// scratch is a directory below parent for one job.
func scratch(parent string, run func(dir string) (float64, error)) (float64, error) {
	dir, err := os.MkdirTemp(parent, "job-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	return run(dir)
}

// compile gives the compiler a real program's worth of functions, loops and
// calls; it is written here so that every root compiles the same.
func compile(o *Options) (float64, error) {
	return scratch(o.Dir, func(dir string) (float64, error) {
		var b strings.Builder
		functions := o.Functions
		b.WriteString("static unsigned f0(unsigned x) { return x; }\n")
		for i := 1; i <= functions; i++ {
			fmt.Fprintf(&b, "static __attribute__((noinline)) unsigned f%d(unsigned x) { unsigned s = %d; for (unsigned i = 0; i < (x & 7); i++) s += f%d(x + i) ^ (s << %d); return s; }\n", i, i, i-1, i%13+1)
		}
		fmt.Fprintf(&b, "int main(int c, char **v) { return f%d(c) & 1; }\n", functions)
		if err := os.WriteFile(filepath.Join(dir, "p.c"), []byte(b.String()), 0o644); err != nil {
			return 0, err
		}
		return job(dir, "", "cc", "-O2", "-o", "p", "p.c")
	})
}

func sqlite(o *Options) (float64, error) {
	return scratch(o.Disk, func(dir string) (float64, error) {
		var b strings.Builder
		b.WriteString("create table t (id integer primary key, text text);\n")
		for i := range 200 {
			fmt.Fprintf(&b, "insert into t (text) values ('row %d');\n", i)
		}
		return job(dir, b.String(), "sqlite3", "t.db")
	})
}

func sysbench(o *Options) (float64, error) {
	return job(o.Dir, "", "sysbench", "cpu", "--events=2000", "--time=0", "run")
}

func stressNG(o *Options) (float64, error) {
	return job(o.Dir, "", "stress-ng", "--quiet", "--matrix", "1", "--matrix-ops", "200", "--temp-path", o.Dir)
}

func fio(o *Options) (float64, error) {
	return scratch(o.Disk, func(dir string) (float64, error) {
		return job(dir, "", "fio", "--name=w", "--rw=randwrite", "--bs=4k", "--size=4m", "--fsync=16", "--minimal")
	})
}
