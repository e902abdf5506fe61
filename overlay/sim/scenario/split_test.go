package scenario

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/overlay/sim"
)

// A cut that breaks all links between two halves and ends before anybody is
// declared down: each half has filled its views by then, and no roster misses
// anybody. The overlay is whole again all the same.
func TestHalvesThatMissNobodyMeet(t *testing.T) {
	long(t)
	const n = 200
	split := 0
	for seed := range uint64(3) {
		c := newCluster(t, sim.Config{Seed: seed}, n, true)
		c.w.Run(time.Minute)
		var half []int
		for i := range n / 2 {
			half = append(half, 2*i)
		}
		c.w.Partition(half)
		c.w.Run(7 * time.Second)
		c.w.Heal()
		c.w.Run(15 * time.Second)
		if g := c.w.Graph(); g.Components > 1 {
			split++
		}
		whole := c.w.Until(5*time.Minute, time.Second, func() bool { return c.w.Graph().Components == 1 })
		require.True(t, whole, "seed %d: %+v", seed, c.w.Graph())
		require.NoError(t, c.w.Err())
	}
	require.NotZero(t, split, "the cut split nothing: it tests nothing")
}
