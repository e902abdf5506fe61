package scenario

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/hyparview"
	"github.com/maquis-go/maquis/overlay/overlaytest"
	"github.com/maquis-go/maquis/overlay/scamp"
	"github.com/maquis-go/maquis/overlay/sim"
)

// long marks a simulation that make race leaves out: it has one goroutine, and
// takes the race detector eight times as long.
func long(t *testing.T) {
	if testing.Short() {
		t.Skip("a long simulation")
	}
}

var seeds = flag.Int("seeds", 60, "how many seeds the tests over seeds run")

func do(t testing.TB, s *Scenario) *Report {
	t.Helper()
	r, err := Run(t.Context(), s, nil)
	require.NoError(t, err)
	return r
}

// start runs the steps and returns the run, to go on by hand.
func start(t testing.TB, s *Scenario) *run {
	t.Helper()
	require.NoError(t, s.Validate())
	w, k, err := s.world()
	require.NoError(t, err)
	r := &run{s: s, w: w, kind: k, report: &Report{}, progress: func(int, int) {}, senders: w.Stream("senders"), contacts: w.Stream("contacts"), sender: -1}
	for _, p := range s.Steps {
		require.NoError(t, r.step(t.Context(), p))
	}
	return r
}

// Nodes that join at once through one contact never leave an island; the
// paper's protocol does. `go test -run Islands -seeds 1000 ./overlay/sim/scenario`
func TestNoIslands(t *testing.T) {
	for _, n := range []int{9, 20, 50} {
		for _, active := range []int{3, 5} {
			for seed := range *seeds {
				r := start(t, &Scenario{Overlay: "hyparview", Tree: "flood", Nodes: n, Seed: uint64(seed), Active: active, Check: true,
					Latency: Duration(time.Millisecond), Jitter: Duration(2 * time.Millisecond), Steps: []Step{{Do: "join", At: true}, {Do: "run", For: Duration(time.Second)}}})
				g := r.w.Graph()
				if g.Components != 1 || g.Asymmetric != 0 {
					t.Fatalf("n=%d active=%d seed=%d: %+v", n, active, seed, g)
				}
			}
		}
	}
}

// Two neighbors whom nobody answers for a while do not remain each other's only
// neighbor for ever: their passive views are empty by then, and all others have
// as many neighbors as they want.
func TestTwoCutOffComeBack(t *testing.T) {
	for seed := range uint64(20) {
		r := start(t, &Scenario{Overlay: "hyparview", Tree: "flood", Nodes: 40, Seed: seed, Check: true, Latency: Duration(time.Millisecond),
			Jitter: Duration(2 * time.Millisecond), Steps: []Step{{Do: "join"}, {Do: "cycles", Cycles: 3}}})
		a := 7
		b, ok := r.w.Index(machine(r.w, a).Active()[0].Name)
		require.True(t, ok)
		r.w.Partition([]int{a, b})
		r.w.Run(2 * time.Minute)
		r.w.Heal()
		back := r.w.Until(3*time.Minute, time.Second, func() bool { return r.w.Graph().Components == 1 })
		require.True(t, back, "seed %d: %v, %v", seed, machine(r.w, a), machine(r.w, b))
	}
}

// machine is the HyParView of a node.
func machine(w *sim.World, i int) *hyparview.Machine {
	return w.Machine(i).(*overlay.Stack).Base().(*hyparview.Machine)
}

// The same scenario gives the same trace; another seed another.
func TestSameTrace(t *testing.T) {
	for _, o := range Overlays() {
		t.Run(o, func(t *testing.T) {
			s := func(seed uint64) *Scenario {
				return &Scenario{Overlay: o, Nodes: 60, Seed: seed, Jitter: Duration(time.Millisecond), Loss: 0.01, Check: true, Steps: []Step{
					{Do: "join"}, {Do: "cycles", Cycles: 2}, {Do: "crash", Fraction: 0.2}, {Do: "broadcast", Messages: 3, Churn: 1, Senders: "random"},
					{Do: "partition", Fraction: 0.5}, {Do: "cycles", Cycles: 1}, {Do: "heal"}, {Do: "restart"}, {Do: "cycles", Cycles: 1}}}
			}
			a, b := do(t, s(1)), do(t, s(1))
			require.Equal(t, a.TraceHash, b.TraceHash)
			require.Equal(t, a.Events, b.Events)
			require.NotEqual(t, a.TraceHash, do(t, s(2)).TraceHash)
		})
	}
}

