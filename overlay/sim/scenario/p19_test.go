package scenario

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// P-19: HyParView is one component of symmetric links, with no more neighbors a
// node than its active view has places, at active views of 3 and 5.
func TestP19HyParViewGraph(t *testing.T) {
	for _, k := range []struct{ active, nodes int }{{3, 50}, {5, 50}, {3, 300}, {5, 300}, {3, 1000}, {5, 1000}} {
		t.Run(fmt.Sprintf("active %d, %d nodes", k.active, k.nodes), func(t *testing.T) {
			if k.nodes >= 1000 {
				long(t)
			}
			r := start(t, &Scenario{Overlay: "hyparview", Tree: "flood", Nodes: k.nodes, Seed: 19, Active: k.active, Check: true,
				Latency: Duration(time.Millisecond), Steps: []Step{{Do: "join"}, {Do: "cycles", Cycles: 5}}})
			require.NoError(t, r.w.Err())
			g := r.w.Graph()
			require.Equal(t, 1, g.Components)
			require.Zero(t, g.Asymmetric)
			for d, n := range g.Degree {
				require.False(t, d > k.active && n > 0, "%d nodes have %d neighbors", n, d)
			}
			require.GreaterOrEqual(t, g.Degree[k.active], k.nodes*8/10, "most views are full: %v", g.Degree)
		})
	}
}
