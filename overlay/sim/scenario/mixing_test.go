package scenario

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/hyparview"
	"github.com/maquis-go/maquis/overlay/sim"
)

// Nodes that are started together, as those of a rack, do not become each
// other's neighbors for that, if they have some contacts: they may well end
// together.
func TestWhoStartsTogetherIsNotNeighborsForThat(t *testing.T) {
	const groups, size, places = 32, 16, 5
	for seed := range uint64(3) {
		w, err := sim.New(sim.Config{
			Seed: seed, Check: true, Link: sim.Model{Latency: time.Millisecond, Jitter: time.Millisecond},
			Factory: func(self overlay.Peer, rng *rand.Rand) overlay.Machine {
				h, err := hyparview.New(hyparview.DefaultConfig(self, rng))
				require.NoError(t, err)
				return h
			},
		})
		require.NoError(t, err)
		for range groups {
			for range size {
				if i := w.Add(); i > 0 {
					w.Join(i, []int{0, 1, 2}[:min(i, 3)]...)
				}
			}
			w.Run(2 * time.Second)
		}
		w.Run(time.Minute)
		require.NoError(t, w.Err())
		same, all, old, young := 0, 0, 0, 0
		for i := range w.Len() {
			for _, p := range w.Machine(i).(*hyparview.Machine).Active() {
				j, _ := w.Index(p.Name)
				if all++; i/size == j/size {
					same++
				}
				if last := groups * size * 3 / 4; i >= last {
					if young++; j < last {
						old++
					}
				}
			}
		}
		part := float64(same) / float64(all)
		t.Logf("%d links, %.3f of them within a group; by chance %.3f", all/2, part, float64(size-1)/(groups*size-1))
		t.Logf("%.3f of those of the youngest quarter are with others; by chance 0.75", float64(old)/float64(young))
		require.Greater(t, all, groups*size*places*95/100)
		require.Less(t, part, 0.3, "0.7 if all come to the first contact")
	}
}
