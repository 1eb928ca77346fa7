// Bench measures hutch side by side with its peers, in one run, and prints one
// table. Pairs are interleaved (ours, peer, ours, peer …) after a warm-up, so
// that a machine that slows down slows both; the figure that counts is the
// median of the ratios of the pairs.
//
//	bench [--only NAME,NAME] [--runs N] [--pause D] [--json] [--hutch FILE] [--dir DIR]
//
// It exits 1 when a row could not be measured for a fault of ours, 2 on bad
// flags. A peer that is missing, or a target that is missed, is in the table and
// is no error: noise must not turn a build red.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A bench is what the rows share.
type bench struct {
	hutch string // absolute path of the binary
	cache string // what is dear to make and kept between runs
	temp  string // of this run; others may enter it, for boxes that are somebody else
	root  string // the root filesystem that boxes start in
	runs  int    // 0 for each row's own number
	pause time.Duration
}

func main() {
	var b bench
	only := flag.String("only", "", "measure these rows only, by `NAMES` with commas between")
	flag.IntVar(&b.runs, "runs", 0, "pairs of each row (default: 41 for a start, less for what takes long)")
	flag.DurationVar(&b.pause, "pause", 3*time.Millisecond, "rest before each run, for what the last one left to the kernel")
	asJSON := flag.Bool("json", false, "print JSON instead of the table")
	flag.StringVar(&b.hutch, "hutch", "bin/hutch", "the binary to measure")
	flag.StringVar(&b.cache, "dir", "build/bench", "keep what is dear to make in this directory")
	flag.Parse()
	rows, err := pick(*only)
	if err == nil && flag.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q: rows are named by --only", flag.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	quiet := thisMachine()
	results, err := b.run(rows)
	if err == nil {
		err = report(os.Stdout, quiet, results, *asJSON)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if slices.ContainsFunc(results, result.faulty) {
		os.Exit(1)
	}
}

// pick returns the rows of the given names, all for none.
func pick(names string) ([]row, error) {
	all := rows()
	if names == "" {
		return all, nil
	}
	var picked []row
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(r row) bool { return r.name == name })
		if i < 0 {
			var known []string
			for _, r := range all {
				known = append(known, r.name)
			}
			return nil, fmt.Errorf("no row %q; there are: %s", name, strings.Join(known, " "))
		}
		picked = append(picked, all[i])
	}
	return picked, nil
}

// run measures the rows one after the other and cleans up behind itself.
func (b *bench) run(rows []row) (results []result, err error) {
	if b.hutch, err = filepath.Abs(b.hutch); err != nil {
		return nil, err
	}
	if b.cache, err = filepath.Abs(b.cache); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return nil, err
	}
	if b.temp, err = os.MkdirTemp("", "hutch-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.temp)) }()
	if err := os.Chmod(b.temp, 0o755); err != nil {
		return nil, err
	}
	for _, r := range rows {
		fmt.Fprintf(os.Stderr, "measuring %s …\n", r.name)
		results = append(results, r.result(b))
	}
	return results, nil
}
