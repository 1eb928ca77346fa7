package seccomp

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// What a run of the filter answers, for any arguments, is among its outcomes.
func TestOutcomesHoldEveryAnswer(t *testing.T) {
	f := mustCompile(t, &Policy{
		Errno: "ENOSYS", Newer: "default", Allow: []string{"read", "write"},
		Rules: []Rule{
			{Calls: []string{"socket"}, Action: "allow", Args: []Arg{{Index: 0, Op: "eq", Value: "1"}}},
			{Calls: []string{"clone"}, Action: "errno", Errno: "EPERM", Args: []Arg{{Index: 0, Op: "masked_eq", Mask: "0x10000000", Value: "0x10000000"}}},
		},
	})
	random := rand.New(rand.NewPCG(1, 2))
	a := Native()
	for nr := range Last(a) + 1 {
		all := Outcomes(f, a, nr)
		for range 200 {
			d := Data{Nr: int32(nr), Arch: a}
			for i := range d.Args {
				d.Args[i] = random.Uint64() >> random.UintN(64)
			}
			if got := Run(f, d); !slices.Contains(all, got) {
				t.Fatalf("%s: %v is not among %v", Name(a, nr), got, all)
			}
		}
	}
	socket, _ := Number(a, "socket")
	if got := Outcomes(f, a, socket); !slices.Equal(got, []Action{ActionErrno | 38, ActionAllow}) {
		t.Errorf("socket: %v", got)
	}
	if got := Reachable(a, f); got != 3 {
		t.Errorf("%d calls are reachable, want read, write and socket", got)
	}
	if got := Reachable(a); got != len(Names(a)) {
		t.Errorf("%d calls are reachable without a filter, want all %d", got, len(Names(a)))
	}
}
