package compare

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestSummary(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want Summary
	}{
		{[]float64{4}, Summary{4, 4, 4}},
		{[]float64{3, 1, 2}, Summary{2, 1.5, 2.5}},
		{[]float64{1, 2, 3, 4}, Summary{2.5, 1.75, 3.25}},
		{nil, Summary{}},
	} {
		if got := summarize(c.in); got != c.want {
			t.Errorf("%v: %v, want %v", c.in, got, c.want)
		}
	}
}

// noisy is n samples around middle.
func noisy(seed uint64, n int, middle, spread float64) []float64 {
	random := rand.New(rand.NewPCG(seed, 0))
	out := make([]float64, n)
	for i := range out {
		out[i] = middle + spread*random.NormFloat64()
	}
	return out
}

// A difference is one when there is one, and seldom when there is none.
func TestRatio(t *testing.T) {
	found, false_ := 0, 0
	for seed := range uint64(200) {
		a, b := noisy(2*seed, 10, 100, 5), noisy(2*seed+1, 10, 100, 5)
		if compareSamples(a, b).Differs {
			false_++
		}
		c := noisy(2*seed+1, 10, 130, 5)
		r := compareSamples(c, a)
		if r.Differs {
			found++
		}
		if r.Low > r.Value || r.Value > r.High || math.Abs(r.Value-1.3) > 0.15 {
			t.Errorf("seed %d: %+v does not hold 1.3", seed, r)
		}
	}
	if found < 198 || false_ > 4 {
		t.Errorf("of 200 pairs of samples, 30 %% apart are seen in %d, and something is seen where nothing is in %d", found, false_)
	}
	few := compareSamples([]float64{10, 12, 11}, []float64{5, 6, 5, 5, 5, 6, 6})
	if want := (Ratio{Value: 11.0 / 5, Low: 10.0 / 6, High: 12.0 / 5, Few: true, Differs: true}); *few != want {
		t.Errorf("of few rounds %+v, want %+v", *few, want)
	}
	if r := compareSamples([]float64{10, 12, 5.5}, []float64{5, 6, 5, 5, 5, 6, 6}); r.Differs || !r.Few {
		t.Errorf("a sample lies among the others, and it is %+v", *r)
	}
	if compareSamples([]float64{1, 2}, []float64{1, 2}) != nil {
		t.Error("two samples make an interval")
	}
	if compareSamples([]float64{1, 2, 3}, []float64{0, 0, 0}) != nil {
		t.Error("a ratio to nothing")
	}
}

func TestSaid(t *testing.T) {
	for _, c := range []struct {
		got, want string
	}{
		{value(1234, "ns"), "1.23 us"},
		{value(0.5, "us"), "500 ns"},
		{value(2500, "ms"), "2.50 s"},
		{value(99, "ms"), "99.0 ms"},
		{value(1500, "MB/s"), "1.50 GB/s"},
		{value(0, "ms"), "0.00 ms"},
		{size(1536), "1.50 KiB"},
		{size(12), "12 B"},
		{factor(471.4), "471"},
		{factor(1.005), "1.00"},
		{join([]string{"a", "b", "c"}), "a, b and c"},
		{join([]string{"a"}), "a"},
		{fit("löslich", 4), "lös…"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}