// R8 of the numbers to reproduce: along a tree each node gets a payload once,
// and an announcement comes by each other direction of each link.
func TestP25PlumtreeTable1(t *testing.T) {
	const n = 1000
	r := do(t, &Scenario{Overlay: "hyparview", Nodes: n, Seed: 3, Check: true, Steps: Standard(5, 0, 8, 0, "one")})
	edges := 0
	for d, k := range r.Degree {
		edges += d * k
	}
	first := r.Broadcasts[0]
	require.EqualValues(t, edges-(n-1), first.Payload, "the first is flooded")
	for i, b := range r.Broadcasts {
		require.EqualValues(t, 1, b.Reliability, "broadcast %d", i)
		require.Zero(t, b.Twice)
		if i >= 2 {
			require.EqualValues(t, n-1, b.Payload, "broadcast %d", i)
			require.EqualValues(t, edges-2*(n-1), b.Control, "broadcast %d", i)
			require.LessOrEqual(t, b.LastHop, first.LastHop+1)
		}
	}
}

// The first message after 80 % of the nodes crashed, without any time for
// repair, reaches all that are left.
func TestFirstMessageAfterMassiveCrash(t *testing.T) {
	long(t)
	for seed := range uint64(5) {
		r := do(t, &Scenario{Overlay: "hyparview", Nodes: 1000, Seed: seed, Steps: Standard(10, 0.8, 10, 0, "random")})
		require.GreaterOrEqual(t, r.Broadcasts[0].Reliability, 0.98, "seed %d", seed)
		require.GreaterOrEqual(t, r.MeanReached, 0.98, "seed %d", seed)
	}
}

// A broadcast goes on while a node crashes before each.
func TestChurn(t *testing.T) {
	r := do(t, &Scenario{Overlay: "hyparview", Nodes: 300, Seed: 4, Check: true, Steps: Standard(5, 0, 40, 3, "random")})
	require.EqualValues(t, 1, r.MinReached)
	require.Equal(t, 300-3*40, r.Live)
}

// Views of SCAMP grow by (c+1) ln of the growth, through whichever node the
// others join: (c+1) ln n is what they come to in theory, from below, since a
// few nodes cannot have views of that size. The HyParView paper saw 34 at n =
// 10,000 and c = 4, where theory has 46.
func TestP24ScampViewSize(t *testing.T) {
	long(t)
	mean := func(n int) float64 {
		sum := 0.0
		const runs = 3
		for seed := range uint64(runs) {
			r := start(t, &Scenario{Overlay: "scamp", Tree: "flood", Nodes: n, Seed: seed, Check: true, Steps: []Step{{Do: "join"}}})
			for i := range n {
				sum += float64(len(r.w.Machine(i).(*overlay.Stack).Base().(*scamp.Machine).View())) / float64(n*runs)
			}
			require.Equal(t, 1, r.w.Graph().Components)
		}
		return sum
	}
	small, large := mean(100), mean(500)
	t.Logf("mean views of %.1f at 100 and %.1f at 500", small, large)
	require.InDelta(t, 5*math.Log(5), large-small, 2.5)
}

// Half of a SCAMP leaves, node by node, and a fifth of the rest crashes: what is
// left hangs together, and its views have shrunk to its size.
func TestP24ScampLeavesHeal(t *testing.T) {
	const n = 200
	r := start(t, &Scenario{Overlay: "scamp", Tree: "flood", Nodes: n, Seed: 2, Check: true, Latency: Duration(time.Millisecond), Steps: []Step{{Do: "join"}}})
	mean := func() (sum float64) {
		for _, i := range r.w.Live() {
			sum += float64(len(r.w.Machine(i).(*overlay.Stack).Base().(*scamp.Machine).View())) / float64(len(r.w.Live()))
		}
		return sum
	}
	before := mean()
	for i := 1; i < n; i += 2 {
		r.w.Leave(i, time.Second)
		r.w.Run(2 * time.Second)
		require.Equal(t, 1, r.w.Graph().Components, "after %d left", (i+1)/2)
	}
	t.Logf("mean view %.1f of %d nodes, then %.1f of %d", before, n, mean(), n/2)
	require.Less(t, mean(), before)
	require.NoError(t, r.step(t.Context(), Step{Do: "crash", Fraction: 0.2}))
	r.w.Run(10 * time.Second)
	require.Equal(t, 1, r.w.Graph().Components)
	require.NoError(t, r.w.Err())
}

// regions are five parts of the world.
func regions() [][]Duration {
	var list [][]Duration
	for a := range 5 {
		var row []Duration
		for b := range 5 {
			d := time.Millisecond
			if a != b {
				d = time.Duration(20+15*max(a-b, b-a)) * time.Millisecond
			}
			row = append(row, Duration(d))
		}
		list = append(list, row)
	}
	return list
}

