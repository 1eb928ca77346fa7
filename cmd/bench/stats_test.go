package main

import (
	"math"
	"testing"
)

func TestQuantile(t *testing.T) {
	tests := []struct {
		xs   []float64
		q    float64
		want float64
	}{
		{nil, 0.5, 0},
		{[]float64{7}, 0.25, 7},
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{5, 1, 4, 2, 3}, 0.25, 2},
		{[]float64{5, 1, 4, 2, 3}, 1, 5},
	}
	for _, tt := range tests {
		if got := quantile(tt.xs, tt.q); got != tt.want {
			t.Errorf("quantile(%v, %v) = %v, want %v", tt.xs, tt.q, got, tt.want)
		}
	}
	if got := spread([]float64{1, 2, 3, 4, 5}); got != 2 {
		t.Errorf("spread = %v, want 2", got)
	}
}

// The samples must stay in their order: pairs are made by index.
func TestPairedKeepsPairs(t *testing.T) {
	s := samples{ours: []float64{30, 10, 20}, peer: []float64{60, 10, 10}}
	median(s.ours)
	tests := []struct {
		compare comparison
		want    [3]float64
	}{
		{ratio, [3]float64{0.5, 1, 2}},
		{difference, [3]float64{-30, 0, 10}},
		{absolute, [3]float64{30, 10, 20}},
	}
	for _, tt := range tests {
		if got := [3]float64(s.paired(tt.compare)); got != tt.want {
			t.Errorf("paired(%v) = %v, want %v", tt.compare, got, tt.want)
		}
	}
}

func TestInterval(t *testing.T) {
	same := []float64{2, 2, 2, 2, 2}
	if low, high := interval(same); low != 2 || high != 2 {
		t.Errorf("interval of equal values = [%v, %v], want [2, 2]", low, high)
	}
	var xs []float64
	for i := range 41 {
		xs = append(xs, float64(i))
	}
	low, high := interval(xs)
	// The exact 95 % interval of the median of 41 values is between the 14th and the 28th: 13 and 27.
	if math.Abs(low-13) > 2 || math.Abs(high-27) > 2 {
		t.Errorf("interval = [%v, %v], want about [13, 27]", low, high)
	}
	if again, _ := interval(xs); again != low {
		t.Errorf("the same samples give %v, then %v", low, again)
	}
}
