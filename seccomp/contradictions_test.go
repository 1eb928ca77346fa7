package seccomp

import (
	"slices"
	"testing"
)

// What is said of a contradiction is what the filter does.
func TestContradictions(t *testing.T) {
	arg := []Arg{{Index: 0, Op: "eq", Value: "1"}}
	for _, test := range []struct {
		policy Policy
		want   []string
		answer Action
	}{
		{Policy{Allow: []string{"kcmp"}, Deny: []string{"kcmp"}}, []string{`kcmp has both "allow" and "errno EPERM" for an answer: "errno EPERM" holds`}, ActionErrno},
		{Policy{Rules: []Rule{{Calls: []string{"kcmp"}, Action: "kill"}, {Calls: []string{"kcmp"}, Action: "allow"}}}, []string{`kcmp has both "kill" and "allow" for an answer: "kill" holds`}, ActionKillProcess},
		{Policy{Rules: []Rule{{Calls: []string{"kcmp"}, Action: "allow", Args: arg}, {Calls: []string{"kcmp"}, Action: "errno", Args: arg}}}, []string{`kcmp has both "allow" and "errno EPERM" for an answer: "errno EPERM" holds`}, ActionErrno},
		// An exception, the same twice, and a name out of a group are none.
		{Policy{Allow: []string{"kcmp"}, Rules: []Rule{{Calls: []string{"kcmp"}, Action: "errno", Args: arg}}}, nil, ActionErrno},
		{Policy{Allow: []string{"kcmp", "kcmp"}}, nil, ActionAllow},
		{Policy{Allow: []string{"@debug"}, Deny: []string{"kcmp"}}, nil, ActionErrno},
	} {
		if got := test.policy.Contradictions(); !slices.Equal(got, test.want) {
			t.Errorf("%+v: %q, want %q", test.policy, got, test.want)
		}
		f := mustCompile(t, &test.policy)
		nr, _ := Number(Native(), "kcmp")
		if got := f.run(&Data{Arch: Native(), Nr: int32(nr), Args: [6]uint64{1}}).Kind(); got != test.answer {
			t.Errorf("%+v: the filter answers %s, want %s", test.policy, got, test.answer)
		}
	}
}
