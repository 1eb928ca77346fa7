package compare

import (
	"math/rand/v2"
	"slices"
)

// quantile is the value below which the fraction q of xs lies, linear between
// neighbours; 0 for no values.
func quantile(xs []float64, q float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(xs))
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 == len(sorted) {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

func median(xs []float64) float64 { return quantile(xs, 0.5) }

// A Summary is what samples say.
type Summary struct {
	Median float64 `json:"median"`
	// Low and High are the quartiles.
	Low  float64 `json:"q1"`
	High float64 `json:"q3"`
}

func summarize(xs []float64) Summary {
	return Summary{Median: median(xs), Low: quantile(xs, 0.25), High: quantile(xs, 0.75)}
}

// A Ratio compares the samples of a side with those of the side that all are
// measured by.
type Ratio struct {
	// Value is the ratio of the medians; Low and High are its 95 % interval, or
	// with too few rounds for one the least and the largest that it can be.
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	// Few says that one side has fewer rounds than an interval needs.
	Few bool `json:"few"`
	// Differs says that the 99.5 % interval does not hold 1, and that the middle
	// halves of the two do not overlap; of few rounds, that no sample of one lies
	// among those of the other.
	Differs bool `json:"differs"`
}

const (
	resamples = 2000
	// fewRounds is what an interval of 95 % takes at least: of five samples not
	// even the least and the largest hold the median so often, 1 - 2/2^n.
	fewRounds = 6
)

// compareSamples is the ratio of the medians of ours and theirs with its
// interval, by the percentile bootstrap (Efron 1979) over rounds: ours[i] and
// theirs[i] were measured one after the other, so they are drawn together, and
// what slowed a whole round down cancels out. Where rounds are missing on one
// side the two are drawn apart. The generator is seeded alike each time, so
// that the same samples print the same interval.
func compareSamples(ours, theirs []float64) *Ratio {
	if len(ours) < 3 || len(theirs) < 3 || median(theirs) == 0 {
		return nil
	}
	if len(ours) < fewRounds || len(theirs) < fewRounds {
		return compareFew(ours, theirs)
	}
	random := rand.New(rand.NewPCG(1, 2))
	a, b := make([]float64, len(ours)), make([]float64, len(theirs))
	ratios := make([]float64, 0, resamples)
	for range resamples {
		for i := range a {
			k := random.IntN(len(ours))
			a[i] = ours[k]
			if len(ours) == len(theirs) {
				b[i] = theirs[k]
			}
		}
		if len(ours) != len(theirs) {
			for i := range b {
				b[i] = theirs[random.IntN(len(theirs))]
			}
		}
		if m := median(b); m != 0 {
			ratios = append(ratios, median(a)/m)
		}
	}
	r := &Ratio{Value: median(ours) / median(theirs), Low: quantile(ratios, 0.025), High: quantile(ratios, 0.975)}
	// A report has some thirty ratios: by an interval of 95 % one or two would
	// differ where nothing does.
	r.Differs = (quantile(ratios, 0.0025) > 1 || quantile(ratios, 0.9975) < 1) && !overlap(ours, theirs)
	return r
}

// compareFew is what can be said of few rounds.
func compareFew(ours, theirs []float64) *Ratio {
	r := &Ratio{Value: median(ours) / median(theirs), Few: true, Low: 1, High: 1}
	if lowest, highest := slices.Min(theirs), slices.Max(theirs); lowest > 0 {
		r.Low, r.High = slices.Min(ours)/highest, slices.Max(ours)/lowest
	}
	r.Differs = r.Low > 1 || r.High < 1
	return r
}

// overlap says that the middle halves of both overlap: a bootstrap over few
// rounds is too sure of itself, and a difference that is smaller than what a
// side differs from itself is none.
func overlap(a, b []float64) bool {
	x, y := summarize(a), summarize(b)
	return x.Low <= y.High && y.Low <= x.High
}
