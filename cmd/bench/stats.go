package main

import (
	"math/rand/v2"
	"slices"
)

// samples are the pairs of a row: ours[i] was measured next to peer[i].
type samples struct {
	peerName   string // with its version
	ours, peer []float64
}

// add keeps one pair.
func (s *samples) add(ours, peer float64) {
	s.ours = append(s.ours, ours)
	s.peer = append(s.peer, peer)
}

// paired is the ratio, or the difference, of each pair.
func (s *samples) paired(c comparison) []float64 {
	out := make([]float64, len(s.ours))
	for i, ours := range s.ours {
		switch c {
		case ratio:
			out[i] = ours / s.peer[i]
		case difference:
			out[i] = ours - s.peer[i]
		case absolute:
			out[i] = ours
		}
	}
	return out
}

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

// spread is the distance between the quartiles.
func spread(xs []float64) float64 { return quantile(xs, 0.75) - quantile(xs, 0.25) }

// interval is the 95 % interval of the median of xs, by the percentile
// bootstrap (Efron 1979). The generator is seeded alike each time, so that the
// same samples print the same interval.
func interval(xs []float64) (low, high float64) {
	const resamples = 4000
	random := rand.New(rand.NewPCG(1, 2))
	medians := make([]float64, resamples)
	draw := make([]float64, len(xs))
	for i := range medians {
		for j := range draw {
			draw[j] = xs[random.IntN(len(xs))]
		}
		medians[i] = median(draw)
	}
	return quantile(medians, 0.025), quantile(medians, 0.975)
}
