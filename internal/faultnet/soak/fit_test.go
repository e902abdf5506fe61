//go:build linux

package main

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A line that grows is found among noise, and noise is no growth.
func TestFit(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	line := func(slope, noise float64) (ts, vs []float64) {
		for i := range 100 {
			x := float64(i) * 10
			ts, vs = append(ts, x), append(vs, 1000+slope*x/600+noise*r.NormFloat64())
		}
		return ts, vs
	}
	ts, vs := line(0, 20)
	f := fit("a", "heap", ts, vs, 1)
	require.False(t, f.Grows, "%+v", f)
	require.InDelta(t, 1000, f.Mean, 10)
	ts, vs = line(50, 20)
	f = fit("a", "heap", ts, vs, 1)
	require.True(t, f.Grows, "%+v", f)
	require.InDelta(t, 50, f.Per10Min, 15)
	require.False(t, fit("a", "heap", ts, vs, 1000).Grows, "not worth the name")
	ts, vs = line(5, 0)
	require.False(t, fit("a", "heap", ts, vs, 1).Grows, "half a percent in ten minutes is tolerated")
	require.False(t, fit("a", "heap", ts[:5], vs[:5], 0).Grows, "five samples say nothing")
	require.Zero(t, fit("a", "heap", []float64{1, 1, 1, 1, 1, 1, 1, 1}, vs[:8], 0).Per10Min)
}

// Samples of a minute become one.
func TestBlocks(t *testing.T) {
	bt, bv := blocks([]float64{0, 10, 59, 60, 200, 210}, []float64{1, 2, 3, 4, 5, 7}, false)
	require.Equal(t, []float64{23, 60, 205}, bt)
	require.Equal(t, []float64{2, 4, 6}, bv)
	bt, bv = blocks([]float64{0, 10, 59, 60, 200, 210}, []float64{3, 1, 2, 4, 7, 5}, true)
	require.Equal(t, []float64{23, 60, 205}, bt)
	require.Equal(t, []float64{1, 4, 5}, bv)
	bt, _ = blocks(nil, nil, true)
	require.Empty(t, bt)
}

// Queues that fill in every other minute, ever more, are no leak; 50 KB for each of
// two lives a minute are one, though they are a hundredth of what the queues take.
func TestLeakAmongQueues(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	run := func(leak float64) Fit {
		var ts, vs []float64
		for x := 0.0; x < 960; x += 5 {
			v := 3.5e6 + 1e5*r.NormFloat64() + leak*x/600
			if int(x)%120 < 50 {
				v += (4e6 + 4e3*x) * r.Float64()
			}
			ts, vs = append(ts, x), append(vs, v)
		}
		bt, bv := blocks(ts, vs, true)
		return fit("a", "heap", bt, bv, 256<<10)
	}
	for range 100 {
		require.False(t, run(0).Grows)
		require.True(t, run(1e6).Grows)
	}
}
