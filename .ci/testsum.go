// Testsum reads the JSON of `go test -json` or test2json from standard input,
// prints a line for each package and all that a failing test wrote, and closes
// with the numbers. With -forbid-skip every skip must be in the list of allowed
// ones. It exits 1 when a test failed, a skip was forbidden, or nothing ran.
//
// Run it by its file name: a directory that begins with a dot is no package.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strings"
)

type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

// A name is a test of a package; the empty test is the package itself.
type name struct{ pkg, test string }

// An allowedSkip lets the tests that match skip with these words, and no others.
type allowedSkip struct{ pkg, test, message string }

type summary struct {
	who                     string
	allowed                 []allowedSkip
	forbid                  bool
	out                     io.Writer
	log                     io.Writer
	written                 map[name]*strings.Builder
	open                    map[name]bool
	passed, failed, skipped int
	bad                     []string // what the closing lines list
}

func main() {
	who := flag.String("who", "", "whose run this is: root or rootless")
	allow := flag.String("allowed", "", "file of allowed skips")
	forbid := flag.Bool("forbid-skip", false, "a skip that is not allowed is a failure")
	logFile := flag.String("log", os.DevNull, "file that gets all output")
	flag.Parse()
	log, err := os.Create(*logFile)
	exitOn(err)
	s := newSummary(*who, os.Stdout, log)
	s.forbid = *forbid
	s.allowed, err = readAllowed(*allow, *who)
	exitOn(err)
	exitOn(s.read(os.Stdin))
	if !s.close() {
		os.Exit(1)
	}
}

func newSummary(who string, out, log io.Writer) *summary {
	return &summary{who: who, out: out, log: log, written: map[name]*strings.Builder{}, open: map[name]bool{}}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(2)
	}
}

// readAllowed reads lines of "WHO PACKAGE TEST MESSAGE…", WHO being root,
// rootless or any, PACKAGE and TEST patterns of path.Match.
func readAllowed(file, who string) ([]allowedSkip, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var allowed []allowedSkip
	for i, line := range strings.Split(string(data), "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) < 4 {
			return nil, fmt.Errorf("%s:%d: want WHO PACKAGE TEST MESSAGE", file, i+1)
		}
		if f[0] == who || f[0] == "any" {
			allowed = append(allowed, allowedSkip{f[1], f[2], strings.Join(f[3:], " ")})
		}
	}
	return allowed, nil
}

func (s *summary) isAllowed(n name, why string) bool {
	for _, a := range s.allowed {
		okPkg, _ := path.Match(a.pkg, n.pkg)
		okTest, _ := path.Match(a.test, n.test)
		if okPkg && okTest && strings.Contains(why, a.message) {
			return true
		}
	}
	return false
}

func (s *summary) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			s.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// line takes one line; what is no JSON, such as the compiler's words, is shown.
func (s *summary) line(line []byte) {
	var e event
	if line[0] != '{' || json.Unmarshal(line, &e) != nil {
		fmt.Fprintf(s.out, "%s", line)
		return
	}
	if e.Action == "build-output" {
		fmt.Fprint(s.out, e.Output)
		return
	}
	s.event(e)
}

func (s *summary) event(e event) {
	n := name{e.Package, e.Test}
	switch e.Action {
	case "run":
		s.open[n] = true
	case "output":
		fmt.Fprint(s.log, e.Output)
		if s.written[n] == nil {
			s.written[n] = &strings.Builder{}
		}
		s.written[n].WriteString(e.Output)
	case "pass", "fail", "skip":
		delete(s.open, n)
		if e.Test == "" {
			s.endPackage(n, e)
		} else {
			s.endTest(n, e.Action)
		}
		delete(s.written, n)
	}
}

func (s *summary) endTest(n name, action string) {
	switch action {
	case "pass":
		s.passed++
	case "fail":
		s.failed++
		s.bad = append(s.bad, fmt.Sprintf("FAIL %s %s", n.pkg, n.test))
		fmt.Fprint(s.out, s.text(n))
	case "skip":
		s.skipped++
		why := reason(s.text(n))
		if !s.isAllowed(n, why) {
			s.bad = append(s.bad, fmt.Sprintf("SKIP %s %s: %s", n.pkg, n.test, why))
			return
		}
		fmt.Fprintf(s.out, "skip, allowed: %s %s: %s\n", n.pkg, n.test, why)
	}
}

// endPackage prints the package's line. A package can fail without a failed
// test: it does not compile, panics, or runs out of time.
func (s *summary) endPackage(n name, e event) {
	if e.Action == "skip" {
		return // no test files
	}
	word := "ok  "
	if e.Action == "fail" {
		word = "FAIL"
		fmt.Fprint(s.out, s.text(n))
		for test := range s.open {
			if test.pkg == n.pkg {
				delete(s.open, test)
				s.failed++
				s.bad = append(s.bad, fmt.Sprintf("FAIL %s %s (did not end)", test.pkg, test.test))
				fmt.Fprint(s.out, s.text(test))
			}
		}
		s.bad = append(s.bad, "FAIL "+n.pkg)
	}
	fmt.Fprintf(s.out, "%s %s %.1fs\n", word, n.pkg, e.Elapsed)
}

func (s *summary) text(n name) string {
	if b := s.written[n]; b != nil {
		return b.String()
	}
	return ""
}

// reason is what a skipped test wrote, without the test runner's own lines.
func reason(text string) string {
	var words []string
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			words = append(words, line)
		}
	}
	return strings.Join(words, " ")
}

// close prints what went wrong and the numbers, and says whether all is well.
func (s *summary) close() bool {
	ok := s.failed == 0 && s.passed > 0
	sort.Strings(s.bad)
	for _, line := range s.bad {
		fmt.Fprintln(s.out, line)
		if s.forbid || strings.HasPrefix(line, "FAIL") {
			ok = false
		}
	}
	if s.passed == 0 {
		fmt.Fprintln(s.out, "FAIL no test passed")
	}
	fmt.Fprintf(s.out, "%s: %d passed, %d failed, %d skipped\n", s.who, s.passed, s.failed, s.skipped)
	return ok
}
