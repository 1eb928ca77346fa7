package main

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"hutch/runner/cgroup"
)

// The engines that the same scripts run on. To add one: a line here.
var testEngines = [...]string{"native", "uml"}

// TestEngines runs testdata/engines on every engine: the same script, whatever
// runs it. The program is the one that make built, since a guest runs it too.
// Beside the words of TestScript, a script has
//
//	digest FILE    set DIGEST to the SHA-256 of the file
//
// and the condition [memory]: memory can be limited here. The file noise holds
// some megabytes that do not repeat.
func TestEngines(t *testing.T) {
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, engine := range testEngines {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			testscript.Run(t, testscript.Params{
				Dir: "testdata/engines",
				Setup: func(env *testscript.Env) error {
					if err := setup(env); err != nil {
						return err
					}
					env.Setenv("ENGINE", engine)
					env.Setenv("PATH", bin+":"+env.Getenv("PATH"))
					return os.WriteFile(filepath.Join(env.WorkDir, "noise"), noise(3<<20), 0o644)
				},
				RequireExplicitExec: true,
				ContinueOnError:     true,
				Condition: func(name string) (bool, error) {
					if name == "memory" {
						return engine != "native" || canLimitMemory(), nil
					}
					return false, fmt.Errorf("no such condition: %s", name)
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"status": status, "digest": digest,
				},
			})
		})
	}
}

// noise is n bytes, always the same.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

func digest(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv("DIGEST", fmt.Sprintf("%x", sha256.Sum256([]byte(ts.ReadFile(args[0])))))
}

// canLimitMemory says whether the native engine can, here.
func canLimitMemory() bool {
	g, err := cgroup.New("", cgroup.Limits{Memory: 64 << 20, Swap: -1}, cgroup.Options{})
	if err != nil {
		return false
	}
	g.Remove()
	return true
}

// Every engine is tried.
func TestEveryEngineIsTested(t *testing.T) {
	if got, want := strings.Join(testEngines[:], " "), strings.Join(engineNames[:], " "); got != want {
		t.Errorf("the scripts run on %s; there are %s", got, want)
	}
}