// X-BOT lowers the mean cost of links; degrees stay, and the overlay remains
// one component.
func TestP22XbotLowersTheCost(t *testing.T) {
	long(t)
	run := func(overlay string) (cost time.Duration, g sim.Graph) {
		r := start(t, &Scenario{Overlay: overlay, Tree: "flood", Nodes: 200, Seed: 8, Check: true, Regions: regions(), Steps: []Step{{Do: "join"}}})
		for range 10 {
			r.w.Run(time.Minute)
			require.Equal(t, 1, r.w.Graph().Components)
		}
		require.NoError(t, r.w.Err())
		return r.w.MeanCost(), r.w.Graph()
	}
	before, random := run("hyparview")
	after, cheap := run("xbot")
	t.Logf("mean cost %v, with X-BOT %v; %d and %d nodes have 5 neighbors; clustering %.3f and %.3f", before, after, random.Degree[5], cheap.Degree[5], random.Clustering, cheap.Clustering)
	require.Less(t, after, before/2)
	require.GreaterOrEqual(t, cheap.Degree[5], random.Degree[5]-4)
	require.LessOrEqual(t, cheap.Asymmetric, 4, "swaps in progress")
}

// One table over all overlays: what each must survive.
func TestConformance(t *testing.T) {
	const n = 40
	for _, k := range kinds {
		if k.gossips {
			continue // a baseline, which is not to survive all this
		}
		o := k.name
		begin := func(t *testing.T) *run {
			r := start(t, &Scenario{Overlay: o, Nodes: n, Seed: 5, Check: true, Latency: Duration(time.Millisecond), Jitter: Duration(time.Millisecond),
				Steps: []Step{{Do: "join"}, {Do: "cycles", Cycles: 2}}})
			require.Equal(t, 1, r.w.Graph().Components)
			return r
		}
		whole := func(t *testing.T, r *run, nodes int, within time.Duration) {
			t.Helper()
			ok := r.w.Until(within, time.Second, func() bool {
				g := r.w.Graph()
				return g.Components == 1 && g.Nodes == nodes && g.Asymmetric == 0
			})
			require.NoError(t, r.w.Err())
			require.True(t, ok, "%+v", r.w.Graph())
			b := r.w.Broadcast(r.w.Live()[0], []byte("x"), overlay.Time(settle))
			require.EqualValues(t, 1, b.Reliability)
			require.Zero(t, b.Twice)
		}
		rows := map[string]func(t *testing.T, r *run){
			"join at once": func(t *testing.T, _ *run) {
				r := start(t, &Scenario{Overlay: o, Nodes: n, Seed: 6, Check: true, Latency: Duration(time.Millisecond), Steps: []Step{{Do: "join", At: true}}})
				whole(t, r, n, time.Minute)
			},
			"leave": func(t *testing.T, r *run) {
				require.NoError(t, r.step(t.Context(), Step{Do: "leave", Nodes: []int{7, 13, 22}}))
				whole(t, r, n-3, time.Minute)
			},
			"crash": func(t *testing.T, r *run) {
				require.NoError(t, r.step(t.Context(), Step{Do: "crash", Nodes: []int{3, 17, 30}}))
				whole(t, r, n-3, time.Minute)
			},
			"restart": func(t *testing.T, r *run) {
				require.NoError(t, r.step(t.Context(), Step{Do: "crash", Nodes: []int{3, 17, 30}}))
				r.w.Run(2 * time.Second)
				require.NoError(t, r.step(t.Context(), Step{Do: "restart"}))
				whole(t, r, n, 2*time.Minute)
			},
			"partition and heal": func(t *testing.T, r *run) {
				require.NoError(t, r.step(t.Context(), Step{Do: "partition", Fraction: 0.5}))
				r.w.Run(time.Minute)
				require.Greater(t, r.w.Graph().Components, 1)
				r.w.Heal()
				if !r.kind.members { // the roster finds the other half, and tells
					for _, i := range []int{3, 8, 21} {
						for j := range n {
							if j != i {
								r.w.Join(i, j)
							}
						}
					}
				}
				whole(t, r, n, 2*time.Minute)
			},
			"suspended": func(t *testing.T, r *run) {
				r.w.Suspend(9)
				r.w.Run(20 * time.Second)
				r.w.Release(9)
				whole(t, r, n, 2*time.Minute)
			},
			"hostile": func(t *testing.T, r *run) {
				hostile(r.w, 11)
				whole(t, r, n, 2*time.Minute)
			},
		}
		for name, row := range rows {
			t.Run(o+"/"+name, func(t *testing.T) { row(t, begin(t)) })
		}
	}
}

