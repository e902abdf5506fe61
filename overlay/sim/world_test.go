package sim_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/sim"
	"github.com/maquis-go/maquis/overlay/sim/baseline"
)

// fixed is an overlay whose neighbors are told by Join: it holds a session with
// each and, with repair off, never looks for others.
type fixed struct{ up overlay.View }

func (f *fixed) Step(_ overlay.Time, ev overlay.Event, out *overlay.Effects) {
	switch ev := ev.(type) {
	case overlay.Join:
		for _, p := range ev.Contacts {
			out.Connect(p)
		}
	case overlay.LinkUp:
		f.up.Add(ev.Peer)
		out.Notify(overlay.NeighborUp{Peer: ev.Peer})
		if !ev.Inbound {
			out.Send(ev.Peer, &messages.NodeRef{}) // so that the other end knows
		}
	case overlay.LinkDown:
		if f.up.Remove(ev.Peer) {
			out.Notify(overlay.NeighborDown{Peer: ev.Peer})
		}
	}
}

func (f *fixed) String() string { return "fixed " + f.up.String() }

func world(t testing.TB, cfg sim.Config) *sim.World {
	t.Helper()
	if cfg.Factory == nil {
		cfg.Factory = func(self overlay.Peer, _ *rand.Rand) overlay.Machine {
			return overlay.NewStack(new(fixed), baseline.NewFlood(self))
		}
	}
	if cfg.Link.Latency == 0 {
		cfg.Link.Latency = time.Millisecond
	}
	cfg.Classify = baseline.Classify
	w, err := sim.New(cfg)
	require.NoError(t, err)
	return w
}

// regular makes the edges of a random k-regular graph: by pairing, with the
// pairs that are loops or doubled swapped away.
func regular(rng *rand.Rand, n, k int) [][2]int {
	ends := make([]int, 0, n*k)
	for i := range n * k {
		ends = append(ends, i%n)
	}
	rng.Shuffle(len(ends), func(i, j int) { ends[i], ends[j] = ends[j], ends[i] })
	edge := func(i int) [2]int { return [2]int{min(ends[i], ends[i+1]), max(ends[i], ends[i+1])} }
	seen := make(map[[2]int]int)
	for i := 0; i < len(ends); i += 2 {
		seen[edge(i)]++
	}
	bad := func(i int) bool { return ends[i] == ends[i+1] || seen[edge(i)] > 1 }
	for again := true; again; {
		again = false
		for i := 0; i < len(ends); i += 2 {
			for bad(i) {
				again = true
				j := 2 * rng.IntN(len(ends)/2)
				if i == j {
					continue
				}
				seen[edge(i)]--
				seen[edge(j)]--
				ends[i+1], ends[j+1] = ends[j+1], ends[i+1]
				seen[edge(i)]++
				seen[edge(j)]++
			}
		}
	}
	list := make([][2]int, 0, len(ends)/2)
	for i := 0; i < len(ends); i += 2 {
		list = append(list, edge(i))
	}
	return list
}

func build(t testing.TB, w *sim.World, n int, edges [][2]int) {
	t.Helper()
	for range n {
		w.Add()
	}
	for _, e := range edges {
		w.Join(e[0], e[1])
	}
	require.True(t, w.Settle(time.Minute))
}

// R7 of the numbers to reproduce: what a flood reaches on a random regular
// graph after f % crashed, without repair, is the giant component of site
// percolation. It checks the simulator, not a protocol.
func TestPercolation(t *testing.T) {
	if testing.Short() {
		t.Skip("floods over 10,000 nodes")
	}
	const n = 10000
	for _, k := range []int{5, 6} {
		want := map[int][]float64{
			5: {1, 0.9997, 0.9973, 0.9872, 0.9525, 0.8420},
			6: {1, 0.9999, 0.9992, 0.9955, 0.9805, 0.9283},
		}[k]
		for i, s := range want {
			w := world(t, sim.Config{Seed: uint64(10*k + i)})
			build(t, w, n, regular(w.Stream("graph"), n, k))
			w.CrashFraction(float64(i+1) / 10)
			w.Settle(time.Minute)
			// The sender is to be inside the giant component.
			best := 0.0
			for _, from := range w.Live()[:5] {
				best = max(best, w.Broadcast(from, nil, overlay.Time(time.Minute)).Reliability)
			}
			require.InDelta(t, s, best, 0.005, "k=%d, %d %% crashed", k, 10*(i+1))
		}
	}
}

// Floods over a graph whose measures are known: a ring.
func TestGraphMeasures(t *testing.T) {
	const n = 50
	w := world(t, sim.Config{Seed: 1})
	var edges [][2]int
	for i := range n {
		edges = append(edges, [2]int{i, (i + 1) % n})
	}
	build(t, w, n, edges)
	g := w.Graph()
	require.Equal(t, map[int]int{2: n}, g.Degree)
	require.Equal(t, map[int]int{2: n}, g.InDegree)
	require.Zero(t, g.Clustering)
	require.Zero(t, g.Asymmetric)
	require.Equal(t, 1, g.Components)
	require.Equal(t, n, g.Largest)
	require.Equal(t, n/2, g.MaxPath)
	require.InDelta(t, 12.755, g.AvgPath, 0.001) // (2*(1+...+24)+25)/49

	b := w.Broadcast(0, []byte("x"), overlay.Time(time.Minute))
	require.EqualValues(t, 1, b.Reliability)
	require.Equal(t, n/2, b.LastHop)
	require.EqualValues(t, 2*n-(n-1), b.Payload, "a flood crosses each of 2n directed edges but those back to who brought it")
	require.InDelta(t, float64(n+1)/(n-1)-1, b.RMR, 1e-9)
	require.Zero(t, b.Twice)

	w.Crash(0)
	w.Crash(10)
	w.Settle(time.Minute)
	g = w.Graph()
	require.Equal(t, 2, g.Components)
	require.Equal(t, 39, g.Largest)
	require.InDelta(t, 39.0/48, w.Broadcast(30, nil, overlay.Time(time.Minute)).Reliability, 1e-9)
}

func TestSameSeedSameTrace(t *testing.T) {
	run := func(seed uint64) string {
		w := world(t, sim.Config{Seed: seed, Link: sim.Model{Latency: time.Millisecond, Jitter: 3 * time.Millisecond, Sigma: 0.3, Loss: 0.01}})
		build(t, w, 200, regular(w.Stream("graph"), 200, 5))
		w.CrashFraction(0.2)
		for range 5 {
			w.Broadcast(w.Live()[0], []byte("x"), overlay.Time(time.Minute))
		}
		w.Restart(7)
		w.Join(7, 8, 9)
		w.Run(time.Second)
		return fmt.Sprintf("%x %d", w.Hash(), w.Events())
	}
	require.Equal(t, run(1), run(1))
	require.NotEqual(t, run(1), run(2))
}

func BenchmarkFlood(b *testing.B) {
	const n = 10000
	w := world(b, sim.Config{Seed: 1})
	build(b, w, n, regular(w.Stream("graph"), n, 5))
	before := w.Events()
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		w.Broadcast(0, nil, overlay.Time(time.Minute))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(w.Events()-before), "ns/event")
}
