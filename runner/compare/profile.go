package compare

import (
	"context"
	"encoding/json"
	"math/bits"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// Landlock counts what a Landlock domain takes away, landlock(7).
type Landlock struct {
	// Rights is how many rights on files are denied but for what the rules
	// allow, Rules how many of these there are, Scopes how many kinds of other
	// processes' things are out of reach.
	Rights int `json:"rights"`
	Rules  int `json:"rules"`
	Scopes int `json:"scopes"`
}

// disclose says which profile an engine's side runs under, and counts what
// Landlock does to the process of its boundary. The kernel does not tell of a
// domain, so the plan is asked: of the application's box, or of a box that has
// nothing, which is what the process of a guest gets, see runner/guest.
func (c *Comparison) disclose(ctx context.Context, s *side, info *SideInfo) {
	switch s.kind {
	case kindBare:
		info.Isolation.Landlock = &Landlock{}
		return
	case kindEngine:
	default:
		return
	}
	argv, clean, err := s.command(c, job{argv: []string{"true"}})
	if err != nil {
		return
	}
	defer clean()
	var spec struct {
		Seccomp struct{ Name, Digest string }
	}
	if out, err := dryRun(ctx, argv, "spec"); err == nil && json.Unmarshal(out, &spec) == nil {
		info.Profile = spec.Seccomp.Name + "@" + spec.Seccomp.Digest
	}
	if s.name != "native" {
		argv = []string{c.Self, "run", "--quiet", c.memory, "--", "true"}
	}
	if out, err := dryRun(ctx, argv, "plan"); err == nil {
		info.Isolation.Landlock = landlockOf(string(out))
	}
}

// dryRun has hutch run say what it would do.
func dryRun(ctx context.Context, argv []string, what string) ([]byte, error) {
	argv = slices.Insert(slices.Clone(argv), 2, "--dry-run="+what)
	return exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
}

// landlockOf counts the steps of a plan.
func landlockOf(plan string) *Landlock {
	l := &Landlock{}
	for line := range strings.Lines(plan) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, "landlock: allow ") {
			l.Rules++
		}
		if _, text, ok := strings.Cut(line, "create landlock ruleset, rights "); ok {
			rights, scopes, _ := strings.Cut(text, ", scopes ")
			l.Rights, l.Scopes = hexOnes(rights), hexOnes(scopes)
		}
	}
	return l
}

func hexOnes(text string) int {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 64)
	if err != nil {
		return 0
	}
	return bits.OnesCount64(n)
}
