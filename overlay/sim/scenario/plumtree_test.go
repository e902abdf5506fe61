package scenario

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/overlay"
)

// B1 of the numbers to beat: whoever sends, the last node is reached as early as
// along a tree of the sender's own, and hardly any node gets a payload twice.
func TestAnySenderHasAShortTree(t *testing.T) {
	const n = 1000
	r := do(t, &Scenario{Overlay: "hyparview", Nodes: n, Seed: 9, Check: true, Steps: Standard(5, 0, 60, 0, "random")})
	edges := 0
	for d, k := range r.Degree {
		edges += d * k
	}
	first := r.Broadcasts[0]
	for i, b := range r.Broadcasts[1:] {
		require.EqualValues(t, 1, b.Reliability, "broadcast %d", i+1)
		require.Zero(t, b.Twice)
		require.LessOrEqual(t, b.LastHop, first.LastHop+2, "broadcast %d", i+1)
		require.LessOrEqual(t, b.Payload, uint64(n), "broadcast %d: one for each, and one to the root", i+1)
		if i > 0 { // GRAFT and PRUNE
			require.LessOrEqual(t, b.Control, uint64(edges-2*(n-1))+4, "broadcast %d", i+1)
		}
	}
}

// When the root of the tree that all use has crashed, the message goes out from
// its sender, and a minute later from another root.
func TestTheRootCrashes(t *testing.T) {
	r := start(t, &Scenario{Overlay: "hyparview", Nodes: 300, Seed: 3, Check: true, Latency: Duration(time.Millisecond),
		Steps: []Step{{Do: "join"}, {Do: "cycles", Cycles: 2}}})
	say := func(from int) (hops int) {
		b := r.w.Broadcast(from, nil, overlay.Time(settle))
		require.EqualValues(t, 1, b.Reliability, "%d", from)
		require.Zero(t, b.Twice)
		return b.LastHop
	}
	require.NoError(t, r.w.Err())
	say(50)
	say(60)
	r.w.Crash(50)
	for from := 100; from < 120; from++ {
		say(from)
	}
	r.w.Run(time.Minute)
	say(120) // makes a tree
	for from := 130; from < 150; from++ {
		require.LessOrEqual(t, say(from), 9, "%d", from)
	}
	require.NoError(t, r.w.Err())
}

// Views of SCAMP of 2001 grow by (c+1) ln of the growth, as those of 2003. Edges
// without an opposite are nearly all.
func TestScamp2001ViewSize(t *testing.T) {
	mean := func(n int) float64 {
		r := start(t, &Scenario{Overlay: "scamp-2001", Nodes: n, Seed: 1, Steps: []Step{{Do: "join"}}})
		g := r.w.Graph()
		require.Equal(t, 1, g.Components)
		return float64(g.Asymmetric) / float64(n)
	}
	small, large := mean(100), mean(1000)
	t.Logf("about %.1f at 100 and %.1f at 1000", small, large)
	require.InDelta(t, 5*math.Log(10), large-small, 3)
}