// hostile has a node say everything that it can to its neighbors and others,
// and too much of it.
func hostile(w *sim.World, i int) {
	kinds := []proto.Message{
		&messages.HyparJoin{}, &messages.HyparForwardJoin{}, &messages.HyparNeighbor{}, &messages.HyparNeighborReply{}, &messages.HyparDisconnect{},
		&messages.HyparDisconnected{}, &messages.HyparShuffle{}, &messages.HyparShuffleReply{}, &messages.PlumGossip{}, &messages.PlumIHave{},
		&messages.PlumGraft{}, &messages.PlumPrune{}, &messages.ScampSubscribe{}, &messages.ScampWelcome{}, &messages.ScampForward{},
		&messages.ScampKeep{}, &messages.ScampDrop{}, &messages.ScampHeartbeat{}, &messages.RosterUpdate{}, &messages.OverlayHello{},
	}
	words := []string{"n1", "n2", "n3", "n11", "n99", "", strings.Repeat("x", 300)}
	rng := rand.New(rand.NewPCG(7, 7))
	for k := range 3000 {
		data := make([]byte, 200)
		for j := range data {
			data[j] = byte(rng.Uint32())
		}
		m := overlaytest.Fill(overlaytest.NewDice(data), proto.Clone(kinds[k%len(kinds)]), words)
		w.Feed(rng.IntN(w.Len()), overlay.Received{From: w.Peer(i), Msg: m})
		if k%50 == 0 {
			w.Run(10 * time.Millisecond)
		}
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		`{"overlay": "hyparview", "nodes": 10, "stps": []}`:                                      `unknown field "stps"`,
		"{\n\"overlay\": \"hyparview\",\n\"nodes\": \"ten\"}":                                    "line 3",
		`{"overlay": "chord", "nodes": 10}`:                                                      "use one of hyparview",
		`{"overlay": "hyparview", "nodes": 10, "latency": "fast"}`:                               `write it as "10ms"`,
		`{"overlay": "hyparview", "nodes": 10, "steps": [{"do": "explode"}]}`:                    "step 1 (explode): there is no such verb; use one of join",
		`{"overlay": "hyparview", "nodes": 10, "steps": [{"do": "crash", "nodes": [10]}]}`:       "no node 10 among 10",
		`{"overlay": "hyparview", "nodes": 10, "loss": 2}`:                                       "use 0 to 1",
		`{"overlay": "hyparview", "nodes": 10} {}`:                                               "there is more",
		`{"overlay": "fullmesh", "nodes": 100000}`:                                               "at most 4000",
		`{"overlay": "hyparview", "nodes": 0}`:                                                   "use 1 to",
		`{"overlay": "hyparview", "nodes": 5, "steps": [{"do": "broadcast", "senders": "all"}]}`: `use "one" or "random"`,
	} {
		_, err := Parse([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
	s, err := Parse([]byte(`{"overlay": "hyparview", "nodes": 50, "latency": "1ms", "steps": [{"do": "join"}, {"do": "broadcast", "messages": 2}]}`))
	require.NoError(t, err)
	text, err := json.Marshal(s)
	require.NoError(t, err)
	again, err := Parse(text)
	require.NoError(t, err)
	require.Equal(t, s, again)
}

// A report survives its form in JSON, and differences are named.
func TestReports(t *testing.T) {
	a := do(t, &Scenario{Overlay: "hyparview", Nodes: 50, Seed: 1, Steps: Standard(1, 0, 3, 0, "one")})
	text, err := json.Marshal(a)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(text, &fields))
	for _, f := range []string{"clustering", "avg_path", "max_path", "degree", "asymmetric", "components", "largest_component", "broadcasts", "trace_hash", "wall_seconds", "events", "peak_bytes"} {
		require.Contains(t, fields, f)
	}
	var b Report
	require.NoError(t, json.Unmarshal(text, &b))
	require.Empty(t, Compare(a, &b, 0))
	b.MeanReached /= 2
	require.Equal(t, fmt.Sprintf("[mean_reliability: %g and %g]", a.MeanReached, b.MeanReached), fmt.Sprint(Compare(a, &b, 0.05)))
	require.Contains(t, a.String(), "plumtree over hyparview, 50 nodes, seed 1")
	require.Contains(t, a.Plot(), "<polyline")
	b.Broadcasts = nil
	require.Contains(t, b.Plot(), "neighbors")
}
